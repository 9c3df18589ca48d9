"""What changed since an earlier cost answer, line by line."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from bench.money.since import Change, Moved, Since
from bench.report.grid import Grid, column, numbers, print_grid
from bench.report.numbers import quantity
from bench.values.codec import encode


def since_document(found: Since) -> dict[str, Any]:
    """The contract of `bench tco --since … --json`."""
    document: dict[str, Any] = encode(found)
    return document


def print_since(out: Console, found: Since) -> None:
    """Every figure that moved, then each price and what it moved."""
    if not found.figures:
        out.print(f"since {found.since}: no figure of the answer moved", markup=False)
        return
    rows = tuple(
        (m.name, _said(m.before), _said(m.after), _share(m.before, m.after)) for m in found.figures
    )
    columns = (column("figure"), *numbers(f"{found.since}", "now", "change"))
    print_grid(out, Grid(title=f"since {found.since}", columns=columns, rows=rows))
    for change in found.changes:
        out.print(change_line(change), markup=False, highlight=False, soft_wrap=True)


def change_line(change: Change) -> str:
    """Prices and what they moved, in a sentence."""
    parts = [
        f"{row.kind} {'new' if before is None else f'{before.usd:g}'} → {row.usd:g} USD"
        for row, before in zip(change.rows, change.before, strict=True)
    ]
    last = change.rows[-1]
    text = f"{last.key} {', '.join(parts)} ({last.as_of}, {last.source}): "
    return text + ("; ".join(map(_moved, change.moved)) or "moves nothing")


def _moved(m: Moved) -> str:
    return f"{m.name} {_said(m.before)} → {_said(m.after)}"


def _said(value: float | None) -> str:
    return "none" if value is None else quantity(value)


def _share(before: float | None, after: float | None) -> str:
    return "–" if not before or after is None else f"{after / before - 1:+.0%}"
