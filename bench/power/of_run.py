"""A stored Run and its power: what `bench.derive` asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.measure.metrics import Metric, Steady
from bench.power.devices import Deployment
from bench.power.measure import Metered, PointPower, measure, metered
from bench.power.memory import memory_metrics
from bench.power.table import VERIFIED_ON_HARDWARE
from bench.values.codec import encode
from bench.values.record import PointData, Run
from bench.values.telemetry_nodes import PIDS


def metered_run(run: Run) -> Metered:
    """The run's devices and idle baselines."""
    covered = (p for p in run.points if run.is_metered(p))
    start, end = (0, 0) if run.telemetry is None else _load_span(covered)
    return metered(
        run.telemetry,
        gpus=run.spec.gpus,
        marks=run.marks,
        own_pids=_own_pids(run),
        start_ns=start,
        end_ns=end,
        stranger=run.spec.engine.kind == "endpoint",
        on_cpu=_on_cpu(run),
    )


def _on_cpu(run: Run) -> bool:
    """Whether the processors are what computed: as the engine's own log says, and for a server
    that this run did not start, as the user says."""
    if run.spec.engine.kind == "endpoint":
        return run.spec.gpu.kind == "cpu"
    return (run.engine_facts or {}).get("device") in (None, "cpu")


UNCOVERED = (
    "a repeat of this load point was metered on another machine, boot or board, before the run was "
    "resumed"
)


def covering(run: Run, how: Metered, repeats: Sequence[PointData]) -> Metered:
    """How a load point was metered: not at all where a repeat lies outside of the telemetry."""
    if run.telemetry is None or all(map(run.is_metered, repeats)):
        return how
    return Metered(telemetry=None, deployment=Deployment(reason=UNCOVERED))


def point_power(run: Run, how: Metered, parts: Sequence[Steady]) -> PointPower:
    """Power and energy of one load point."""
    return measure(how, parts, max_error_rate=run.spec.load.max_error_rate)


def point_memory(run: Run, how: Metered, repeats: Sequence[PointData]) -> dict[str, Metric]:
    """Memory of the deployment, with the KV cache's peak at one load point."""
    start, end = _load_span(repeats)
    return memory_metrics(
        how.telemetry,
        how.deployment.devices,
        run.marks,
        run.engine_facts,
        gpus=run.spec.gpus,
        arose=how.arose,
        start_ns=start,
        end_ns=end,
    )


def run_document(run: Run, how: Metered) -> Mapping[str, Any]:
    """Source, devices, baselines and labels of a run's power, as plain data."""
    header = None if run.telemetry is None else run.telemetry.header
    return {
        "power_source": how.source,
        "reason": how.deployment.reason,
        "host_reason": None if header is None else header.host_reason,
        "note": None if header is None else header.note,
        "scope": how.deployment.scope,
        "verified_on_hardware": VERIFIED_ON_HARDWARE and how.source == "nvml",
        "driver": None if header is None else header.driver,
        "cuda": None if header is None else header.cuda,
        "devices": encode(how.deployment.devices),
        "idle": {name: encode(found) for name, found in how.idle.items()},
        "engine_log_lines": (run.engine_facts or {}).get("lines"),
    }


def _load_span(points: Iterable[PointData]) -> tuple[int, int]:
    spans = [(p.start_ns, int(p.requests["end_ns"].max())) for p in points if p.count]
    return (min(s for s, _ in spans), max(e for _, e in spans)) if spans else (0, 0)


def _own_pids(run: Run) -> tuple[int, ...] | None:
    """The run's own process and its server's; for a server that somebody else started, those that
    listened on its port, None where they were not seen."""
    if run.spec.engine.kind == "endpoint":
        return tuple((run.server or {}).get("listener_pids") or ()) or None
    owner = None if run.telemetry is None else run.telemetry.header.owner_pid
    server = (run.server or {}).get("pid")
    before = [(x.writer or {}).get("pid") for x in run.earlier]
    served = [(x.server or {}).get("pid") for x in run.earlier]
    last = (run.writer or {}).get("pid") if run.earlier else None
    afar = [n * PIDS + p for n, p in enumerate((run.server or {}).get("node_pids") or (), start=1)]
    return tuple(p for p in (owner, server, last, *before, *served, *afar) if isinstance(p, int))
