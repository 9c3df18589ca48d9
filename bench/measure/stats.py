"""Intervals for means of repeats and for statistics of one correlated series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Reduce = Callable[[Floats], float]

Judgement = Literal["yes", "no", "unclear"]

CONFIDENCE = 0.95
_RESAMPLES = 400
_LONG_SERIES = 5_000
_BATCHES = 30


@cache
def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """Two-sided Student t quantile."""
    from scipy.special import stdtrit  # a tenth of the import time of scipy.stats

    return float(stdtrit(degrees, 0.5 + confidence / 2))


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Confidence interval of the mean of independent repeats; None below two values."""
    n = len(values)
    if n < 2:
        return None
    mean = float(np.mean(values))
    half = t_quantile(n - 1) * float(np.std(values, ddof=1)) / n**0.5
    return mean - half, mean + half


def within(interval: tuple[float, float] | None, low: float, high: float) -> Judgement:
    """Whether a quantity lies between two bounds, as far as its interval tells.

    yes: all of the interval does. no: none of it does. unclear: a part, or there is no interval.
    """
    if interval is None:
        return "unclear"
    if low <= interval[0] and interval[1] <= high:
        return "yes"
    return "no" if interval[1] < low or interval[0] > high else "unclear"


def block_interval(values: Floats, reduce: Reduce) -> tuple[float, float] | None:
    """Confidence interval of `reduce(values)` for one series of correlated values in time order.

    Circular moving-block bootstrap with blocks of n^(1/3) (Künsch 1989; Politis & Romano 1992);
    batch means with a t interval for long series. None below eight values. Seeded.
    """
    n = len(values)
    if n < 8:
        return None
    if n > _LONG_SERIES:
        batches = np.array([reduce(b) for b in np.array_split(values, _BATCHES)])
        centre = reduce(values)
        half = t_quantile(_BATCHES - 1) * float(np.std(batches, ddof=1)) / _BATCHES**0.5
        return centre - half, centre + half
    rng = np.random.default_rng(0)
    block = max(1, round(n ** (1 / 3)))
    starts = rng.integers(0, n, (_RESAMPLES, -(-n // block)))
    indices = (starts[:, :, None] + np.arange(block)) % n
    samples = values[indices.reshape(_RESAMPLES, -1)[:, :n]]
    drawn = np.array([reduce(row) for row in samples])
    tail = (1 - CONFIDENCE) / 2 * 100
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


def percentile(q: float) -> Reduce:
    """The q-th percentile as a reduction (linear interpolation)."""

    def of(values: Floats) -> float:
        return float(np.percentile(values, q))

    return of


def mean(values: Floats) -> float:
    """The arithmetic mean as a reduction."""
    return float(np.mean(values))
