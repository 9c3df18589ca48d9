"""A refit put to the test on published curves: two loads taken as one's own, the others predicted.

A curve is one model in one quantisation on as many GPUs of one kind, measured at several loads. The
rest of the evidence is what was published before it, as when somebody measures on an engine that is
newer than all evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.predict.bands import Novelty, novelty, spread
from bench.predict.crossval import LeftOut
from bench.predict.evidence import Row
from bench.predict.noise import ASSUMED, with_launches
from bench.predict.regression import Array, Design, Fitted, fit, levels_of, log_seconds, misfit

Curve = tuple[Row, ...]
LEAST = 3
"""Loads that a curve needs: two of one's own and one to predict."""


def curves(rows: Sequence[Row]) -> list[Curve]:
    """Rows by what was measured at several loads, each from the fewest in flight to the most."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for r in rows:
        if r.concurrency is not None:
            key = (r.source, r.model, r.quant, r.engine, r.version, r.gpu, r.gpus)
            found.setdefault(key, []).append(r)
    whole = (sorted(c, key=lambda r: r.concurrency or 0.0) for c in found.values())
    return [tuple(c) for c in whole if len(c) >= LEAST]


def owned(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Published rows as if they were of one's own launches, one each."""
    own = [replace(r, id=f"{r.id}/c{r.concurrency:g}", own=True, log_sd=None) for r in rows]
    return with_launches(own, ASSUMED["gpu"])


def between(every: Sequence[Curve], rest: Sequence[Row]) -> LeftOut:
    """Loads between the two ends of each curve, predicted after a refit on both ends."""
    start = _start(rest)
    parts = [_predicted(owned((c[0], c[-1])), c[1:-1], rest, start) for c in every]
    return _joined(parts, [c[1:-1] for c in every], rest, own=True)


def other_model(every: Sequence[Curve], rest: Sequence[Row]) -> LeftOut:
    """All loads of each curve, predicted after a refit on both ends of another model's curve on as
    many GPUs of the kind: the next one by name."""
    start = _start(rest)
    parts, asked = [], []
    for c in every:
        others = sorted(
            (o for o in every if (o[0].gpu, o[0].gpus) == (c[0].gpu, c[0].gpus)),
            key=lambda o: (o[0].model, o[0].source),
        )
        at = others.index(c)
        around = [*others[at + 1 :], *others[:at]]
        other = next((o for o in around if o[0].model != c[0].model), None)
        if other is not None:
            parts.append(_predicted(owned((other[0], other[-1])), c, rest, start))
            asked.append(c)
    return _joined(parts, asked, rest, own=False)


def _start(rest: Sequence[Row]) -> Array:
    return fit(Design(rest, levels_of(rest))).values


def _predicted(
    own: Sequence[Row], asked: Sequence[Row], rest: Sequence[Row], start: Array
) -> tuple[Array, Array]:
    """Log errors and spreads of rows after a refit on one's own."""
    found = refitted(own, rest, start)
    log_s, sigma = log_seconds(found, asked_rows := [_asked(r) for r in asked])
    measured = np.log([r.seconds for r in asked])
    scale = [spread(r, s) for r, s in zip(asked_rows, sigma, strict=True)]
    return log_s - measured, np.array(scale) * misfit(found, own)


def refitted(own: Sequence[Row], rest: Sequence[Row], start: Array) -> Fitted:
    """The fit to the rest and one's own, begun at the rest's."""
    every = (*rest, *own)
    levels = levels_of(every)
    known = levels_of(rest)
    if (levels.engines, levels.gpus, levels.modes) != (known.engines, known.gpus, known.modes):
        return fit(Design(every, levels))
    return fit(Design(every, levels), np.append(start, np.zeros(len(levels.own))))


def _asked(row: Row) -> Row:
    """A row as a question after a refit asks it."""
    return replace(row, own=True, log_sd=ASSUMED["gpu"])


def _joined(
    parts: Sequence[tuple[Array, Array]],
    asked: Sequence[Sequence[Row]],
    rest: Sequence[Row],
    *,
    own: bool,
) -> LeftOut:
    rows = tuple(r for part in asked for r in part)
    new: tuple[Novelty, ...] = tuple("same" if own else novelty(r, rest) for r in rows)
    return LeftOut(
        rows=rows,
        error=np.concatenate([e for e, _ in parts]),
        scale=np.concatenate([s for _, s in parts]),
        group=tuple(r.model for r in rows),
        novelty=new,
    )


def submitters(rows: Sequence[Row]) -> tuple[float, int, int]:
    """Pooled log standard deviation of one condition between those who submitted it to MLPerf, the
    conditions, and the degrees of freedom: other machines and tunings, so more than launches of one
    machine differ by."""
    found: dict[tuple[object, ...], list[float]] = {}
    for r in rows:
        if r.collection == "mlperf":
            key = (r.model, r.quant, r.engine, r.version, r.gpu, r.gpus, r.mode, r.output_tokens)
            found.setdefault(key, []).append(math.log(r.tokens_per_s))
    many = [v for v in found.values() if len(v) > 1]
    degrees = sum(len(v) - 1 for v in many)
    pooled = math.sqrt(sum(float(np.var(v, ddof=1)) * (len(v) - 1) for v in many) / degrees)
    return pooled, len(many), degrees
