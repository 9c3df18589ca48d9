"""The energy split in the terminal: coefficients with their intervals, or why there are none."""

from __future__ import annotations

from rich.console import Console

from bench.power.mixes import Mixes
from bench.power.split import Split
from bench.power.table import VERIFIED_ON_HARDWARE
from bench.report.grid import Grid, column, numbers, print_grid
from bench.report.markup import escape
from bench.report.numbers import quantity, with_interval


def print_split(out: Console, found: Mixes, split: Split) -> None:
    """The mixes, the fit over them, what was left out and whose energy it is."""
    columns = (column("load point"), *numbers("W", "prompt tok/s", "output tok/s"))
    rows = tuple(
        (p.label, *(quantity(v / p.seconds) for v in (p.energy_j, p.input_tokens, p.output_tokens)))
        for p in found.points
    )
    if rows:
        print_grid(out, Grid(columns=columns, rows=rows))
    for title, unit, estimate in (
        ("prompt token", "J", split.input_token_j),
        ("output token", "J", split.output_token_j),
        ("base", "W", split.base_w),
    ):
        if estimate is not None:
            text = with_interval(estimate.value, estimate.low, estimate.high)
            out.print(f"{title:<13}[bold]{text}[/] {unit}", highlight=False)
    if split.reason is not None:
        out.print(f"no split: {escape(split.reason)}", style="yellow", highlight=False)
    out.print(escape(_below(found, split)), style="dim", highlight=False, soft_wrap=True)
    for text in found.left_out:
        out.print(f"left out: {escape(text)}", style="dim", highlight=False, soft_wrap=True)


def _below(found: Mixes, split: Split) -> str:
    parts = [f"power by {found.source}", f"{split.points} load points", "± is a 95 % interval"]
    if found.source in ("replay", "synthetic"):
        parts[0] += ": no measurement"
    elif found.source == "nvml" and not VERIFIED_ON_HARDWARE:
        parts.append("method unverified on hardware")
    if split.misfit is not None:
        parts.append(f"the fit misses no load point by more than {split.misfit:.1%}")
    return " · ".join([*parts, *found.notes])
