"""A clock that tests turn, and traces sampled on it: minutes of metering in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bench.measure.metrics import Steady
from bench.measure.window import Window
from bench.meters.sampler import Rates, Sampling
from bench.meters.source import Source
from bench.meters.synthetic import IDEAL, Curve, Sensors, SyntheticSource
from bench.power.measure import PointPower, measure, metered
from bench.values.finding import Finding
from bench.values.record import OK, LoadPoint, PointData
from bench.values.spec import SloSpec
from bench.values.telemetry import End, Header, Telemetry, end_line, header_line, parse

ZERO_NS = 1_000_000_000_000
SECOND_NS = 1_000_000_000


class TurnedClock:
    """Stands still until somebody sleeps on it."""

    def __init__(self, at_ns: int = ZERO_NS) -> None:
        self.at_ns = at_ns

    def now_ns(self) -> int:
        """The time it was turned to."""
        return self.at_ns

    def sleep_until(self, when_ns: int) -> None:
        """Turn to then."""
        self.at_ns = max(self.at_ns, when_ns)


def sampled(
    sources: Sequence[Source], clock: TurnedClock, seconds: float, rates: Rates | None = None
) -> list[str]:
    """The lines of a trace of `seconds` from now on."""
    header = sources[0].header()
    devices = [d for s in sources for d in s.devices()]
    header = replace(header, devices=tuple(replace(d, index=i) for i, d in enumerate(devices)))
    lines = [header_line(header)]
    over_ns = clock.now_ns() + round(seconds * SECOND_NS)
    sampling = Sampling(sources, lines.append, clock, rates or Rates())
    began_ns = clock.now_ns()
    sampling.run(lambda: clock.now_ns() > over_ns)
    end = End(began_ns=began_ns, t_ns=clock.now_ns(), cpu_s=0.01 * seconds)
    return [*lines, end_line(end)]


def board_telemetry(
    curve: Curve,
    seconds: float,
    sensors: Sensors = IDEAL,
    *,
    rates: Rates | None = None,
    edit: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None,
    boards: int = 1,
    phase_s: float = 0.0,
) -> Telemetry:
    """A synthetic board's trace from the curve's 0 s on; `edit` changes a line or drops it (None).

    `phase_s` begins the sampling that much after the curve's 0 s.
    """
    clock = TurnedClock(ZERO_NS + round(phase_s * SECOND_NS))
    source = SyntheticSource(
        curve=curve, sensors=sensors, clock=clock, zero_ns=ZERO_NS, boards=boards
    )
    lines = sampled([source], clock, seconds, rates)
    return parse(edited(lines, edit) if edit else lines)


def edited(
    lines: Iterable[str], edit: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> list[str]:
    """The lines with an edit applied to each as an object."""
    found = [json.loads(line) for line in lines]
    changed = [line if line["k"] == "end" else edit(line) for line in found]
    return [json.dumps(line) for line in changed if line is not None]


def at(seconds: float) -> int:
    """A moment of the turned clock."""
    return ZERO_NS + round(seconds * SECOND_NS)


def header(trace: Telemetry, **changes: Any) -> Telemetry:
    """The trace with another header."""
    changed: Header = replace(trace.header, **changes)
    return replace(trace, header=changed)


def load_part(
    start_s: float = 10.0,
    end_s: float = 80.0,
    *,
    repeat: int = 0,
    tokens_per_s: float = 20.0,
    failed: int = 0,
    late_tokens_per_s: float | None = None,
) -> Steady:
    """A steady window full of one-second requests, each of `tokens_per_s` tokens and 5 of prompt.

    One request ends every second, the first at `start_s` + 1. Of them `failed`, evenly spread,
    failed and brought no tokens. From the middle on, requests have `late_tokens_per_s` tokens.
    """
    n = round(end_s - start_s)
    sent = np.array([at(start_s + i) for i in range(n)], dtype=np.int64)
    sizes = np.full(n, tokens_per_s)
    if late_tokens_per_s is not None:
        sizes[n // 2 :] = late_tokens_per_s
    lost = {round(i * n / failed) for i in range(failed)} if failed else set()
    chunks = np.array([0 if i in lost else 1 for i in range(n)], dtype=np.int64)
    outcome = np.array([1 if i in lost else OK for i in range(n)], dtype=np.int64)
    # Each request's tokens come at once, half a second after it was sent.
    has = chunks > 0
    requests = {
        "index": np.arange(n, dtype=np.int64),
        "scheduled_ns": sent,
        "sent_ns": sent,
        "first_read_ns": sent + SECOND_NS // 2,
        "end_ns": sent + SECOND_NS,
        "outcome": outcome,
        "input_tokens": np.full(n, 5, dtype=np.int64),
        "usage_prompt_tokens": np.full(n, -1, dtype=np.int64),
        "first_chunk": np.cumsum(chunks) - chunks,
        "chunks": chunks,
    }
    data = PointData(
        point=LoadPoint(index=0, repeat=repeat, mode="closed", concurrency=1),
        start_ns=int(sent[0]),
        requests=requests,
        chunk_ns=sent[has] + SECOND_NS // 2,
        chunk_tokens=sizes[has].astype(np.int64),
    )
    window = Window(start_ns=at(start_s), end_ns=at(end_s))
    return Steady(data, window, SloSpec(ttft_ms=1e3, tpot_ms=1e3), 1)


MARKS = {
    "before_launch_start": at(0),
    "before_launch_end": at(4),
    "resident_start": at(5),
    "resident_end": at(9),
}


def measured(
    trace: Telemetry,
    parts: Sequence[Steady],
    *,
    gpus: int = 1,
    marks: Mapping[str, int] = MARKS,
    own_pids: tuple[int, ...] | None = (100,),
    max_error_rate: float = 0.01,
) -> PointPower:
    """Power and energy of a load point, as a run derives them."""
    how = metered(trace, gpus=gpus, marks=marks, own_pids=own_pids, start_ns=at(5), end_ns=at(200))
    return measure(how, parts, max_error_rate=max_error_rate)


def code(power: PointPower, name: str) -> Finding:
    """The one finding of that code."""
    (found,) = [f for f in power.findings if f.code == name]
    return found
