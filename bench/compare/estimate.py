"""An estimate with its interval, and on which side of a limit the truth lies.

Repeats of one load point follow each other in time, so their errors may be alike: from eight on,
the correlation of neighbours is estimated and widens the interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.measure.stats import standard_error
from bench.values.confidence import t_quantile
from bench.values.distributions import t_cdf


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean with its two-sided 95 % interval over `n` observations.

    `degrees` of freedom are Student's; infinite for a normal interval. `systematic` is an error
    that no repeat reduces: the interval is wider by it on both sides.
    """

    value: float
    low: float
    high: float
    n: int
    degrees: float = math.inf
    systematic: float = 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends, the systematic error included."""
        return self.low - self.systematic, self.high + self.systematic

    def p_below(self, limit: float) -> float:
        """Twice the one-sided p that the truth is not below `limit`: under 5 % exactly where the
        95 % interval ends below it."""
        return self._p(limit - self.value, self.high - self.value)

    def p_above(self, limit: float) -> float:
        """The same for above."""
        return self._p(self.value - limit, self.value - self.low)

    def _p(self, distance: float, half: float) -> float:
        clear = distance - self.systematic
        if clear <= 0:
            return 1.0
        if half <= 0:
            return 0.0
        return min(1.0, 2 * t_cdf(self.degrees, -clear / half * t_quantile(self.degrees)))


def of_values(values: Sequence[float]) -> Estimate | None:
    """The mean of observations in time order, whose neighbours may be alike; None below two."""
    n = len(values)
    if n < 2:
        return None
    centre = float(np.mean(values))
    half = t_quantile(n - 1) * standard_error(values)
    return Estimate(value=centre, low=centre - half, high=centre + half, n=n, degrees=n - 1)


def at_least_as_wide(estimate: Estimate, half: float) -> Estimate:
    """The estimate with half of its interval at least `half` on both sides."""
    return replace(
        estimate,
        low=min(estimate.low, estimate.value - half),
        high=max(estimate.high, estimate.value + half),
    )


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % score interval of a proportion: none of 60 still leaves room up to 6 % (Wilson 1927)."""
    z2 = t_quantile(math.inf) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * share * (1 - share) / n + z2 * z2 / (4 * n * n)) / (1 + z2 / n)
    return centre - half, centre + half


def share_half_width(shares: Sequence[tuple[float, int]]) -> float:
    """The longer arm of a 95 % interval of a share (one pair), or of a difference of two.

    Newcombe, Statistics in Medicine 17 (1998) 873, method 10. Each pair is (share, count).
    """
    arms = []
    for share, n in shares:
        low, high = wilson(share, n)
        arms.append(max(share - low, high - share))
    return math.hypot(*arms)
