"""What a load says of how long it still takes."""

from __future__ import annotations

import time

import pytest

from bench.report.live import text
from bench.traffic import points
from bench.traffic.plan import Plan
from bench.traffic.workers import LoadProgress
from bench.values.server import Progress


def told(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, seconds: float, finished: int, in_flight: int
) -> str:
    now, seen = [0.0], list[Progress]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    show = points._shown("c16", plan, seen.append, (1, 2))
    now[0] = seconds
    show(LoadProgress(finished=finished, in_flight=in_flight, total=plan.at_least))
    return text(seen[-1])


def test_the_first_of_a_wave_foretells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 in flight of a slow server: after 30 s one had ended, and 400 were said to take 200 min,
    a second later ten minutes."""
    plan = Plan(requests=(), at_least=400)
    assert "left" not in told(monkeypatch, plan, 30.0, 1, 15)
    assert "about 720 s left" in told(monkeypatch, plan, 30.0, 16, 16)


def test_of_requests_and_seconds_the_later_end_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten requests are soon done where the load goes on for 30 s: not `about 1 s left`."""
    plan = Plan(requests=(), at_least=10, duration_s=30.0)
    assert "3/30 s · about 27 s left" in told(monkeypatch, plan, 3.0, 8, 1)
    slow = Plan(requests=(), at_least=100, duration_s=30.0)
    assert "50/100 requests · about 60 s left" in told(monkeypatch, slow, 60.0, 50, 4)
