"""Every function against scipy's, which the package itself does without."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from bench.values import distributions as own

DEGREES = (1, 1.7, 2, 3, 5, 7.3, 11, 30, 99.5, 287, 1000, 54321, 1e6)


def test_by_hand() -> None:
    """One degree is Cauchy's: P(T <= 1) = 3/4. Two trials: 1/4, 3/4, 1."""
    assert own.t_cdf(1, 1.0) == pytest.approx(0.75, abs=1e-15)
    assert own.t_inverse(1, 0.75) == pytest.approx(1.0, abs=1e-14)
    assert [own.binomial_cdf(k, 2) for k in (0, 1, 2)] == pytest.approx([0.25, 0.75, 1.0])
    assert own.normal_cdf(0.0) == 0.5
    assert own.t_cdf(3, 0.0) == 0.5
    assert own.t_cdf(3, -math.inf) == 0.0
    assert own.t_cdf(3, math.inf) == 1.0


def test_of_nothing_nothing_is_known() -> None:
    for degrees in (0, -1, math.nan):
        assert math.isnan(own.t_cdf(degrees, -1.0))
        assert math.isnan(own.t_inverse(degrees, 0.975))
    assert math.isnan(own.t_cdf(5, math.nan))
    assert math.isnan(own.t_inverse(5, math.nan))


def test_the_normal_one() -> None:
    x = np.linspace(-30, 8, 400)
    assert [own.normal_cdf(v) for v in x] == pytest.approx(special.ndtr(x), rel=5e-13, abs=0)
    p = np.concatenate([10.0 ** np.arange(-300, -1, 7), np.linspace(0.001, 0.999, 99)])
    assert [own.normal_inverse(v) for v in p] == pytest.approx(special.ndtri(p), rel=1e-13)


@pytest.mark.parametrize("degrees", DEGREES)
def test_student(degrees: float) -> None:
    """The tails that p values are made of have their relative precision, down to 1e-100."""
    x = np.concatenate([-(10.0 ** np.linspace(-6, 2.5, 120)), 10.0 ** np.linspace(-6, 2, 60)])
    wanted = stats.t.cdf(x, degrees)
    kept = wanted > 1e-100
    found = np.array([own.t_cdf(degrees, v) for v in x])
    assert found[kept] == pytest.approx(wanted[kept], rel=1e-8, abs=0)
    for p in (1e-6, 0.025, 0.4, 0.6, 0.95, 0.975, 0.9995):
        assert own.t_inverse(degrees, p) == pytest.approx(special.stdtrit(degrees, p), rel=1e-8)
        assert own.t_cdf(degrees, own.t_inverse(degrees, p)) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize("degrees", [1e7, 1e8, 3e8, 1e12, 1e20])
def test_very_many_degrees(degrees: float) -> None:
    for p in (0.025, 0.6, 0.975, 0.9995):
        assert own.t_inverse(degrees, p) == pytest.approx(special.stdtrit(degrees, p), rel=2e-7)
    assert own.t_cdf(degrees, -1.96) == pytest.approx(stats.t.cdf(-1.96, degrees), rel=2e-7)


def test_endless_degrees_are_normal() -> None:
    assert own.t_cdf(math.inf, -1.96) == own.normal_cdf(-1.96)
    assert own.t_inverse(math.inf, 0.975) == own.normal_inverse(0.975)
    assert own.t_inverse(math.inf, 0.025) == pytest.approx(-1.959963984540054)


@pytest.mark.parametrize("trials", [1, 2, 7, 40, 333, 14042])
def test_coins(trials: int) -> None:
    """14,042 items are all of MMLU."""
    k = np.unique(np.linspace(0, trials, 60).astype(int))
    found = [own.binomial_cdf(int(v), trials) for v in k]
    assert found == pytest.approx(special.bdtr(k, trials, 0.5), rel=1e-9, abs=1e-300)
