"""Intervals against textbook values, and their coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from bench.measure.stats import (
    block_interval,
    mean,
    mean_interval,
    percentile,
    t_interval,
    within,
)
from bench.values.confidence import ALPHA, CONFIDENCE, t_quantile


def test_t_quantiles_and_interval() -> None:
    assert t_quantile(2) == pytest.approx(4.302653, abs=1e-6)
    assert t_quantile(30) == pytest.approx(2.042272, abs=1e-6)
    low, high = t_interval([1.0, 2.0, 3.0]) or (0, 0)
    assert low == pytest.approx(2 - 2.484138)
    assert high == pytest.approx(2 + 2.484138)
    assert t_interval([1.0]) is None
    assert t_interval([]) is None


def test_percentiles_are_median_unbiased() -> None:
    """Of 100 values in order, p99 stands at 100 x 0.99 + 1.99 / 3 = 99.663; p50 in the middle."""
    values = np.arange(1, 101, dtype=np.float64)
    assert percentile(99)(values) == pytest.approx(99.6633, abs=1e-4)
    assert percentile(50)(values) == pytest.approx(50.5)
    assert percentile(99)(values[:20]) == 20


def test_block_interval_needs_eight_values_and_is_seeded() -> None:
    values = np.arange(40, dtype=np.float64)
    assert block_interval(values[:7], mean) is None
    assert block_interval(values, mean) == block_interval(values, mean)


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_block_interval_covers_the_mean(correlation: float) -> None:
    """Of 300 series of 200 correlated values, about 95 % of intervals hold the true mean of 0."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        noise = rng.normal(size=260)
        series = np.zeros(260)
        for i in range(1, 260):
            series[i] = correlation * series[i - 1] + noise[i]
        low, high = block_interval(series[60:], mean) or (1, 1)
        hits += low <= 0 <= high
    assert hits / 300 > (0.9 if correlation == 0 else 0.78)  # short blocks are known to run short


def test_long_series_use_batch_means() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(10, 1, 20_000)
    low, high = block_interval(values, percentile(50)) or (0, 0)
    assert low < 10 < high
    assert high - low < 0.1


@pytest.mark.parametrize(
    ("interval", "answer"),
    [
        ((-0.01, 0.019), "yes"),
        ((-0.02, 0.02), "yes"),
        ((0.021, 0.05), "no"),
        ((-0.05, -0.021), "no"),
        ((-0.05, 0.05), "unclear"),
        ((0.01, 0.03), "unclear"),
        (None, "unclear"),
    ],
)
def test_between_two_bounds_as_far_as_an_interval_tells(
    interval: tuple[float, float] | None, answer: str
) -> None:
    assert within(interval, -0.02, 0.02) == answer


def test_no_evidence_of_a_difference_is_no_evidence_of_sameness() -> None:
    """Three restless rounds whose mean is 0: the interval is wide, so nothing is said."""
    assert within(t_interval([-0.1, 0.0, 0.1]), -0.02, 0.02) == "unclear"
    assert within(t_interval([-0.001, 0.0, 0.001]), -0.02, 0.02) == "yes"


def test_the_level_is_printed_as_it_is_meant() -> None:
    """Once 1 - 0.95, which JSON showed as 0.050000000000000044."""
    assert (str(ALPHA), str(CONFIDENCE)) == ("0.05", "0.95")


def test_repeats_that_are_alike_in_time_count_for_fewer() -> None:
    """Four of 99 and then four of 101. Neighbours: (6 x 1 - 1) / 8 = 0.625, without its bias
    (8 x 0.625 + 1) / 5 = 1.2, at most 0.95: worth 8 x 0.05 / 1.95 = 0.2, two at least. So
    12.706 x 1.069 / sqrt(2) = 9.605 where eight independent ones would give 0.894."""
    ends = mean_interval([99.0] * 4 + [101.0] * 4).ends
    assert ends == pytest.approx((100 - 9.605, 100 + 9.605), abs=0.01)
    taking_turns = mean_interval([99.0, 101.0] * 4).ends
    assert taking_turns == pytest.approx((100 - 0.894, 100 + 0.894), abs=0.001)


@pytest.mark.parametrize(("rho", "least"), [(0.0, 0.94), (0.3, 0.92), (0.5, 0.88)])
def test_coverage_where_neighbouring_repeats_are_alike(rho: float, least: float) -> None:
    """Twelve repeats; those of a plain t interval hold the truth in 95, 86 and 76 % of cases."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(800):
        noise = rng.normal(size=12)
        for i in range(1, 12):
            noise[i] = rho * noise[i - 1] + (1 - rho**2) ** 0.5 * noise[i]
        ends = mean_interval((100 + noise).tolist()).ends
        assert ends is not None
        held += ends[0] <= 100 <= ends[1]
    assert held / 800 >= least
