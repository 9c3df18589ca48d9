"""Parity with vLLM's own benchmark: the answer, by rounds worked by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from point_support import Shot, point

from bench.values.record import PointData

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import parity


def at_rate(*tokens_per_s: float) -> list[PointData]:
    """A round each of one request with 1,000 tokens, as long as the rate makes it."""
    return [
        point([Shot(sent=0, chunks=[1.0], end=1e6 / rate, tokens=[1000])], repeat=i)
        for i, rate in enumerate(tokens_per_s)
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "answer"),
    [
        # Within 0.1 % each time.
        ((1001.0, 1000.0, 999.0), (1000.0, 1000.0, 1000.0), "yes"),
        # 5 % above and 5 % below each time: clear, and it is not parity.
        ((1050.0, 1051.0, 1049.0), (1000.0, 1000.0, 1000.0), "no"),
        ((950.0, 951.0, 949.0), (1000.0, 1000.0, 1000.0), "no"),
        # The same on average, but every round says something else.
        ((900.0, 1000.0, 1100.0), (1000.0, 1000.0, 1000.0), "unclear"),
        # The server drifts by a fifth, and both see it.
        ((1000.0, 1100.0, 1200.0), (1001.0, 1100.0, 1199.0), "yes"),
        # One round has no interval.
        ((1000.0,), (1000.0,), "unclear"),
    ],
)
def test_the_interval_over_rounds_decides(
    ours: tuple[float, ...], theirs: tuple[float, ...], answer: str
) -> None:
    found, document = parity.verdict(at_rate(*ours), at_rate(*theirs), None)
    assert found == document["answer"] == answer
    assert f"within 2%: {answer}" in document["text"]
    assert document["rates_bench"] == pytest.approx(ours)


def test_a_client_that_was_the_limit_has_shown_nothing() -> None:
    even = at_rate(1000.0, 1000.0, 1000.0)
    found, document = parity.verdict(even, even, "a load worker used 99% of its core")
    assert found == "unclear"
    assert "bench's client was the limit: a load worker" in document["text"]


def test_other_counts_are_no_parity_whatever_the_rate() -> None:
    even = at_rate(1000.0, 1000.0, 1000.0)
    fewer = [*even[:2], point([Shot(sent=0, chunks=[1.0], end=999.0, tokens=[999])], repeat=2)]
    found, document = parity.verdict(even, fewer, None)
    assert found == "no"
    assert "TOKEN COUNTS DIFFER: [(3000, 3000), (2999, 2999)]" in document["text"]
