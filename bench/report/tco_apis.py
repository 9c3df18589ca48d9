"""What APIs alone bill for a demand, for the terminal."""

from __future__ import annotations

from rich.console import Console

from bench.money.api_bills import ApiBill, ApiBills
from bench.report.grid import Grid, column, numbers, print_grid
from bench.report.numbers import plain
from bench.report.tco_table import print_assumed, usd


def print_bills(found: ApiBills, console: Console) -> None:
    """The cheapest in words, a line per API, and what it rests on."""
    console.print(f"{found.name}: {verdict(found)}", markup=False, style="bold")
    for line in sentences(found):
        console.print(line, markup=False, highlight=False)
    console.print()
    print_grid(console, _bills(found))
    print_assumed(found.assumed, "", console)
    for line in found.caveats:
        console.print(f"! {line}", markup=False, highlight=False)


def verdict(found: ApiBills) -> str:
    """The cheapest bill, in one sentence."""
    first, last = found.apis[0], found.apis[-1]
    said = f"{first.key} bills ${usd(first.usd_per_month)} a month (${usd(first.usd_per_mtok)} per"
    said += f" M tokens) for {plain(found.mtok_per_month)} M tokens, {found.input_share:.0%} input"
    if first is last:
        return said
    most = f"${usd(last.usd_per_month)} ({last.key})"
    return f"{said}: the least of {len(found.apis)} APIs, up to {most}"


def sentences(found: ApiBills) -> tuple[str, ...]:
    """What stands below: how far the draws move it, and what is not in it."""
    first = found.apis[0]
    drawn: tuple[str, ...] = ()
    if first.monthly:
        low, high = (first.monthly[p] for p in ("p5", "p95"))
        drawn = (
            f"90 % of {found.draws:,} draws of demand and terms lie between ${usd(low)} and "
            f"${usd(high)} a month there.",
        )
    return (
        *drawn,
        "No server is in this answer: tco.basis=on_demand or own sets one beside it, which takes "
        "a throughput.",
    )


def _bills(found: ApiBills) -> Grid:
    spread = any(b.monthly for b in found.apis)
    return Grid(
        title="What each API bills",
        columns=(
            column("API"),
            *numbers("$/M tokens", "$/month"),
            *(numbers("P5", "P95") if spread else ()),
            column("prices as of", wraps=True),
        ),
        rows=tuple(_bill(b, spread=spread) for b in found.apis),
    )


def _bill(b: ApiBill, *, spread: bool) -> tuple[str, ...]:
    doubt = "" if all(row.verified for row in b.rows.values()) else " (unverified)"
    ends = tuple(usd(b.monthly[p]) for p in ("p5", "p95")) if spread else ()
    dates = ", ".join(sorted({row.as_of for row in b.rows.values()}))
    return (b.key + doubt, f"{b.usd_per_mtok:,.4f}", usd(b.usd_per_month), *ends, dates)
