"""A sweep in the terminal: what became of each of its runs, and what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.console import console
from bench.report.grid import Grid, column, numbers, print_grid
from bench.report.numbers import with_interval
from bench.sweep.asked import Sweep
from bench.sweep.state import State

_LONGEST = 100
"""Characters of a reason in the table; it stands whole in the run's end.json."""


def print_sweep(
    sweep: Sweep, found: Sequence[State], rows: Mapping[str, Mapping[str, Any] | None]
) -> None:
    """A line per run in the order asked for; `rows` are the lines of the stored ones by id."""
    columns = (
        column("#"),
        column("run of the sweep"),
        column("state"),
        *numbers("best output tok/s"),
        column("at"),
        column("what", wraps=True),
    )
    where = "" if sweep.job is None else f" · {sweep.scheduler} job {sweep.job}"
    title = f"sweep {sweep.name}{where}: {counted(found)}"
    cells = tuple(_cells(state, rows.get(state.element.run)) for state in found)
    print_grid(console(), Grid(columns=columns, rows=cells, title=title, keys=2))


def counted(found: Sequence[State]) -> str:
    """`2 done, 1 failed, 3 waiting`."""
    kinds = dict.fromkeys(state.kind for state in found)
    return ", ".join(f"{sum(s.kind == kind for s in found)} {kind}" for kind in kinds)


_STANDING = {"partly": "VALID IN PART", "rehearsal": "REHEARSAL"}


def _cells(state: State, row: Mapping[str, Any] | None) -> tuple[str, ...]:
    rate = None if row is None or "unreadable" in row else row["output_tokens_per_s"]
    shown = "–" if rate is None else with_interval(rate["value"], rate["ci_low"], rate["ci_high"])
    at = "–" if row is None else row.get("best_load") or "–"
    what = (
        state.element.run
        if state.kind == "done"
        else state.said
        if len(state.said) <= _LONGEST
        else f"{state.said[:_LONGEST]}…"
    )
    if row is not None and state.kind == "done" and row.get("trust", "ok") not in ("ok", None):
        what = f"{_STANDING.get(row['trust'], 'NOT VALID')}, {what}"
    words = " ".join(state.element.words)
    return (str(state.number), words, state.kind, shown, at, what)
