"""One load point over time: what was in flight, came out, was drawn and held, on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.measure.stats import Floats
from bench.measure.window import in_flight, steady_window
from bench.values.record import Int64, PointData
from bench.values.telemetry import ENGINE, Telemetry

BINS = 120
"""Bins of the whole load point, however many requests it had."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One quantity over time. `values` has one entry per bin, None where nothing was read."""

    name: str
    unit: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Lines over the bins between `edges_s` (seconds since the load point began); `steady_s` is the
    steady window, None where there is none."""

    edges_s: tuple[float, ...]
    lines: tuple[Line, ...]
    steady_s: tuple[float, float] | None


def timeline(
    data: PointData, telemetry: Telemetry | None, devices: Sequence[int]
) -> Timeline | None:
    """One repeat of a load point in bins; None where nothing was sent.

    In flight: at the middle of the bin. Power: the sum over `devices`. Clocks: their mean.
    KV use: the highest reading.
    """
    if not data.count:
        return None
    start, end = data.start_ns, int(data.requests["end_ns"].max())
    if end <= start:
        return None
    edges = np.linspace(start, end, BINS + 1).astype(np.int64)
    middle = (edges[1:] + edges[:-1]) // 2
    tokens = np.histogram(data.chunk_ns, edges, weights=data.chunk_tokens)[0]
    rate = tokens / (np.diff(edges) / 1e9)
    lines = [
        Line(name="in flight", unit="requests", values=_all(in_flight(data, middle))),
        Line(name="output", unit="tokens/s", values=_all(rate)),
    ]
    if telemetry is not None:
        lines += _metered(telemetry, devices, edges)
    window = steady_window(data)
    steady = None
    if window is not None:
        steady = ((window.start_ns - start) / 1e9, (window.end_ns - start) / 1e9)
    return Timeline(
        edges_s=tuple((edges - start) / 1e9),
        lines=tuple(line for line in lines if any(v is not None for v in line.values)),
        steady_s=steady,
    )


def _metered(telemetry: Telemetry, devices: Sequence[int], edges: Int64) -> list[Line]:
    power = [_power_mw(telemetry, d, edges) for d in devices]
    clocks = [_mean(*telemetry.of(d, "state").read("sm_mhz"), edges) for d in devices]
    use = _highest(*telemetry.of(ENGINE, "engine").read("kv_use"), edges)
    found = []
    if power:
        total = np.sum(power, axis=0) / 1e3  # NaN where any device was not read: no part is a sum
        found.append(Line(name="power", unit="W", values=_read(total)))
    found.append(Line(name="KV cache used", unit="%", values=_read(use * 100)))
    if clocks:
        mean = np.mean(clocks, axis=0)
        found.append(Line(name="SM clock", unit="MHz", values=_read(mean)))
    return found


def _power_mw(telemetry: Telemetry, device: int, edges: Int64) -> Floats:
    """Mean reading per bin; where a device has only a counter (RAPL), the counter's rise."""
    t_ns, milliwatts = telemetry.of(device, "power").read("instant_mw")
    if len(t_ns):
        return _mean(t_ns, milliwatts, edges)
    t_ns, millijoules = telemetry.of(device, "energy").read("energy_mj")
    if len(t_ns) < 2:
        return np.full(len(edges) - 1, np.nan)
    known = (edges >= t_ns[0]) & (edges <= t_ns[-1])
    at_edges = np.where(known, np.interp(edges, t_ns, millijoules), np.nan)
    rise: Floats = np.diff(at_edges) / (np.diff(edges) / 1e9)
    return rise


def _mean(t_ns: Int64, values: Floats, edges: Int64) -> Floats:
    counts = np.histogram(t_ns, edges)[0]
    sums = np.histogram(t_ns, edges, weights=values)[0]
    mean: Floats = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return mean


def _highest(t_ns: Int64, values: Floats, edges: Int64) -> Floats:
    found = np.full(len(edges) - 1, np.nan)
    inside = (t_ns >= edges[0]) & (t_ns < edges[-1])
    where = np.searchsorted(edges, t_ns[inside], side="right") - 1
    np.fmax.at(found, where, values[inside])
    return found


def _all(values: Floats | Int64) -> tuple[float | None, ...]:
    return tuple(float(v) for v in values)


def _read(values: Floats) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(v) else float(v) for v in values)
