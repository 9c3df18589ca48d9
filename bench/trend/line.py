"""A line through dated values, with steps apart from drift, and what an interval then means.

Ordinary least squares of y on days, one level per scale (values of different scales are never one
series) and one per step; intervals are Student's t. A step is looked for at every place that leaves
two points on either side; the largest F of all places is held against the same maximum of simulated
series without a step (Andrews' sup-F, its distribution drawn for the dates at hand), so that having
looked everywhere is paid for.

Neighbours of a market price resemble each other: from MEMORY_POINTS dates on the residuals' first
autocorrelation (corrected for its bias) widens the intervals as that many fewer values would, and
the simulated series have it, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bench.values.confidence import t_quantile

Array = npt.NDArray[np.float64]
LEAST_FREE = 1
"""Degrees of freedom without which nothing has an interval."""
NULL_DRAWS = 1_999
STEP_LEVEL = 0.01
"""Chance of a step that is none: one taken for real costs the slopes some of their coverage."""
MOST_STEPS = 3
MEMORY_POINTS = 25
"""Dates below which an autocorrelation cannot be told; the values are then taken to be apart."""
MOST_MEMORY = 0.9


@dataclass(frozen=True, kw_only=True)
class Step:
    """A jump of the level between two dates (days), in the unit of y, with its 95 % interval."""

    after_day: float
    before_day: float
    size: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """`slope` is per day. `level` is that of the newest scale, behind all steps, at `origin_day`;
    `cov` the covariance of (level, slope); `free` the degrees of freedom, below 1 no interval."""

    slope: float
    level: float
    origin_day: float
    cov: tuple[tuple[float, float], tuple[float, float]]
    free: int
    points: int
    scales: int
    steps: tuple[Step, ...] = ()
    memory: float = 0.0
    """Correlation of neighbouring residuals that the intervals allow for."""

    def slope_interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """The interval of the slope, per day; None without a degree of freedom."""
        return self._around(self.slope, self.cov[1][1], confidence)

    def at(self, day: float) -> float:
        """The line's value on a day."""
        return self.level + self.slope * (day - self.origin_day)

    def interval_at(self, day: float, confidence: float = 0.95) -> tuple[float, float] | None:
        """The interval of the line (not of a single value) on a day."""
        x = day - self.origin_day
        variance = self.cov[0][0] + 2 * x * self.cov[0][1] + x * x * self.cov[1][1]
        return self._around(self.at(day), variance, confidence)

    def _around(self, middle: float, variance: float, conf: float) -> tuple[float, float] | None:
        if self.free < LEAST_FREE:
            return None
        reach = t_quantile(self.free, conf) * math.sqrt(max(variance, 0.0))
        return middle - reach, middle + reach


def fit_line(
    days: Sequence[float],
    values: Sequence[float],
    scales: Sequence[int] | None = None,
    *,
    steps: bool = True,
) -> Line | None:
    """The line through values in the order of time; None where no scale has two dates."""
    t, y = np.asarray(days, dtype=float), np.asarray(values, dtype=float)
    group = np.zeros(len(t), dtype=int) if scales is None else np.asarray(scales, dtype=int)
    if not any(len(set(t[group == g])) >= 2 for g in set(group.tolist())):
        return None
    places = find_steps(t, y, group) if steps else ()
    design = _design(t, group, tuple(k for k, _ in places))
    beta, cov, free, memory = _solve(design, y)
    levels = len(set(group.tolist()))
    # the newest scale's level, and every step that lies behind its last point
    pick = np.zeros(design.shape[1])
    pick[1 + sorted(set(group.tolist())).index(int(group[-1]))] = 1.0
    pick[1 + levels :] = 1.0
    slope = np.eye(design.shape[1])[0]
    both = np.array([pick, slope])
    c = both @ cov @ both.T
    return Line(
        slope=float(beta[0]),
        level=float(pick @ beta),
        origin_day=float(t.mean()),
        cov=((float(c[0, 0]), float(c[0, 1])), (float(c[1, 0]), float(c[1, 1]))),
        free=free,
        points=len(t),
        scales=levels,
        steps=tuple(
            _step(t, beta, cov, free, 1 + levels + i, k, p) for i, (k, p) in enumerate(places)
        ),
        memory=memory,
    )


def _step(t: Array, beta: Array, cov: Array, free: int, column: int, k: int, p: float) -> Step:
    reach = t_quantile(free) * math.sqrt(max(float(cov[column, column]), 0.0))
    size = float(beta[column])
    return Step(
        after_day=float(t[k - 1]),
        before_day=float(t[k]),
        size=size,
        low=size - reach,
        high=size + reach,
        p=p,
    )


