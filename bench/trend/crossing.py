"""When two lines meet, as a distribution: slopes and levels are known to an interval only.

Each line's level and slope are drawn together from their t distribution; a draw in which they move
apart never meets. The shares are then those of dates, and "never" is one of the answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bench.trend.line import Array, Line

DRAWS = 20_000


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Days at which the lower line reaches the upper one: the quantiles 2.5, 50 and 97.5 % (inf:
    never), the share of draws that never meet and of those that already had by `now_day`."""

    low_day: float
    median_day: float
    high_day: float
    never: float
    already: float
    days: tuple[float, ...]

    def by(self, day: float) -> float:
        """The probability that they have met by a day."""
        return float(np.mean(np.asarray(self.days) <= day))


def crossing(lower: Line, upper: Line, now_day: float, seed: int = 0) -> Crossing | None:
    """The distribution of the day on which `lower` reaches `upper`; None where one of the two has
    no interval."""
    if lower.free < 1 or upper.free < 1:
        return None
    rng = np.random.default_rng(seed)
    a, b = (_draws(line, now_day, rng) for line in (lower, upper))
    gap, closing = b[0] - a[0], a[1] - b[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        met = now_day + gap / closing
    # Moving apart: with the lower one behind they never meet, with it ahead they met before.
    days = np.where(closing > 0, met, np.where(gap > 0, math.inf, -math.inf))
    low, median, high = np.quantile(days, [0.025, 0.5, 0.975], method="inverted_cdf")
    return Crossing(
        low_day=float(low),
        median_day=float(median),
        high_day=float(high),
        never=float(np.mean(np.isposinf(days))),
        already=float(np.mean(days <= now_day)),
        days=tuple(np.sort(days).tolist()),
    )


def _draws(line: Line, day: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Values on a day and slopes of a line, drawn together."""
    root = np.linalg.cholesky(np.asarray(line.cov) + 1e-18 * np.eye(2))
    normal = rng.standard_normal((2, DRAWS))
    scale = np.sqrt(line.free / rng.chisquare(line.free, DRAWS))
    level, slope = np.array([[line.level], [line.slope]]) + root @ normal * scale
    return level + slope * (day - line.origin_day), slope
