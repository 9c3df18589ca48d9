"""What a load point did in its steady windows, as the energy needs it: tokens, requests, halves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.measure.metrics import Steady
from bench.measure.window import Window
from bench.power.load_checks import LoadWindow
from bench.power.window import DeviceWindow, device_window
from bench.values.record import OK
from bench.values.telemetry import Device, Telemetry


def load_window(part: Steady, telemetry: Telemetry, devices: Sequence[Device]) -> LoadWindow:
    """One repeat's window: tokens of successful requests that arrived in it, and its halves."""
    r, window = part.data.requests, part.window
    ended = window.holds(r["end_ns"])
    failed = int((r["outcome"][ended] != OK).sum())
    middle = (window.start_ns + window.end_ns) // 2
    parts = (
        Window(start_ns=window.start_ns, end_ns=middle),
        Window(start_ns=middle, end_ns=window.end_ns),
    )
    latencies = (r["end_ns"] - r["sent_ns"])[part.ok]
    return LoadWindow(
        repeat=part.data.point.repeat,
        start_ns=window.start_ns,
        end_ns=window.end_ns,
        spans=tuple(zip(window.openings, window.closings, strict=True)),
        output_tokens=part.tokens,
        input_tokens=part.per_window(part.requests.prompt_tokens, part.ok),
        requests=part.per_window(part.ok, part.ok),
        failed_share=failed / int(ended.sum()) if ended.any() else 0.0,
        p95_latency_s=float(np.percentile(latencies, 95)) / 1e9 if len(latencies) else None,
        half_tokens=(_output_tokens(part, parts[0]), _output_tokens(part, parts[1])),
        half_energy_j=(
            _energy_j(telemetry, devices, parts[0]),
            _energy_j(telemetry, devices, parts[1]),
        ),
    )


def _output_tokens(part: Steady, window: Window) -> float:
    d = part.data
    good = part.requests.ok[part.requests.chunk_owner]
    return float(d.chunk_tokens[good & window.holds(d.chunk_ns)].sum())


def _energy_j(telemetry: Telemetry, devices: Sequence[Device], window: Window) -> float | None:
    found: list[DeviceWindow] = [
        device_window(telemetry, d, window.start_ns, window.end_ns) for d in devices
    ]
    energies = [w.energy_j for w in found]
    if not energies or any(e is None for e in energies):
        return None
    return float(sum(e for e in energies if e is not None))
