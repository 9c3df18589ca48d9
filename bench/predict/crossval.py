"""Cross-validation: rows predicted by a model that has not seen them, in four ways of leaving out.

Each table's band comes from rows of other groups than the one that it is tried on, so that a band
is never calibrated on what it is judged by.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.predict.bands import LEVEL, Deciles, Novelty, deciles, novelty, spread
from bench.predict.evidence import Row
from bench.predict.regression import Array, Design, fit, levels_of, log_seconds

FOLDS = 20
FEW_GROUPS = 6
"""Below so many groups their errors are taken by size: two of three may err to one side."""
LEAST_COVERED, MOST_COVERED = 0.75, 0.85


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Rows with log(measured ÷ predicted rate), the prediction's spread, the group that each was
    left out with, and how new it was to the rest."""

    rows: tuple[Row, ...]
    error: Array
    scale: Array
    group: tuple[str, ...]
    novelty: tuple[Novelty, ...]

    @property
    def score(self) -> Array:
        return self.error / self.scale


def left_out(rows: Sequence[Row], group_of: Callable[[int, Row], str]) -> LeftOut:
    """Every group predicted by the others."""
    design = Design(rows, levels_of(rows))
    start = fit(design).values
    names = tuple(group_of(i, r) for i, r in enumerate(rows))
    error, scale = np.zeros(len(rows)), np.ones(len(rows))
    new: list[Novelty] = ["same"] * len(rows)
    for name in dict.fromkeys(names):
        out = [i for i, n in enumerate(names) if n == name]
        kept = [i for i, n in enumerate(names) if n != name]
        rest = [rows[i] for i in kept]
        found = predicted([rows[i] for i in out], rest, design.take(np.array(kept)), start)
        error[out], scale[out] = found
        for i in out:
            new[i] = novelty(rows[i], rest)
    return LeftOut(rows=tuple(rows), error=error, scale=scale, group=names, novelty=tuple(new))


def predicted(
    rows: Sequence[Row],
    rest: Sequence[Row],
    known: Design | None = None,
    start: Array | None = None,
) -> tuple[Array, Array]:
    """Log errors and spreads of rows by a fit to the rest (levels without rows fall to the prior).

    `known` is the rest's design over wider levels, to start from `start`.
    """
    design = Design(rest, levels_of(rest)) if known is None else known
    found = fit(design, start, steps=40 if start is None else 12)
    log_s, sigma = log_seconds(found, rows)
    measured = np.log([r.seconds for r in rows])
    scales = [spread(r, s) for r, s in zip(rows, sigma, strict=True)]
    return log_s - measured, np.array(scales)


WAYS: dict[str, Callable[[int, Row], str]] = {
    "one row out": lambda i, _: str(i),
    "one model out": lambda _, r: r.model,
    "one GPU out": lambda _, r: r.gpu,
    "one engine out": lambda _, r: r.engine,
}
NEW_BY_WAY: dict[str, Novelty] = {
    "one row out": "same",
    "one model out": "model",
    "one GPU out": "gpu",
    "one engine out": "engine",
}


def covered(found: LeftOut, factor: float = 1.0, least: float = 0.0) -> Array:
    """Whether each row lies in the band that the other groups' scores give, `least` at both ends,
    widened by a factor."""
    score, groups = found.score, np.array(found.group)
    inside = np.zeros(len(score), dtype=float)
    cache: dict[str, Deciles] = {}
    few = len(set(found.group)) < FEW_GROUPS
    single = len(set(found.group)) == len(score)
    every = deciles(score)
    for i, name in enumerate(found.group):
        if not single and name not in cache:
            cache[name] = deciles(score[groups != name], symmetric=few)
        at = (every if single else cache[name]).at_least(least)
        inside[i] = at.low * factor <= score[i] <= at.high * factor
    return inside


def widening(inside: Callable[[float], Array]) -> float:
    """The least factor, in steps of 5 %, at which a table covers 80 % where it covered too little.

    1 where it already covers at least 75 %.
    """
    if inside(1.0).mean() >= LEAST_COVERED:
        return 1.0
    tries = (1 + 0.05 * i for i in range(1, 100))
    return next((f for f in tries if inside(f).mean() >= LEVEL), 6.0)


def widening_of_each(parts: Sequence[Callable[[float], Array]]) -> float:
    """The least factor, in steps of 5 %, at which every part covers 75 %: a mean over periods hides
    the one that was missed."""
    tries = (1 + 0.05 * i for i in range(100))
    return next((f for f in tries if min(p(f).mean() for p in parts) >= LEAST_COVERED), 6.0)


Forward = list[tuple[str, LeftOut, dict[Novelty, Deciles]]]


def forward(rows: Sequence[Row], cuts: Sequence[str]) -> Forward:
    """Per cut: rows from that day on, predicted by the earlier ones, and those' own deciles."""
    found = []
    for first, last in zip(cuts, [*cuts[1:], "9999"], strict=True):
        rest = [r for r in rows if r.date < first]
        later = [r for r in rows if first <= r.date < last]
        error, scale = predicted(later, rest)
        at = calibrate(rest)
        new = tuple(novelty(r, rest) for r in later)
        group = tuple(first for _ in later)
        out = LeftOut(rows=tuple(later), error=error, scale=scale, group=group, novelty=new)
        found.append((first, out, at))
    return found


def calibrate(rows: Sequence[Row]) -> dict[Novelty, Deciles]:
    """The deciles by novelty from the rows alone; rows are left out in folds."""
    found: dict[Novelty, Deciles] = {}
    for way, group_of in WAYS.items():
        several = len({group_of(i, r) for i, r in enumerate(rows)}) > 1
        of = (lambda i, _: str(i % FOLDS)) if way == "one row out" else group_of
        name = NEW_BY_WAY[way]
        if several:
            result = left_out(rows, of)
            factor = widening(functools.partial(covered, result))
            few = len(set(result.group)) < FEW_GROUPS
            found[name] = deciles(result.score, symmetric=few).widened(factor)
        else:
            found[name] = found["gpu"].widened(1.5)
    return found


def covered_by(found: LeftOut, at: dict[Novelty, Deciles], factor: float = 1.0) -> Array:
    """Whether each row lies in the band of deciles from elsewhere."""
    ends = [at[n] for n in found.novelty]
    low = np.array([e.low for e in ends]) * factor
    high = np.array([e.high for e in ends]) * factor
    return np.asarray((low <= found.score) & (found.score <= high), dtype=float)