def find_steps(t: Array, y: Array, group: npt.NDArray[np.int_]) -> tuple[tuple[int, float], ...]:
    """Indices before which the level jumps, in order of time, each with its p; found one by one,
    the largest first, until none beats what chance gives."""
    found: list[tuple[int, float]] = []
    for _ in range(MOST_STEPS):
        taken = tuple(sorted(k for k, _ in found))
        best, index = _largest_f(t, y, group, taken)
        if index is None:
            break
        # Without the step in question: a real one only makes the neighbours look more alike.
        design = _design(t, group, taken)
        memory = round(_memory(y - design @ (np.linalg.pinv(design) @ y), bias=0.0), 1)
        null = _null(tuple(t.tolist()), tuple(group.tolist()), taken, memory)
        p = (1 + sum(f >= best for f in null)) / (1 + len(null))
        if p > STEP_LEVEL:
            break
        found.append((index, p))
    return tuple(sorted(found))


def _places(t: Array, group: npt.NDArray[np.int_], taken: tuple[int, ...]) -> list[int]:
    """Where a step may be: two points of its stretch on either side, within one scale."""
    edges = sorted({0, len(t), *taken, *(np.flatnonzero(np.diff(group)) + 1).tolist()})
    return [
        k for start, stop in pairwise(edges) for k in range(start + 2, stop - 1) if t[k] > t[k - 1]
    ]


def _largest_f(
    t: Array, y: Array, group: npt.NDArray[np.int_], taken: tuple[int, ...]
) -> tuple[float, int | None]:
    """The largest F of one more step, and where; y may have a series in each column."""
    design = _design(t, group, taken)
    free = len(t) - design.shape[1] - 1
    if free < LEAST_FREE:
        return 0.0, None
    fs = [(float(f[0]), k) for k, f in _fs(t, y[:, None], group, taken, design, free)]
    return max(fs, default=(0.0, None), key=lambda pair: pair[0])


def _fs(
    t: Array,
    y: Array,
    group: npt.NDArray[np.int_],
    taken: tuple[int, ...],
    design: Array,
    free: int,
) -> list[tuple[int, Array]]:
    q, _ = np.linalg.qr(design)
    rest = y - q @ (q.T @ y)
    whole = (rest * rest).sum(axis=0)
    found = []
    for k in _places(t, group, taken):
        jump = _jump(t, group, k)
        jump = jump - q @ (q.T @ jump)
        norm = float(jump @ jump)
        if norm < 1e-9:
            continue
        gain = (jump @ rest) ** 2 / norm
        left = np.maximum(whole - gain, 1e-12 * np.maximum(whole, 1e-300))
        found.append((k, gain / (left / free)))
    return found


@lru_cache(maxsize=64)
def _null(
    t: tuple[float, ...], group: tuple[int, ...], taken: tuple[int, ...], memory: float
) -> tuple[float, ...]:
    """The largest F of series that have no step, drawn for these dates; free of scale and slope.
    Neighbours are correlated by `memory`."""
    days, scales = np.asarray(t), np.asarray(group, dtype=int)
    noise = np.random.default_rng(20261126).standard_normal((len(t), NULL_DRAWS))
    fresh = math.sqrt(1 - memory * memory)
    for i in range(1, len(t) if memory else 0):
        noise[i] = memory * noise[i - 1] + fresh * noise[i]
    design = _design(days, scales, taken)
    free = len(t) - design.shape[1] - 1
    every = [f for _, f in _fs(days, noise, scales, taken, design, free)]
    return tuple(np.max(np.array(every), axis=0).tolist()) if every else ()


def _jump(t: Array, group: npt.NDArray[np.int_], k: int) -> Array:
    """1 from index k on, within its scale."""
    inside: npt.NDArray[np.bool_] = (np.arange(len(t)) >= k) & (group == group[k])
    return inside.astype(np.float64)


def _design(t: Array, group: npt.NDArray[np.int_], steps: tuple[int, ...]) -> Array:
    """Columns: days since the mean, a level per scale, a jump per step."""
    levels = [(group == g).astype(float) for g in sorted(set(group.tolist()))]
    jumps = [_jump(t, group, k) for k in steps]
    found: Array = np.column_stack([t - t.mean(), *levels, *jumps])
    return found


def _memory(rest: Array, bias: float = 1.0) -> float:
    """The correlation of neighbouring residuals, 0 where it is not above or cannot be told."""
    if len(rest) < MEMORY_POINTS or not (rest @ rest) > 0:
        return 0.0
    raw = float(rest[1:] @ rest[:-1] / (rest @ rest))
    return min(MOST_MEMORY, max(0.0, raw + bias * (2 + 4 * raw) / len(rest)))


def _solve(design: Array, y: Array) -> tuple[Array, Array, int, float]:
    """Coefficients, their covariance, degrees of freedom and the residuals' memory, which both of
    the former allow for."""
    inverse = np.asarray(np.linalg.pinv(design.T @ design), dtype=np.float64)
    beta: Array = inverse @ design.T @ y
    free = len(y) - int(np.linalg.matrix_rank(design))
    rest = y - design @ beta
    if free <= 0:
        return beta, inverse * 0.0, free, 0.0
    memory = _memory(rest)
    wider = (1 + memory) / (1 - memory)
    variance = float(rest @ rest) / free * wider
    return beta, inverse * variance, max(1, int(free / wider)), memory
