"""What a self-check looks at: telemetry, the load that ran while it was taken, and other facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.power.idle import BASELINES, baseline
from bench.power.integrate import counted_j
from bench.values.telemetry import Device, Telemetry

GIB = 2**30
OVERHEAD_LIMIT = 0.005
"""The sampler may cost the load this share of its rate."""

Verdict = Literal["ok", "differs", "not supported", "not measured"]


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of known load. `polled_s`: how often the telemetry was filled, None: not at all.

    `edges_ns` are the moments at which the load itself says that it went on or off; `rate_per_s`
    how much work it did; `counter_mj` the counter's readings (ns, mJ) at both ends alone.
    """

    name: str
    load: Literal["idle", "steady", "square"]
    start_ns: int
    end_ns: int
    period_s: float | None = None
    polled_s: float | None = None
    edges_ns: tuple[int, ...] = ()
    rate_per_s: float | None = None
    counter_mj: tuple[tuple[int, float], ...] = ()

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the telemetry does not tell. `fields`: reason by reading that is not supported, or None;
    `memory`: bytes by version (v1, v2) and moment; `overhead`: rates without and with the sampler
    in turn; `load_pids`: the processes that made the load; `restart_ns`: when it was restarted."""

    fields: Mapping[str, str | None] = field(default_factory=dict)
    memory: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    allocated_bytes: int | None = None
    rates_without: tuple[float, ...] = ()
    rates_with: tuple[float, ...] = ()
    load_pids: tuple[int, ...] = ()
    marks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question, what the board showed, and what it means for the method."""

    question: str
    verdict: Verdict
    text: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """What the questions look at: one device of telemetry."""

    telemetry: Telemetry
    device: Device
    segments: Mapping[str, Segment]
    facts: Facts

    def sampled(self, kind: Any, name: str) -> Any:
        """Stamps and values of one reading."""
        return self.telemetry.of(self.device.index, kind).read(name)


def idle_w(case: Case) -> float | None:
    """Idle power before the launch, W."""
    return baseline(BASELINES[0], case.telemetry, [case.device], case.facts.marks).total_w


def inner(segment: Segment) -> tuple[int, int, float]:
    """A segment without its first and last half second (less of short ones): start, end, s."""
    edge = round(min(0.5, segment.seconds / 10) * 1e9)
    start, end = segment.start_ns + edge, segment.end_ns - edge
    return start, end, (end - start) / 1e9


def inner_j(counter: Any, segment: Segment) -> float | None:
    """The counter's rise in J over the inner part of a segment."""
    start, end, _ = inner(segment)
    return counted_j(counter, start, end)


def ms(seconds: float | None) -> str:
    """Whole milliseconds, in words."""
    return "?" if seconds is None else f"{1e3 * seconds:.0f}"
