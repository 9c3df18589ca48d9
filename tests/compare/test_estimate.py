"""Intervals of few, of correlated and of rare observations, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.compare.estimate import Estimate, at_least_as_wide, of_values, share_half_width, wilson


def test_three_repeats_by_hand() -> None:
    # mean -0.05, s 0.01, standard error 0.01/sqrt(3) = 0.0057735, t(2) = 4.30265: half 0.024842
    found = of_values([-0.06, -0.05, -0.04])
    assert found is not None
    assert found.value == pytest.approx(-0.05)
    assert (found.low, found.high) == pytest.approx((-0.074842, -0.025158), abs=1e-6)
    # t = (0.05 - 0.02) / 0.0057735 = 5.19615; for 2 degrees P = 1 - t/sqrt(2 + t^2) = 0.035101
    assert found.p_below(-0.02) == pytest.approx(0.035101, abs=1e-5)
    assert found.p_above(-0.02) == 1.0


def test_p_is_five_percent_where_the_interval_ends() -> None:
    found = of_values([1.0, 1.3, 0.9, 1.1])
    assert found is not None
    assert found.p_below(found.high) == pytest.approx(0.05)
    assert found.p_above(found.low) == pytest.approx(0.05)


def test_one_observation_is_no_interval_and_no_spread_is_certain() -> None:
    assert of_values([1.0]) is None
    same = of_values([2.0, 2.0, 2.0])
    assert same is not None
    assert (same.p_below(2.1), same.p_below(2.0), same.p_above(2.0)) == (0.0, 1.0, 1.0)


def test_neighbours_alike_count_for_less() -> None:
    # 0,0,0,0,1,1,1,1: deviations -+0.5, sum of squares 2, of neighbours 0.25*(3 - 1 + 3) = 1.25;
    # r = 0.625, corrected (8*0.625 + 1)/(8 - 3) = 1.2, held at 0.75: 2.852 times as wide
    drifting = of_values([0.0] * 4 + [1.0] * 4)
    # 0,1,0,1,...: r = -0.875, so none is used
    alternating = of_values([0.0, 1.0] * 4)
    assert drifting is not None
    assert alternating is not None
    assert (drifting.degrees, alternating.degrees) == (7.0, 7.0)
    wider = (drifting.high - drifting.low) / (alternating.high - alternating.low)
    assert wider == pytest.approx(2.85245, abs=1e-4)


def test_false_alarms_of_correlated_repeats_stay_near_five_percent() -> None:
    """AR(1) with r = 0.6 over 20 repeats: a plain t test would reject in a third of the cases."""
    rng = np.random.default_rng(3)
    corrected = plain = 0
    for _ in range(600):
        noise = rng.normal(size=40)
        series = [0.0]
        for e in noise:
            series.append(0.6 * series[-1] + e)
        values = series[-20:]
        found = of_values(values)
        assert found is not None
        corrected += int(min(found.p_below(0), found.p_above(0)) < 0.05)
        t = abs(np.mean(values)) / (np.std(values, ddof=1) / math.sqrt(20))
        plain += int(t > 2.093)
    assert plain / 600 > 0.25
    assert corrected / 600 < 0.10


def test_no_failure_seen_is_not_no_failure() -> None:
    # Wilson for 0 of 60: upper z^2/(n + z^2) = 3.8415/63.8415 = 0.06017
    low, high = wilson(0.0, 60)
    assert (low, high) == pytest.approx((0.0, 0.06017), abs=1e-5)
    zero = Estimate(value=0.0, low=0.0, high=0.0, n=3, degrees=2)
    wide = at_least_as_wide(zero, share_half_width([(0.0, 60)]))
    assert wide.high == pytest.approx(0.06017, abs=1e-5)
    assert wide.p_below(0.01) > 0.05


def test_a_systematic_error_shifts_the_limit() -> None:
    found = Estimate(value=10.0, low=9.9, high=10.1, n=3, degrees=2, systematic=0.5)
    assert found.interval == pytest.approx((9.4, 10.6))
    assert found.p_below(10.55) > 0.05
    assert found.p_below(10.65) < 0.05
