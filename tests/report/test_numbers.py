"""Numbers for people, by hand."""

from __future__ import annotations

import math

import pytest

from bench.report.numbers import amount, plain, quantity, share_of_draws, with_interval


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (12.345, "12.3"),
        (1128.4, "1,128"),
        (48_914, "48,914"),
        (99_999.6, "100,000"),
        (100_000, "100 k"),
        (428_134, "428 k"),
        (-296_262, "-296 k"),
        (3_624_956, "3,625 k"),
        (123_456_789, "123 M"),
        (1.5e11, "150 G"),
        (math.inf, "inf"),
    ],
)
def test_three_digits_and_a_prefix_from_a_hundred_thousand_on(value: float, text: str) -> None:
    assert quantity(value) == text


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (1_924.4, 38.2, "1,924 ± 38"),
        (250.43, 9.01, "250.4 ± 9.0"),
        (2.0, 0.0, "2.00 ± 0"),
        (267_085, 3_120, "267.1 ± 3.1 k"),
        (267_085, 44, "267.085 ± 0.044 k"),
        (267_085, 91_000, "267 ± 91 k"),
        (1e-5, 2e-6, "0.000010 ± 0.000002"),  # was 0.000 ± 0.000, which is a measured zero
        (0.0, 2e-6, "0.0000000 ± 0.0000020"),
        (0.499, 0.00012, "0.499 ± <0.001"),  # was ± 0.000
        (0.499, 0.0006, "0.499 ± 0.001"),
        (-4.0, 0.5, "-4.00 ± 0.50"),
    ],
)
def test_both_halves_share_their_prefix(value: float, half: float, text: str) -> None:
    assert with_interval(value, value - half, value + half) == text


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (2.0, 1.8, 5.2, "2.0 (1.8–5.2)"),  # was 2.0 ± 3.2, which reaches below zero
        (10.0, 9.0, 11.2, "10.0 ± 1.2"),  # a sixth apart: one number says it
        (267_085, 260_000, 300_000, "267 (260–300) k"),
        (5.0, 0.0, 12.0, "5.0 (0.0–12.0)"),
        (0.504, 0.502, 3.005, "0.50 (0.50–3.00)"),  # was 0.5 (0.5–3.0)
        (0.0, 0.0, 0.02, "0.000 (0.000–0.020)"),
        (2.1e-4, 1e-4, 9e-4, "0.00021 (0.00010–0.00090)"),  # was 0.000 (0.000–0.001)
        (-4.0, -5.0, -1.0, "-4.0 (-5.0 to -1.0)"),  # was (-5.0–-1.0)
        (-1.0, -5.0, 0.2, "-1.0 (-5.0 to 0.2)"),
    ],
)
def test_a_lopsided_interval_is_told_by_its_ends(
    value: float, low: float, high: float, text: str
) -> None:
    assert with_interval(value, low, high) == text


def test_tokens_are_counted_and_gib_measured() -> None:
    assert amount(262_144, "tokens") == "262,144"
    assert amount(0.015_63, "GiB") == "0.0156"
    assert plain(3_000_000) == "3,000,000"


@pytest.mark.parametrize(
    ("share", "said"),
    [(1.0, "> 99.9%"), (0.9995, "> 99.9%"), (0.999, "99.9%"), (0.5, "50.0%"), (0.0, "< 0.1%")],
)
def test_no_share_of_draws_is_told_as_a_certainty(share: float, said: str) -> None:
    assert share_of_draws(share) == said
