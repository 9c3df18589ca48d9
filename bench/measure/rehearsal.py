"""A rehearsal: a run on stand-ins for a GPU host. Nothing of it is ever taken for a measurement.

Stand-ins say so of themselves where they name their version: the engine (its /version and its log)
and the driver. The word is looked for in what the run stored, so that a result stays labelled
wherever it goes.
"""

from __future__ import annotations

from dataclasses import replace

from bench.measure.metrics import Metric
from bench.values.record import Run

WORD = "rehearsal"


def rehearsed(run: Run) -> str | None:
    """What of a run was a stand-in, in words; None for a real one."""
    said = {
        "the engine": (run.server or {}).get("engine_version"),
        "its log": (run.engine_facts or {}).get("engine_version"),
        "the driver": None if run.telemetry is None else run.telemetry.header.driver,
    }
    parts = [name for name, version in said.items() if WORD in str(version or "")]
    return f"made up: {', '.join(parts)}" if parts else None


def as_rehearsed(metrics: dict[str, Metric]) -> dict[str, Metric]:
    """The same metrics, none of them measured: whoever compares or claims leaves them out."""
    return {
        name: replace(m, arose="synthetic") if m.arose == "measured" else m
        for name, m in metrics.items()
    }
