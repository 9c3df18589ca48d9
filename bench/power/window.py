"""What one device did in one window: facts alone; `bench.power.checks` judges them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from bench.power.integrate import (
    Sampled,
    brackets,
    counted_j,
    falls,
    held_j,
    inside,
    largest_gap_s,
    longest_same_s,
)
from bench.power.sharing import Sharing, sharing
from bench.values.telemetry import Device, Telemetry

POWER_BRAKE = 0x80
THERMAL = 0x20 | 0x40
USER_CLOCKS = 0x02
Spans = tuple[tuple[int, int], ...]
"""Pairs of moments (ns)."""
_VIOLATIONS = {
    "power cap": "violation_power_ns",
    "thermal": "violation_thermal_ns",
    "board limit": "violation_board_ns",
    "reliability": "violation_reliability_ns",
}


@dataclass(frozen=True, kw_only=True)
class DeviceWindow:
    """One device in one window of one repeat. Energies in J, powers in W; None: not read.

    `residual` is the held integral of field 186 against the counter, relative. `throttled` are
    shares of the window by cause, from cumulative counters; `thermal_share`, `brake_share` and
    `user_clock_share` are shares of samples. `counter_fell`: a reset inside the window. Gaps are
    the longest ones that touch the window.
    """

    device: Device
    repeat: int
    seconds: float
    counter_j: float | None = None
    counter_why: str | None = None
    counter_fell: bool = False
    integral_j: float | None = None
    integral_why: str | None = None
    counter_bracketed: bool = True
    power_bracketed: bool = True
    fast_gap_s: float | None = None
    slow_gap_s: float | None = None
    stuck_s: float | None = None
    peak_w: float | None = None
    idle_w: float | None = None
    temperature_c: float | None = None
    temperature_rise_c: float | None = None
    sm_mhz: float | None = None
    throttled: Mapping[str, float] = field(default_factory=dict)
    thermal_share: float | None = None
    brake_share: float | None = None
    user_clock_share: float | None = None
    limit_w: float | None = None
    sharing: Sharing = field(default_factory=Sharing)

    @property
    def energy_j(self) -> float | None:
        """The counter's rise; the integral where there is no counter."""
        return self.integral_j if self.counter_j is None else self.counter_j

    @property
    def method(self) -> str | None:
        """How the energy was had; figures of unlike methods are never ranked together."""
        if self.counter_j is not None:
            return "counter"
        return None if self.integral_j is None else "integrated_instant"

    @property
    def mean_w(self) -> float | None:
        """Energy over time."""
        return None if self.energy_j is None else self.energy_j / self.seconds

    @property
    def residual(self) -> float | None:
        """Integral against counter, relative to the counter."""
        if self.counter_j is None or self.integral_j is None or self.counter_j <= 0:
            return None
        return self.integral_j / self.counter_j - 1

    @property
    def label(self) -> str:
        """How texts name the device."""
        return f"{self.device.name} {self.device.uuid}"


