"""The normal, Student t and binomial distributions, as far as intervals and tests need them.

Written out because the package that has them all is 143 MB in each installation; the tests hold
every function against it. Pure.
"""

from __future__ import annotations

import math
from itertools import count
from statistics import NormalDist

_NORMAL = NormalDist()
_CLOSE = 1e-15
_AS_NORMAL = 1e8
"""Above so many degrees of freedom t is the normal to one part in 10^8, and the logarithm of the
beta function has lost as much."""


def normal_cdf(x: float) -> float:
    """P(Z <= x) of the standard normal; the lower tail keeps its relative precision."""
    return math.erfc(-x / math.sqrt(2)) / 2


def normal_inverse(p: float) -> float:
    """The x with P(Z <= x) = p, for 0 < p < 1."""
    return _NORMAL.inv_cdf(p)


def t_cdf(degrees: float, x: float) -> float:
    """P(T <= x) of Student's t; `degrees` need not be whole, and may be infinite. NaN for none."""
    if math.isnan(x) or not degrees > 0:
        return math.nan
    if degrees > _AS_NORMAL:
        return normal_cdf(x)
    if math.isinf(x):
        return float(x > 0)
    whole = degrees + x * x
    tail = _beta_cdf(degrees / 2, 0.5, degrees / whole, x * x / whole) / 2
    return tail if x < 0 else 1 - tail


def t_inverse(degrees: float, p: float) -> float:
    """The x with P(T <= x) = p, for 0 < p < 1; NaN for no degrees of freedom."""
    if math.isnan(p) or not degrees > 0:
        return math.nan
    if p < 0.5:
        return -t_inverse(degrees, 1 - p)
    x = normal_inverse(p)
    if degrees > _AS_NORMAL:
        return x
    # Newton's steps from below: the curve is concave here, so that none goes too far.
    log_top = -_log_beta(degrees / 2, 0.5) - math.log(degrees) / 2
    while True:
        density = math.exp(log_top - (degrees + 1) / 2 * math.log1p(x * x / degrees))
        after = x + (p - t_cdf(degrees, x)) / density
        if after <= x * (1 + _CLOSE):
            return x
        x = after


def binomial_cdf(successes: int, trials: int, p: float = 0.5) -> float:
    """P(X <= successes) in so many trials of probability p."""
    if successes >= trials:
        return 1.0
    return _beta_cdf(trials - successes, successes + 1, 1 - p, p)


def _beta_cdf(a: float, b: float, x: float, y: float) -> float:
    """The regularised incomplete beta function I_x(a, b), with y = 1 - x to its own last bit.

    Its continued fraction (DLMF 8.17.22) converges fast where x is below the mean of the
    distribution; beyond it the other tail is taken.
    """
    if x <= 0 or y <= 0:
        return float(y <= 0)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_cdf(b, a, y, x)
    logs = a * _log(x, y) + b * _log(y, x)
    return math.exp(logs - _log_beta(a, b)) / a * _fraction(a, b, x)


def _log(x: float, rest: float) -> float:
    """The logarithm of x = 1 - rest, from the smaller of the two."""
    return math.log(x) if x < rest else math.log1p(-rest)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _fraction(a: float, b: float, x: float) -> float:
    """1 / (1 + d1 x / (1 + d2 x / …)), from the front (Lentz's method)."""
    value, c, d = 1.0, math.inf, 1.0
    for k in count(1):
        term = _coefficient(a, b, k) * x
        c, d = 1 + term / c, 1 / (1 + term * d)
        value *= c * d
        if abs(c * d - 1) < _CLOSE:
            break
    return value


def _coefficient(a: float, b: float, k: int) -> float:
    """d_k of DLMF 8.17.23."""
    m, odd = divmod(k, 2)
    if odd:
        return -(a + m) * (a + b + m) / ((a + k - 1) * (a + k))
    return m * (b - m) / ((a + k - 1) * (a + k))
