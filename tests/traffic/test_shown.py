"""What is shown of a load while it goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.meters.engine_watch import EngineWatch
from bench.traffic import points
from bench.traffic.plan import Plan
from bench.traffic.points import Driver, _shown
from bench.traffic.workers import LoadProgress
from bench.values.record import LoadPoint
from bench.values.server import Progress, Server
from bench.values.spec import RunSpec
from bench.values.telemetry import Reading


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


def test_the_line_is_of_the_load_that_begins(
    run_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its first request is answered, and so before it has any figure, it has its name."""
    seen: list[Progress] = []
    at_send: list[Progress] = []

    def send(*_: object, **__: object) -> None:
        at_send.extend(seen)

    monkeypatch.setattr(points, "send_load", send)
    monkeypatch.setattr(points, "plan", lambda *_: Plan(requests=(), at_least=5, duration_s=None))
    server = Server(engine="truth", base_url="http://127.0.0.1:1/v1", served_model="m")
    driver = Driver(run_spec(engine="truth"), server, seen.append)
    driver.part = (2, 6)
    driver._send(LoadPoint(index=1, repeat=0, mode="closed", concurrency=4), "load c4, repeat 1")
    (first,) = at_send
    said = (first.phase, first.detail, first.part, first.parts)
    assert said == ("load c4, repeat 1", "starting", 2, 6)


def test_what_an_engine_said_of_the_load_before_is_forgotten() -> None:
    watch = EngineWatch()
    watch.begins("load c2")
    watch.last = Reading(t_ns=1, half_ns=0, values={"running": 2.0})
    watch.begins("load c2")
    assert watch.gauges().running == 2.0
    watch.begins("load c4")
    assert watch.gauges().running is None
