"""Idle baselines: what the devices draw before the launch, and with the model resident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.power.window import device_window
from bench.values.telemetry import Device, Telemetry

BASELINES = ("before_launch", "resident")
SETTLE_SHARE = 0.3
"""The first part of a baseline is left out: clocks and power are still coming down."""

COUNTER_LEAST_S = 5.0
"""A counter undercounts shorter windows; there the integral of the power readings is used."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Mean power without requests, per device (by index) and summed. None: not to be had."""

    name: str
    seconds: float = 0.0
    watts: Mapping[int, float] | None = None
    reason: str | None = None

    @property
    def total_w(self) -> float | None:
        """The sum over the devices."""
        return None if self.watts is None else sum(self.watts.values())


def baseline(
    name: str, telemetry: Telemetry, devices: Sequence[Device], marks: Mapping[str, int]
) -> Baseline:
    """The baseline between the marks `<name>_start` and `<name>_end`, its settling left out."""
    if not devices:
        return Baseline(name=name, reason="no device is metered")
    start, end = marks.get(f"{name}_start"), marks.get(f"{name}_end")
    if start is None or end is None or end <= start:
        return Baseline(name=name, reason=f"no idle time {name.replace('_', ' ')} was watched")
    start += round(SETTLE_SHARE * (end - start))
    seconds = (end - start) / 1e9
    watts = {}
    for device in devices:
        facts = device_window(telemetry, device, start, end)
        joules = facts.counter_j if seconds >= COUNTER_LEAST_S else facts.integral_j
        joules = facts.energy_j if joules is None else joules
        if joules is None or joules <= 0 or facts.counter_fell:
            reason = f"{device.name} {device.uuid} was not read throughout the idle time"
            return Baseline(name=name, seconds=seconds, reason=reason)
        watts[device.index] = joules / seconds
    return Baseline(name=name, seconds=seconds, watts=watts)
