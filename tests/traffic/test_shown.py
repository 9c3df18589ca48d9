"""What is shown of a load while it goes on."""

from __future__ import annotations

import pytest

from bench.traffic.plan import Plan
from bench.traffic.points import _shown
from bench.traffic.workers import LoadProgress
from bench.values.server import Progress


@pytest.mark.parametrize(
    ("finished", "in_flight", "duration_s", "said"),
    [
        (3, 2, None, "3 requests done, 2 in flight"),
        (5, 1, None, "5 requests done, 1 in flight"),
        (5, 0, None, "5 requests done, what they said is being read"),
        (5, 0, 60.0, "5 requests done, 0 in flight"),  # an open loop between two arrivals
    ],
)
def test_nothing_in_flight_is_told_from_an_end(
    finished: int, in_flight: int, duration_s: float | None, said: str
) -> None:
    seen: list[Progress] = []
    show = _shown("c1", Plan(requests=(), at_least=5, duration_s=duration_s), seen.append, None)
    show(LoadProgress(finished=finished, in_flight=in_flight, total=5))
    assert seen[0].detail == said