def device_window(
    telemetry: Telemetry,
    device: Device,
    start_ns: int,
    end_ns: int,
    *,
    repeat: int = 0,
    idle_w: float | None = None,
    own_pids: tuple[int, ...] | None = (),
    spans: Spans = (),
) -> DeviceWindow:
    """All facts of a device between two moments; its energy is the mean power over `spans`, where
    there are some, times the seconds between the two."""
    power = telemetry.of(device.index, "power").read("instant_mw")
    counter = telemetry.of(device.index, "energy").read("energy_mj")
    has_power = len(power[0]) > 0
    state = telemetry.of(device.index, "state")
    seconds = (end_ns - start_ns) / 1e9
    spans = spans or ((start_ns, end_ns),)

    def column(name: str) -> Sampled:
        return state.read(name)

    temperatures = inside(column("temperature_c"), start_ns, end_ns)
    limits = inside(column("limit_mw"), start_ns, end_ns)
    clocks = inside(column("sm_mhz"), start_ns, end_ns)
    reasons = inside(column("event_reasons"), start_ns, end_ns)
    return DeviceWindow(
        device=device,
        repeat=repeat,
        seconds=seconds,
        counter_j=_over(
            spans, seconds, lambda a, b: counted_j(counter, a, b, power if has_power else None)
        ),
        counter_why=_why(telemetry, device, "energy", "energy_mj"),
        counter_fell=falls(counter, start_ns, end_ns),
        integral_j=_over(spans, seconds, lambda a, b: held_j(power, a, b)),
        integral_why=_why(telemetry, device, "power", "instant_mw"),
        counter_bracketed=not len(counter[0]) or brackets(counter[0], start_ns, end_ns),
        power_bracketed=not has_power or brackets(power[0], start_ns, end_ns),
        fast_gap_s=largest_gap_s(power[0], start_ns, end_ns),
        slow_gap_s=largest_gap_s(counter[0], start_ns, end_ns),
        stuck_s=longest_same_s(power, start_ns, end_ns),
        peak_w=_reduced(inside(power, start_ns, end_ns), np.max, 1e3),
        idle_w=idle_w,
        temperature_c=_reduced(temperatures, np.mean),
        temperature_rise_c=_rise(temperatures),
        sm_mhz=_reduced(clocks, np.mean),
        throttled=_throttled(telemetry, device, start_ns, end_ns),
        thermal_share=_bit_share(reasons, THERMAL),
        brake_share=_bit_share(reasons, POWER_BRAKE),
        user_clock_share=_bit_share(reasons, USER_CLOCKS),
        limit_w=_reduced(limits, np.min, 1e3) or device.power_limit_w,
        sharing=sharing(telemetry, device, start_ns, end_ns, own_pids),
    )


def _over(
    spans: Spans, seconds: float, energy_j: Callable[[int, int], float | None]
) -> float | None:
    """Mean power over all the spans together, times `seconds`; None where one has no energy."""
    found = [energy_j(a, b) for a, b in spans]
    span_s = sum(b - a for a, b in spans) / 1e9
    known = [j for j in found if j is not None]
    return sum(known) / span_s * seconds if len(known) == len(found) and span_s else None


def _why(telemetry: Telemetry, device: Device, kind: str, name: str) -> str | None:
    """Why a field was (ever) missing, in the meter's words."""
    series = telemetry.series.get((device.index, kind))
    return "no such sensor" if series is None else series.why.get(name)


def _reduced(values: np.ndarray, how: object, divisor: float = 1.0) -> float | None:
    return float(how(values)) / divisor if len(values) else None  # type: ignore[operator]


def _rise(values: np.ndarray) -> float | None:
    """From the mean of the first tenth of the window to the mean of the last."""
    if len(values) < 2:
        return None
    tenth = max(1, len(values) // 10)
    return float(np.mean(values[-tenth:]) - np.mean(values[:tenth]))


def _bit_share(masks: np.ndarray, bit: int) -> float | None:
    return float(np.mean((masks.astype(np.int64) & bit) != 0)) if len(masks) else None


def _throttled(
    telemetry: Telemetry, device: Device, start_ns: int, end_ns: int
) -> dict[str, float]:
    """Rise of each violation counter (ns) as a share of the time between its own readings.

    Readings around the window, not inside it: a violation at an edge is not to be missed.
    """
    state = telemetry.of(device.index, "state")
    shares = {}
    for cause, name in _VIOLATIONS.items():
        t_ns, values = state.read(name)
        first = max(0, int(np.searchsorted(t_ns, start_ns, side="right")) - 1)
        last = min(len(t_ns) - 1, int(np.searchsorted(t_ns, end_ns, side="left")))
        if last > first:
            shares[cause] = float(values[last] - values[first]) / float(t_ns[last] - t_ns[first])
    return shares
