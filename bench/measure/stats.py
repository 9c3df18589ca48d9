"""Intervals for means of repeats and for statistics of one correlated series."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bench.values.confidence import CONFIDENCE, normal_quantile, t_quantile

Floats = npt.NDArray[np.float64]
Reduce = Callable[[Floats], float]

Judgement = Literal["yes", "no", "unclear"]

ENOUGH_REPEATS = 3
"""Fewer repeats carry no interval: two of them may agree by chance, and one cannot differ."""

ENOUGH_TO_CORRELATE = 8
"""Below this many observations the correlation of neighbours is noise itself, and none is used."""

IF_ALIKE = 1.8
"""So many times as wide an interval of fewer would have to be, were neighbours alike by a half:
1.77 to 1.79 for 3 to 7 of them, for 95 % of simulated series (docs/truth-grid.md)."""

_MOST_ALIKE = 0.75

_RESAMPLES = 400
_LONG_SERIES = 5_000
_BATCHES = 30


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Confidence interval of the mean of independent repeats; None below two values."""
    n = len(values)
    if n < 2:
        return None
    mean = float(np.mean(values))
    half = t_quantile(n - 1) * float(np.std(values, ddof=1)) / n**0.5
    return mean - half, mean + half


def correlation(values: Sequence[float]) -> float:
    """How much neighbours in time order may be alike: their correlation, corrected for its bias
    (Marriott and Pope 1954), and one standard error more, for of so few it is hardly known. Between
    0 and 0.75; 0 where it cannot be told."""
    n = len(values)
    off = np.asarray(values) - np.mean(values)
    total = float(off @ off)
    if n < ENOUGH_TO_CORRELATE or total == 0:
        return 0.0
    seen = float(off[1:] @ off[:-1]) / total
    likely = min(0.95, max(-0.9, (n * seen + 1) / (n - 3)))
    return min(_MOST_ALIKE, max(0.0, likely + math.sqrt((1 - likely**2) / n)))


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of observations in time order whose neighbours may be alike (Bayley and
    Hammersley 1946): with correlations r, r², … the mean of n varies by V·sigma²/n, where V is
    1 + 2·sum((1 - k/n)·r^k), and what they show of sigma² lacks (V - 1)/(n - 1) of it."""
    n = len(values)
    r, k = correlation(values), np.arange(1, n)
    v = 1 + 2 * float(((1 - k / n) * r**k).sum())
    wider = v / (1 - (v - 1) / (n - 1))
    return float(np.std(values, ddof=1)) * math.sqrt(wider / n)


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
    """The q-th percentile as a reduction, median-unbiased (Hyndman & Fan 1996, type 8): between
    order statistics n·p + (p + 1)/3. The usual (n - 1)·p + 1 is a p98 of 100 values for a p99."""

    def of(values: Floats) -> float:
        return float(np.percentile(values, q, method="median_unbiased"))

    return of


def mean(values: Floats) -> float:
    """The arithmetic mean as a reduction."""
    return float(np.mean(values))


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Both ends of a 95 % interval; None with the reason where there is none."""

    ends: tuple[float, float] | None = None
    why_not: str | None = None


def _too_few(repeats: int) -> Interval | None:
    if repeats >= ENOUGH_REPEATS:
        return None
    several = "1 repeat shows" if repeats == 1 else f"{repeats} repeats show"
    return Interval(why_not=f"{several} too little of what differs: from {ENOUGH_REPEATS} on")


def mean_interval(values: Sequence[float], *, systematic: float = 0.0) -> Interval:
    """Interval of the mean of repeats in time order: Student's t, wider by a `systematic` error on
    both sides."""
    few = _too_few(len(values))
    if few is not None:
        return few
    centre = float(np.mean(values))
    half = t_quantile(len(values) - 1) * standard_error(values) + systematic
    return Interval(ends=(centre - half, centre + half))


@dataclass(frozen=True, eq=False)
class Pooled:
    """The values of several groups (repeats) together, sorted once for all percentiles."""

    groups: tuple[Floats, ...]
    together: Floats

    @classmethod
    def of(cls, groups: Sequence[Floats]) -> Pooled:
        """From the groups that have values."""
        some = tuple(np.sort(g) for g in groups if len(g))
        joined = np.concatenate(some) if some else np.empty(0)
        joined.sort(kind="stable")  # merges what is sorted already
        return cls(some, joined)

    def quantile(self, q: float) -> tuple[float | None, Interval]:
        """The q-th percentile of all values, and its interval.

        Half its width is Student's t over the percentiles of the groups, and it reaches at least to
        the order statistics that bound it for independent values. Above the median that is not
        enough, for where groups differ the percentile lies with the worst of them: the share of
        values below it in each group (Woodruff 1952, groups as clusters) bounds it, too. Asking
        first whether they differ beyond chance would print the lucky ones (docs/truth-grid.md).
        Where the ends run beyond the values, there is none.
        """
        n, k, share = len(self.together), len(self.groups), q / 100
        if not n:
            return None, Interval()
        own = percentile(q)
        value = own(self.together)
        few = _too_few(k)
        if few is not None:
            return value, few
        bounds = [self._between(share, normal_quantile() * (share * (1 - share) / n) ** 0.5)]
        if q > 50:
            excess = np.array([_below(g, value) - share * len(g) for g in self.groups])
            clustered = (k / (k - 1) * float(excess @ excess)) ** 0.5 / n
            bounds.append(self._between(share, t_quantile(k - 1) * clustered))
        known = [b for b in bounds if b is not None]
        if len(known) < len(bounds):
            what = "too few, for they differ" if known else "too few"
            return value, Interval(why_not=f"{n:,} values in {k} repeats are {what}: no bound")
        half = t_quantile(k - 1) * standard_error([own(g) for g in self.groups])
        low, high = min(b[0] for b in known), max(b[1] for b in known)
        return value, Interval(ends=(min(low, value - half), max(high, value + half)))

    def _between(self, share: float, half: float) -> tuple[float, float] | None:
        """The order statistics at share ± half; None where one lies beyond the values."""
        n = len(self.together)
        low, high = math.floor(n * (share - half)) - 1, math.ceil(n * (share + half))
        if low < 0 or high >= n:
            return None
        return float(self.together[low]), float(self.together[high])


def _below(ordered: Floats, at: float) -> float:
    """How many of the values lie below `at`; those equal to it count half."""
    left, right = (float(np.searchsorted(ordered, at, side=side)) for side in ("left", "right"))
    return (left + right) / 2
