"""Engines side by side: what was equalised between them, and what was not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from bench.compare.fairness import Condition, conditions
from bench.measure.measurement import Measurement
from bench.report.grid import Grid, column, print_grid
from bench.report.markup import escape
from bench.values.record import Run

_SAID = {True: "yes", False: "NO", None: "not known"}


def print_fairness(out: Console, measured: Sequence[tuple[Run, Measurement]]) -> None:
    """The table, and in one line what forbids a verdict from these runs."""
    found = conditions(measured)
    names = [_name(run) for run, _ in measured]
    rows = tuple(
        (c.words, *(_shown(v) for v in c.values), _SAID[c.alike])
        for c in found
        if any(v is not None for v in c.values)
    )
    titles = (column("condition"), *map(column, names), column("alike"))
    print_grid(out, Grid(columns=titles, rows=rows))
    out.print(escape(_verdict(found)), highlight=False)


def _name(run: Run) -> str:
    version = (run.server or {}).get("engine_version")
    return f"{run.spec.engine.kind} {version}" if version else run.spec.engine.kind


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _verdict(found: Sequence[Condition]) -> str:
    unlike = [c.key for c in found if c.alike is False]
    unknown = [c.key for c in found if c.alike is None]
    parts = []
    if unlike:
        parts.append(
            f"not equalised: {', '.join(unlike)}: bench compare refuses these runs unless each is "
            "allowed (--allow engine,served)"
        )
    if unknown:
        parts.append(f"not known of all: {', '.join(unknown)}")
    return "; ".join(parts) or "every known condition is alike"
