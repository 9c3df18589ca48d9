"""Intervals against textbook values, and their coverage by simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.measure.stats import (
    IF_ALIKE,
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
    (8 x 0.625 + 1) / 5 = 1.2: 0.75, the most that is taken. V = 1 + 2 x 1.65017 = 4.30034, and
    sqrt(4.30034 / (1 - 3.30034 / 7)) = 2.85245 times the 0.894 of eight independent ones."""
    ends = mean_interval([99.0] * 4 + [101.0] * 4).ends
    assert ends == pytest.approx((100 - 2.5494, 100 + 2.5494), abs=0.001)
    taking_turns = mean_interval([99.0, 101.0] * 4).ends
    assert taking_turns == pytest.approx((100 - 0.894, 100 + 0.894), abs=0.001)


def _series(rng: np.random.Generator, count: int, n: int, rho: float) -> np.ndarray[Any, Any]:
    """Series of n values around 0 whose neighbours correlate by `rho`. Shape: (count, n)."""
    noise = rng.normal(size=(count, n))
    for i in range(1, n):
        noise[:, i] = rho * noise[:, i - 1] + (1 - rho**2) ** 0.5 * noise[:, i]
    return noise


@pytest.mark.parametrize("n", [8, 12, 24])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.5])
def test_coverage_where_neighbouring_repeats_are_alike(n: int, rho: float) -> None:
    """93 % up to a half; a plain t interval holds the truth in 95, 86 and 76 % of cases. Widths:
    1.2 to 1.7 of a plain one where they are not alike."""
    series = _series(np.random.default_rng(1), 3000, n, rho)
    found = [mean_interval(s).ends or (1, 1) for s in series.tolist()]
    held = np.mean([low <= 0 <= high for low, high in found])
    assert held >= 0.93 - 2 * (0.07 * 0.93 / 3000) ** 0.5
    if rho == 0:
        plain = [t_interval(s) or (0, 0) for s in series.tolist()]
        assert np.ptp(found, axis=1).mean() / np.ptp(plain, axis=1).mean() < 1.8


@pytest.mark.parametrize("n", [3, 5, 7])
def test_how_much_wider_fewer_than_eight_would_have_to_be(n: int) -> None:
    """What the certificate says of them: 1.8 times, were neighbours alike by a half."""
    series = _series(np.random.default_rng(2), 20_000, n, 0.5)
    half = IF_ALIKE * t_quantile(n - 1) * series.std(axis=1, ddof=1) / n**0.5
    assert (abs(series.mean(axis=1)) <= half).mean() == pytest.approx(0.95, abs=0.01)
