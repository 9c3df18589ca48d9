"""Offsets of clocks: bounds that hold whatever the network does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.values.node_clock import Offset, measured, on_heads_clock


class Network:
    """A head's clock that passes as questions travel, and a node's that is `offset` ahead."""

    def __init__(self, offset_ns: int, ways: list[tuple[int, int]]) -> None:
        self.at_ns, self.offset_ns, self.ways = 10**12, offset_ns, iter(ways * 64)

    def now(self) -> int:
        return self.at_ns

    def ask(self) -> int:
        there, back = next(self.ways)
        self.at_ns += there
        its = self.at_ns + self.offset_ns
        self.at_ns += back
        return its


ways = st.tuples(st.integers(0, 10**7), st.integers(0, 10**7))


@given(st.integers(-(10**18), 10**18), st.lists(ways, min_size=1, max_size=64))
def test_the_offset_is_within_its_error(offset_ns: int, taken: list[tuple[int, int]]) -> None:
    network = Network(offset_ns, taken)
    found = measured(network.ask, network.now)
    assert abs(found.offset_ns - offset_ns) <= found.error_ns


def test_many_questions_know_more_than_the_quickest() -> None:
    """100 µs there and 20 back allows 60 ± 60; 20 there and 100 back -60 ± 60: together 0 ± 20."""
    network = Network(0, [(100_000, 20_000), (20_000, 100_000)])
    assert measured(network.ask, network.now).error_ns == 20_000


def test_stamps_follow_a_clock_that_drifts() -> None:
    """A day and 5 s ahead, then 1 ms more 100 s later: 0.5 ms more in the middle; 0 is never."""
    base = 86_405 * 10**9
    offsets = [
        Offset(at_ns=10**9, offset_ns=base, error_ns=1),
        Offset(at_ns=101 * 10**9, offset_ns=base + 10**6, error_ns=1),
    ]
    stamps = np.array([0, base + 10**9, base + 51 * 10**9 + 500_000, base + 101 * 10**9 + 10**6])
    assert on_heads_clock(stamps, offsets).tolist() == [0, 10**9, 51 * 10**9, 101 * 10**9]
    with pytest.raises(ValueError, match="never asked"):
        on_heads_clock(stamps, [])
