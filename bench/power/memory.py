"""What the model needs: not what NVML calls used, for an engine takes all it may in advance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.measure.metrics import Arose, Metric
from bench.values.telemetry import ENGINE, Device, Telemetry

GIB = 2**30
_LOG = "engine log"


def memory_metrics(
    telemetry: Telemetry | None,
    devices: Sequence[Device],
    marks: Mapping[str, int],
    facts: Mapping[str, Any] | None,
    *,
    gpus: int,
    arose: Arose = "measured",
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> dict[str, Metric]:
    """Memory of the whole deployment in GiB; `start_ns` to `end_ns` is the load for the KV peak.

    `engine_reserved` is used(ready) - used(before launch); `weights` and `kv_pool` are the engine's
    own words, per board, times the boards; `other` is what they leave; `kv_peak` is the highest use
    seen, so a lower bound; `need_estimate` = weights + other + kv_peak.
    """
    boards = max(1, gpus)
    reserved, reserved_why = _reserved(telemetry, devices, marks)
    weights = _said(facts, "weights_gib", boards)
    pool = _said(facts, "kv_cache_gib", boards)
    use = _peak_use(telemetry, start_ns, end_ns)
    peak = None if use is None or pool is None else use * pool
    other = None if None in (reserved, weights, pool) else reserved - weights - pool  # type: ignore[operator]
    need = None if None in (weights, other, peak) else weights + other + peak  # type: ignore[operator]
    unsaid = "the engine's log does not say"
    use_why = unsaid if pool is None else "no reading of the engine's KV cache use at this load"
    return {
        "engine_reserved_gib": _gib(reserved, arose, reserved_why),
        "weights_gib": _gib(weights, "quoted", unsaid),
        "kv_pool_gib": _gib(pool, "quoted", unsaid),
        "other_gib": _gib(other, "modelled", reserved_why or unsaid),
        "kv_peak_gib": _gib(peak, "measured", use_why),
        "need_estimate_gib": _gib(need, "modelled", reserved_why or use_why),
    }


def _gib(value: float | None, arose: Arose, why: str | None) -> Metric:
    return Metric(value=value, unit="GiB", arose=arose, reason=why if value is None else None)


def _said(facts: Mapping[str, Any] | None, name: str, boards: int) -> float | None:
    value = (facts or {}).get(name)
    return None if value is None else float(value) * boards


def _reserved(
    telemetry: Telemetry | None, devices: Sequence[Device], marks: Mapping[str, int]
) -> tuple[float | None, str | None]:
    """Rise of used memory over the boards from before the launch to readiness, in GiB."""
    boards = [d for d in devices if d.scope == "GPU board"]
    if telemetry is None:
        return None, "no meter was running"
    if not boards:
        return None, telemetry.header.reason or "no GPU board is metered"
    before, ready = marks.get("before_launch_end"), marks.get("resident_start")
    if before is None or ready is None:
        return None, "the run does not say when the engine was launched and ready"
    total = 0.0
    for board in boards:
        t_ns, used = telemetry.of(board.index, "memory").read("used_bytes")
        early, late = used[t_ns <= before], used[t_ns >= ready]
        if not len(early) or not len(late):
            why = telemetry.of(board.index, "memory").why.get("used_bytes", "not read in time")
            return None, f"memory of {board.uuid}: {why}"
        total += float(late[0] - early[-1]) / GIB
    return total, None


def _peak_use(
    telemetry: Telemetry | None, start_ns: int | None, end_ns: int | None
) -> float | None:
    """The highest share of the KV cache in use at any reading between two moments."""
    if telemetry is None or start_ns is None or end_ns is None:
        return None
    t_ns, use = telemetry.of(ENGINE, "engine").read("kv_use")
    inside = use[(t_ns >= start_ns) & (t_ns <= end_ns)]
    return float(inside.max()) if len(inside) else None
