"""Paired statistics against hand-worked tables, an independent likelihood, and known limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.quality.paired import (
    bootstrap,
    holm,
    items_needed,
    mcnemar_p,
    sign_flip_p,
    tango_interval,
)
from bench.values.confidence import normal_quantile


def test_mcnemar_of_a_hand_worked_table() -> None:
    # 10 lost, 2 won: 2 · (C(12,0) + C(12,1) + C(12,2)) / 2^12 = 2 · (1 + 12 + 66) / 4096.
    assert mcnemar_p(10, 2) == pytest.approx(158 / 4096)
    assert mcnemar_p(2, 10) == mcnemar_p(10, 2)


def test_mcnemar_limits() -> None:
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(3, 3) == 1.0
    assert mcnemar_p(0, 8) == pytest.approx(2 / 256)


def test_mcnemar_of_published_flips() -> None:
    """3-bit rounding of a 4.2M-parameter Llama: 20 lost and 4 won of 960."""
    tail = sum(math.comb(24, i) for i in range(5))
    assert mcnemar_p(20, 4) == pytest.approx(2 * tail / 2**24)
    assert mcnemar_p(20, 4) == pytest.approx(0.0015, abs=5e-5)


def test_without_flips_the_interval_is_that_of_no_observation() -> None:
    # Tango (1998): no flips among n items gives ± z² / (n + z²).
    z2 = normal_quantile() ** 2
    interval = tango_interval(0, 0, 960)
    assert interval.value == 0.0
    assert interval.high == pytest.approx(z2 / (960 + z2), abs=1e-9)
    assert interval.low == pytest.approx(-z2 / (960 + z2), abs=1e-9)


@pytest.mark.parametrize(
    ("lost", "won", "n"), [(10, 2, 100), (1, 1, 960), (20, 4, 960), (0, 5, 40)]
)
def test_interval_ends_where_the_score_test_rejects(lost: int, won: int, n: int) -> None:
    """The ends against a score test whose constrained maximum is found by brute force."""
    interval = tango_interval(lost, won, n)
    for end in (interval.low, interval.high):
        assert abs(_score_by_search(end, lost, won, n)) == pytest.approx(
            normal_quantile(), rel=2e-3
        )
    mirrored = tango_interval(won, lost, n)
    assert mirrored.low == pytest.approx(-interval.high, abs=1e-9)
    assert interval.low < (won - lost) / n < interval.high


def _score_by_search(difference: float, lost: int, won: int, n: int) -> float:
    """z of the difference (won − lost share), its variance at the likelihood's maximum."""
    floor = max(0.0, -difference)
    shares = np.linspace(floor + 1e-9, (1 - difference) / 2 - 1e-9, 2_000_001)
    wins = shares + difference  # share lost = shares
    stay = 1 - wins - shares
    good = (wins > 0) & (stay > 0)
    likelihood = (
        lost * np.log(shares[good])
        + won * np.log(wins[good])
        + (n - lost - won) * np.log(stay[good])
    )
    best = int(np.argmax(likelihood))
    p_lost, p_won = shares[good][best], wins[good][best]
    variance = (p_lost + p_won - difference**2) / n
    return float(((won - lost) / n - difference) / math.sqrt(variance))


def test_more_flips_than_items_are_refused() -> None:
    with pytest.raises(ValueError, match="flips"):
        tango_interval(5, 6, 10)


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .5: times 4, 3, 2, 1, never falling.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


def test_sign_flips_of_one_direction() -> None:
    # Ten differences of one sign: only all plus or all minus reach the sum, 2 of 1024.
    assert sign_flip_p(np.ones(10)) == pytest.approx(2 / 1024, abs=0.002)
    assert sign_flip_p(np.zeros(10)) == 1.0
    assert sign_flip_p(np.array([1.0, -1.0, 1.0, -1.0])) == 1.0


def test_bootstrap_of_a_constant_shift_has_no_width() -> None:
    base = np.linspace(0.2, 0.8, 50)
    interval = bootstrap(base, base + 0.1, np.ones(50), lambda a, b: b - a)
    assert interval.value == pytest.approx(0.1)
    assert interval.low == pytest.approx(0.1)
    assert interval.high == pytest.approx(0.1)


def test_bootstrap_weighs_items() -> None:
    # 3 of 4 bytes at 1 nat and 1 of 4 at 5 nats: a mean of 2.
    interval = bootstrap(
        np.array([1.0, 5.0]), np.array([1.0, 5.0]), np.array([3.0, 1.0]), lambda a, b: a + b
    )
    assert interval.value == pytest.approx(4.0)


def test_bootstrap_width_is_the_paired_standard_error() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(0, 10, 400)  # the spread between items is large and shared
    interval = bootstrap(base, base + rng.normal(0.5, 1, 400), np.ones(400), lambda a, b: b - a)
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 / 20, rel=0.1)


def test_items_needed_by_hand() -> None:
    # Variance .01, from .001 to a bound at -.009: 1.96² · .01 / .01² = 384.1; 200 are there.
    assert items_needed(0.001, 0.01, 200, -0.009) == 385 - 200
    assert items_needed(0.0, 0.01, 100_000, -0.01) == 0
    assert items_needed(-0.01, 0.01, 100, -0.01) is None
