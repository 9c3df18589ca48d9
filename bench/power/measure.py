"""Power and energy of a load point: metrics, checks, and the facts of every device beside them.

The figure is gross energy of the whole deployment: every device of it, idle ones included, per
token of successful requests. What is systematic (the instrument) stands on a line of its own and is
not in the interval, which is repeatability alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bench.measure.metrics import ENOUGH_REPEATS, Arose, Metric, Steady
from bench.measure.stats import t_interval
from bench.power.checks import board_checks
from bench.power.devices import Deployment, deployment
from bench.power.idle import BASELINES, Baseline, baseline
from bench.power.load_checks import LoadWindow, load_checks
from bench.power.loads import load_window
from bench.power.table import ENERGY, UNITS, VERIFIED_ON_HARDWARE
from bench.power.window import DeviceWindow, device_window
from bench.values.codec import encode
from bench.values.finding import Finding, energy
from bench.values.telemetry import Device, Scope, Telemetry

INSTRUMENT_ERROR = 0.05
"""Gain error of a board's sensors, up to this, differing between identical boards; repeats do not
reduce it (Yang et al., SC'24, arXiv 2312.02741)."""

EDGE_S = {"rapl": 0.001}
DEFAULT_EDGE_S = 0.1
"""How coarsely the counter steps: an edge of a window is uncertain by one step."""

NO_METER = "no meter was running"


@dataclass(frozen=True, kw_only=True)
class Metered:
    """A run as its meters saw it: which devices are its own, and what they draw idle."""

    telemetry: Telemetry | None
    deployment: Deployment
    idle: Mapping[str, Baseline] = field(default_factory=dict)
    own_pids: tuple[int, ...] | None = ()

    @property
    def source(self) -> str:
        """Where the readings come from; `none` without a meter."""
        return "none" if self.telemetry is None else self.telemetry.header.source

    @property
    def arose(self) -> Arose:
        """`measured` for readings of this run's own hardware, else what they are instead."""
        if self.source == "replay":
            return "replay"
        return "synthetic" if self.source == "synthetic" else "measured"


@dataclass(frozen=True, kw_only=True)
class PointPower:
    """What a load point drew: metrics by name, checks, and per repeat and device the facts."""

    metrics: dict[str, Metric]
    findings: tuple[Finding, ...]
    details: Mapping[str, Any] | None = None


def metered(
    telemetry: Telemetry | None,
    *,
    gpus: int,
    marks: Mapping[str, int],
    own_pids: tuple[int, ...] | None,
    start_ns: int,
    end_ns: int,
    stranger: bool = False,
    on_cpu: bool = True,
) -> Metered:
    """The run's devices and idle baselines; the load lasted from `start_ns` to `end_ns`. See
    `bench.power.devices.deployment`."""
    if telemetry is None:
        return Metered(telemetry=None, deployment=Deployment(reason=NO_METER))
    found = deployment(
        telemetry, gpus, start_ns, end_ns, own_pids, stranger=stranger, on_cpu=on_cpu
    )
    idle = {name: baseline(name, telemetry, found.devices, marks) for name in BASELINES}
    return Metered(telemetry=telemetry, deployment=found, idle=idle, own_pids=own_pids)


def measure(run: Metered, parts: Sequence[Steady], *, max_error_rate: float) -> PointPower:
    """Metrics and checks of one load point over its steady windows.

    Without a device every metric is None with the reason, and nothing fails: the speed stands.
    """
    telemetry, devices = run.telemetry, run.deployment.devices
    if telemetry is None or not devices:
        return _unmetered(run)
    loads = [load_window(p, telemetry, devices) for p in parts]
    windows = [_windows(run, telemetry, devices, load) for load in loads]
    flat = [w for repeat in windows for w in repeat]
    checks = (
        *board_checks(flat),
        *load_checks(loads, source=run.source, max_error_rate=max_error_rate),
    )
    labels = (_source_label(run), _scope_label(run, telemetry), _sampler_label(telemetry))
    findings = tuple(f for f in (run.deployment.finding, *checks, *labels) if f is not None)
    failed = next((f for f in findings if f.severity == "fail"), None)
    metrics = _metrics(run, loads, windows)
    metrics |= _host(run, telemetry, loads)
    if failed is not None:
        metrics = {n: _withheld(m, failed) if n in ENERGY else m for n, m in metrics.items()}
    return PointPower(
        metrics=metrics,
        findings=findings,
        details={
            "windows": _details(windows),
            "loads": [encode(replace(w, spans=())) for w in loads],
        },
    )


def _unmetered(run: Metered) -> PointPower:
    reason = run.deployment.reason or NO_METER
    finding = run.deployment.finding or Finding(
        code="power_source",
        severity="info",
        text=f"no power, no energy: {reason}",
        withholds="energy",
    )
    nothing = {n: Metric(value=None, unit=u, reason=reason) for n, u in UNITS.items()}
    return PointPower(metrics=nothing, findings=(finding,))


def _windows(
    run: Metered, telemetry: Telemetry, devices: Sequence[Device], load: LoadWindow
) -> list[DeviceWindow]:
    idle = run.idle["before_launch"].watts or {}
    return [
        device_window(
            telemetry,
            d,
            load.start_ns,
            load.end_ns,
            repeat=load.repeat,
            idle_w=idle.get(d.index),
            own_pids=run.own_pids,
            spans=load.spans,
        )
        for d in devices
    ]


def _metrics(
    run: Metered, loads: Sequence[LoadWindow], windows: Sequence[Sequence[DeviceWindow]]
) -> dict[str, Metric]:
    resident_w = run.idle["resident"].total_w
    per_repeat: dict[str, list[float | None]] = {name: [] for name in ENERGY}
    for load, of_devices in zip(loads, windows, strict=True):
        joules = _sum([w.energy_j for w in of_devices])
        idle_j = None if resident_w is None else resident_w * load.seconds
        above = None if joules is None or idle_j is None else joules - idle_j
        tokens = load.output_tokens
        for name, value in {
            "energy_per_output_token_j": _ratio(joules, tokens),
            "energy_per_total_token_j": _ratio(joules, tokens + load.input_tokens),
            "energy_per_request_j": _ratio(joules, load.requests),
            "energy_above_idle_per_output_token_j": _ratio(above, tokens),
            "output_tokens_per_s_per_w": _ratio(tokens, joules),
            "power_mean_w": _ratio(joules, load.seconds),
        }.items():
            per_repeat[name].append(value)
    repeats = [load.repeat for load in loads]
    metrics = {n: _over_repeats(run, n, values, repeats) for n, values in per_repeat.items()}
    flat = [w for of_devices in windows for w in of_devices]
    residuals = [w.residual for w in flat if w.residual is not None]
    shortest_s = min((load.seconds for load in loads), default=None)
    edge_s = EDGE_S.get(run.source, DEFAULT_EDGE_S)
    peaks = [_peak_w(run, load) for load in loads]
    extra: dict[str, tuple[float | None, Arose, str]] = {
        "power_peak_w": (
            max((p for p in peaks if p is not None), default=None),
            run.arose,
            "no power readings, or no steady window",
        ),
        "energy_residual": (
            max(residuals, key=abs, default=None),
            run.arose,
            "no second sensor to check the counter against",
        ),
        "energy_instrument_error": (
            None if run.deployment.scope == "CPU package" else INSTRUMENT_ERROR,
            "quoted",
            "no error is published for RAPL",
        ),
        "energy_edge_error": (
            None if shortest_s is None else edge_s / shortest_s,
            "modelled",
            "no steady window",
        ),
    }
    for name in BASELINES:
        found = run.idle[name]
        why = found.reason or "not read"
        extra[f"idle_{name}_w"] = (found.total_w, run.arose, why)
    for name, (value, arose, why) in extra.items():
        metrics[name] = Metric(
            value=value,
            unit=UNITS[name],
            arose=arose,
            repeats=len(loads),
            reason=why if value is None else None,
            scope=run.deployment.scope,
        )
    return metrics


def _over_repeats(
    run: Metered, name: str, values: Sequence[float | None], repeats: Sequence[int]
) -> Metric:
    """The mean over repeats and its t interval; None when any repeat has no figure."""
    known = [v for v in values if v is not None]
    metric = Metric(
        value=None,
        unit=UNITS[name],
        arose=run.arose,
        scope=run.deployment.scope,
        repeats=len(known),
        n=len(known),
    )
    if not known or len(known) < len(values):
        return replace(metric, reason="not every repeat has a figure, or nothing to divide by")
    interval = t_interval(known) if len(known) >= ENOUGH_REPEATS else None
    return replace(
        metric,
        value=float(np.mean(known)),
        ci_low=None if interval is None else interval[0],
        ci_high=None if interval is None else interval[1],
        by_repeat=dict(zip(repeats, known, strict=True)),
    )


def _host(run: Metered, telemetry: Telemetry, loads: Sequence[LoadWindow]) -> dict[str, Metric]:
    """Processors and DRAM beside the boards; None with the reason where RAPL is not to be read."""
    metrics = {}
    scopes: tuple[tuple[str, Scope], ...] = (
        ("cpu_power_mean_w", "CPU package"),
        ("dram_power_mean_w", "DRAM"),
    )
    for name, scope in scopes:
        devices = [d for d in telemetry.header.devices if d.scope == scope]
        if not devices:
            why = telemetry.header.host_reason or f"no {scope} is metered"
            metrics[name] = Metric(value=None, unit="W", reason=why, scope=scope)
            continue
        values = [
            _ratio(
                _sum(
                    [
                        device_window(telemetry, d, w.start_ns, w.end_ns, spans=w.spans).energy_j
                        for d in devices
                    ]
                ),
                w.seconds,
            )
            for w in loads
        ]
        metrics[name] = replace(
            _over_repeats(run, name, values, [w.repeat for w in loads]), scope=scope
        )
    return metrics


def _peak_w(run: Metered, load: LoadWindow) -> float | None:
    """The highest sum over devices of held readings, at any device's reading in the window."""
    assert run.telemetry is not None
    series = [run.telemetry.of(d.index, "power").read("instant_mw") for d in run.deployment.devices]
    if any(len(t_ns) == 0 for t_ns, _ in series):
        return None
    stamps = np.unique(np.concatenate([t_ns for t_ns, _ in series]))
    stamps = stamps[(stamps >= load.start_ns) & (stamps <= load.end_ns)]
    total = np.zeros(len(stamps))
    for t_ns, mw in series:
        total += mw[np.maximum(np.searchsorted(t_ns, stamps, side="right") - 1, 0)]
    return float(total.max()) / 1e3 if len(total) else None


def _withheld(metric: Metric, failed: Finding) -> Metric:
    return replace(
        metric,
        value=None,
        ci_low=None,
        ci_high=None,
        withheld_value=metric.value,
        by_repeat={},
        reason=f"{failed.code}: {failed.text}",
    )


def _source_label(run: Metered) -> Finding:
    """What the readings are; only a meter on this run's hardware measures."""
    assert run.telemetry is not None
    note = run.telemetry.header.note
    made = {
        "replay": f"power is a recording played again ({note}): not to be published as measured",
        "synthetic": f"power is made up ({note}): not to be published as measured",
    }.get(run.source)
    if made is not None:
        return Finding(code="power_source", severity="warn", text=made, withholds="energy")
    text = f"power is measured by {run.source}"
    if run.source == "nvml" and not VERIFIED_ON_HARDWARE:
        text += ", a method unverified on hardware so far"
    return Finding(code="power_source", severity="info", text=text, withholds="energy")


def _scope_label(run: Metered, telemetry: Telemetry) -> Finding:
    text = f"scope: {run.deployment.scope}, {len(run.deployment.devices)} of them summed"
    if run.deployment.scope == "GPU board":
        why = telemetry.header.host_reason
        text += f"; the host is not metered ({why})" if why else "; the host is beside it"
    elif telemetry.header.reason:
        text += f"; {telemetry.header.reason}"
    return Finding(code="power_scope", severity="info", text=text, withholds="energy")


def _sampler_label(telemetry: Telemetry) -> Finding:
    """Whether the sampler lived to the end, and what it took from the machine."""
    end = telemetry.end
    if end is None:
        text = "the sampler was killed or could not write: there is no power after its last reading"
        return energy("sampler", "warn", text)
    share = end.cpu_s / max(1e-9, (end.t_ns - end.began_ns) / 1e9)
    return energy("sampler", "info", f"the sampler used {share:.1%} of one core", share)


def _details(windows: Sequence[Sequence[DeviceWindow]]) -> list[dict[str, Any]]:
    """Per repeat and device, the facts as plain data."""
    found = []
    for of_devices in windows:
        for w in of_devices:
            facts: dict[str, Any] = encode(w)
            facts |= {"device": w.device.index, "uuid": w.device.uuid, "name": w.device.name}
            facts |= {"energy_j": w.energy_j, "method": w.method, "mean_w": w.mean_w}
            facts["residual"] = w.residual
            found.append(facts)
    return found


def _sum(values: Sequence[float | None]) -> float | None:
    """The sum; None when any part is not known."""
    known = [v for v in values if v is not None]
    return float(sum(known)) if known and len(known) == len(values) else None


def _ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole
