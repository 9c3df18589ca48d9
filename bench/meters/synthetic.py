"""A board with a known power curve, read through sensors with known faults.

The curve is exact, so every energy has an exact answer; the sensors behave as published
measurements of real ones do: power is published every 100 ms and averages only the last 25 ms of
it (Yang et al., SC'24), the counter steps every 100 ms and runs late.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.meters.source import Clock, MonotonicClock
from bench.values.clock import now_ns
from bench.values.telemetry import Device, Header, Process, Reading, SourceKind

Curve = Callable[[float], float]
"""Energy in J from 0 to t seconds: the integral of the power curve, so that it is exact."""


def constant(watts: float) -> Curve:
    """The same power for ever."""
    return lambda t_s: watts * t_s


def ramp(from_w: float, to_w: float, over_s: float) -> Curve:
    """A straight line from one power to another, which then stays."""

    def energy_j(t_s: float) -> float:
        inside = min(max(t_s, 0.0), over_s)
        rising = from_w * inside + (to_w - from_w) * inside**2 / (2 * over_s)
        return rising + to_w * max(0.0, t_s - over_s) + from_w * min(0.0, t_s)

    return energy_j


def steps(levels: Sequence[tuple[float, float]], before_w: float) -> Curve:
    """`before_w` until the first level's start; then each (start_s, watts) until the next."""

    def energy_j(t_s: float) -> float:
        total, watts, since = 0.0, before_w, 0.0
        for start_s, level_w in levels:
            if t_s <= start_s:
                break
            total += watts * (start_s - since)
            watts, since = level_w, start_s
        return total + watts * (t_s - since)

    return energy_j


def square(low_w: float, high_w: float, period_s: float) -> Curve:
    """High for the first half of every period, low for the second."""

    def energy_j(t_s: float) -> float:
        whole, rest = divmod(t_s, period_s)
        high_s = min(rest, period_s / 2)
        return whole * period_s * (low_w + high_w) / 2 + high_s * high_w + (rest - high_s) * low_w

    return energy_j


def chained(pieces: Sequence[tuple[float, Curve]]) -> Curve:
    """Curves one after the other, each from its start (s, rising) on its own time from there.

    The list is read at every call: a rehearsal adds to it as it goes.
    """

    def energy_j(t_s: float) -> float:
        total = 0.0
        for number, (start_s, curve) in enumerate(pieces):
            end_s = pieces[number + 1][0] if number + 1 < len(pieces) else math.inf
            if t_s <= start_s and number:
                break
            total += curve(min(t_s, end_s) - start_s)
        return total

    return energy_j


@dataclass(frozen=True, kw_only=True)
class Sensors:
    """How the board's sensors fail to show the curve. Zeros are an ideal sensor."""

    publish_s: float = 0.1
    averaged_s: float = 0.025
    counter_step_s: float = 0.1
    counter_lag_s: float = 0.0
    read_s: float = 0.0
    gain: float = 1.0


IDEAL = Sensors(publish_s=0.0, averaged_s=0.0, counter_step_s=0.0)


@dataclass(kw_only=True)
class SyntheticSource:
    """Boards that all follow one curve. See `bench.meters.source.Source`.

    `zero_ns` is the curve's time 0, `place` tells the boards of several machines apart. Everything
    that is not power or energy is plausible and fixed.
    """

    curve: Curve
    sensors: Sensors = field(default_factory=Sensors)
    clock: Clock = field(default_factory=MonotonicClock)
    zero_ns: int = field(default_factory=now_ns)
    boards: int = 1
    limit_w: float = 700.0
    name: str = "synthetic board"
    poll_s: float | None = None
    place: str = ""

    kind: SourceKind = "synthetic"

    def header(self) -> Header:
        """Boards with a limit and nothing else."""
        return Header(source="synthetic", devices=self.devices(), note="a made-up power curve")

    def devices(self) -> tuple[Device, ...]:
        """The boards."""
        return tuple(
            Device(
                index=i,
                uuid=f"GPU-synthetic-{self.place}{i}",
                name=self.name,
                power_limit_w=self.limit_w,
                power_limit_default_w=self.limit_w,
                mig=False,
                persistence=True,
                memory_total_bytes=80 * 2**30,
            )
            for i in range(self.boards)
        )

    def power(self, device: int) -> Reading | None:
        """The mean over the last `averaged_s` of the last published moment."""
        return self._read(lambda t: {"instant_mw": round(1000 * self._instant_w(t))})

    def energy(self, device: int) -> Reading | None:
        """Whole mJ up to the counter's last step, `counter_lag_s` ago."""
        return self._read(lambda t: {"energy_mj": math.floor(1000 * self._counted_j(t))})

    def state(self, device: int) -> Reading | None:
        """Full clocks, 60 °C, no throttling, and the mean over the last second (field 185)."""
        return self._read(
            lambda t: {
                "average_mw": round(1000 * (self.curve(t) - self.curve(t - 1.0))),
                "sm_mhz": 1980,
                "memory_mhz": 2619,
                "temperature_c": 60,
                "limit_mw": round(1000 * self.limit_w),
                "event_reasons": 0,
                "violation_power_ns": 0,
                "violation_thermal_ns": 0,
                "violation_board_ns": 0,
                "violation_reliability_ns": 0,
                "utilisation_pct": 100,
            }
        )

    def average(self, device: int) -> Reading | None:
        """Field 185 alone."""
        return self._read(
            lambda t: {"average_mw": round(1000 * (self.curve(t) - self.curve(t - 1.0)))}
        )

    def memory(self, device: int) -> Reading | None:
        """Memory that nobody uses."""
        total, reserved = 80 * 2**30, 2**29
        return self._read(
            lambda t: {
                "total_bytes": total,
                "reserved_bytes": reserved,
                "used_bytes": 0,
                "free_bytes": total - reserved,
            }
        )

    def processes(self, device: int) -> tuple[Process, ...] | str | None:
        """Nobody."""
        return ()

    def close(self) -> None:
        """Nothing is held open."""

    def _instant_w(self, t_s: float) -> float:
        s = self.sensors
        published = math.floor(t_s / s.publish_s + 1e-9) * s.publish_s if s.publish_s else t_s
        width = s.averaged_s or 1e-6
        return s.gain * (self.curve(published) - self.curve(published - width)) / width

    def _counted_j(self, t_s: float) -> float:
        s = self.sensors
        t_s -= s.counter_lag_s
        if s.counter_step_s:
            t_s = math.floor(t_s / s.counter_step_s + 1e-9) * s.counter_step_s
        return s.gain * self.curve(t_s) + 1e6  # a driver that has been loaded for a while

    def _read(self, values: Callable[[float], dict[str, float | int | None]]) -> Reading:
        before = self.clock.now_ns()
        if self.sensors.read_s:
            self.clock.sleep_until(before + round(self.sensors.read_s * 1e9))
        after = self.clock.now_ns()
        at = (before + after) // 2
        return Reading(
            t_ns=at, half_ns=(after - before) // 2, values=values((at - self.zero_ns) / 1e9)
        )
