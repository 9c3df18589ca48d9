"""What the model needs, worked out by hand from a trace of two boards and the engine's words."""

from __future__ import annotations

from typing import Any

import pytest

from bench.power.memory import GIB, memory_metrics
from bench.values.telemetry import (
    ENGINE,
    Device,
    Header,
    Reading,
    Telemetry,
    header_line,
    parse,
    reading_line,
)

DEVICES = tuple(Device(index=i, uuid=f"GPU-{i}", name="board") for i in range(2))
MARKS = {"before_launch_end": 100, "resident_start": 200}
# Per board, as vLLM's log has them; two boards make 32 and 60 GiB.
FACTS: dict[str, Any] = {"weights_gib": 16.0, "kv_cache_gib": 30.0}


def trace(
    used_gib: dict[int, list[tuple[int, float | None]]], kv_use: dict[int, float]
) -> Telemetry:
    lines = [header_line(Header(source="nvml", devices=DEVICES))]
    for device, readings in used_gib.items():
        for t_ns, gib in readings:
            used = None if gib is None else gib * GIB
            why = {} if used is not None else {"used_bytes": "no permission"}
            reading = Reading(t_ns=t_ns, half_ns=1, values={"used_bytes": used}, why=why)
            lines.append(reading_line("memory", device, reading))
    for t_ns, use in kv_use.items():
        reading = Reading(t_ns=t_ns, half_ns=1, values={"kv_use": use})
        lines.append(reading_line("engine", ENGINE, reading))
    return parse(lines)


BOARDS: dict[int, list[tuple[int, float | None]]] = {
    # Before the launch the last reading counts, from readiness on the first one.
    0: [(50, 3.0), (90, 1.0), (150, 40.0), (210, 51.0), (400, 55.0)],
    1: [(50, 0.5), (90, 0.5), (150, 40.0), (210, 50.5), (400, 50.5)],
}
KV_USE = {150: 0.9, 310: 0.2, 350: 0.25, 390: 0.1, 500: 0.8}  # the load lasts from 300 to 400


def accounted(
    used: dict[int, list[tuple[int, float | None]]] = BOARDS, facts: Any = FACTS, **keys: Any
) -> dict[str, Any]:
    keys = {"gpus": 2, "start_ns": 300, "end_ns": 400, **keys}
    return memory_metrics(trace(used, KV_USE), DEVICES, MARKS, facts, **keys)


def test_an_engine_on_two_boards() -> None:
    """(51 - 1) + (50.5 - 0.5) = 100 reserved; 100 - 32 - 60 = 8 other; a quarter of 60 GiB of cache
    is 15; 32 + 8 + 15 = 55 are needed."""
    found = {name: (m.value, m.arose) for name, m in accounted().items()}
    assert found == {
        "engine_reserved_gib": (pytest.approx(100.0), "measured"),
        "weights_gib": (pytest.approx(32.0), "quoted"),
        "kv_pool_gib": (pytest.approx(60.0), "quoted"),
        "other_gib": (pytest.approx(8.0), "modelled"),
        "kv_peak_gib": (pytest.approx(15.0), "measured"),
        "need_estimate_gib": (pytest.approx(55.0), "modelled"),
    }


def test_a_board_that_was_not_read_is_no_zero() -> None:
    unread: dict[int, list[tuple[int, float | None]]] = {
        **BOARDS,
        1: [(t, None) for t, _ in BOARDS[1]],
    }
    found = accounted(unread)
    for name in ("engine_reserved_gib", "other_gib", "need_estimate_gib"):
        assert found[name].value is None
        assert found[name].reason == "memory of GPU-1: no permission"
    assert found["kv_peak_gib"].value == pytest.approx(15.0)  # needs no board


def test_an_engine_that_says_nothing() -> None:
    found = accounted(facts=None)
    assert found["engine_reserved_gib"].value == pytest.approx(100.0)
    for name in ("weights_gib", "kv_pool_gib", "other_gib", "kv_peak_gib"):
        assert found[name].value is None
        assert found[name].reason == "the engine's log does not say"


def test_no_reading_of_the_cache_during_the_load() -> None:
    found = accounted(start_ns=391, end_ns=399)
    assert found["kv_peak_gib"].value is None
    assert found["kv_peak_gib"].reason == "no reading of the engine's KV cache use at this load"
    assert found["need_estimate_gib"].value is None
