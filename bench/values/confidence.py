"""The one level at which this package is sure, and the quantiles that belong to it."""

from __future__ import annotations

from functools import cache

from bench.values.distributions import normal_inverse, t_inverse

ALPHA = 0.05
"""The level of a test."""

CONFIDENCE = 1 - ALPHA
"""Two-sided: what every interval is said to hold, unless it says another level. Of 0.05 this is
0.95 to the last bit; the other way round 0.05 would be printed as 0.050000000000000044."""


@cache
def normal_quantile(confidence: float = CONFIDENCE) -> float:
    """Two-sided standard normal quantile: 1.96 at 95 %."""
    return normal_inverse(0.5 + confidence / 2)


@cache
def t_quantile(degrees: float, confidence: float = CONFIDENCE) -> float:
    """Two-sided Student t quantile; the normal one for infinite degrees."""
    return t_inverse(degrees, 0.5 + confidence / 2)
