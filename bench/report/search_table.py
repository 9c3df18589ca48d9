"""What a search tried and what it found, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from bench.measure.measurement import Measurement
from bench.measure.metrics import Metric
from bench.report.grid import Grid, column, numbers, print_grid
from bench.report.numbers import quantity, with_interval


def print_search(out: Console, found: Mapping[str, Any], measurement: Measurement) -> None:
    """Every load tried, the answer in one line, and what it cost."""
    unit = load_unit(found)
    print_grid(out, _tried(found, unit))
    out.print(f"[bold]{answer(found, measurement, unit)}[/]", highlight=False, soft_wrap=True)
    order = ", ".join(f"{_load_of(found, rung):g}" for rung in found["order"])
    grid, spent = found["grid_requests"], found["requests"]
    share = f"{spent / grid:.0%}" if grid else "–"
    out.print(
        f"tried in this order: {order}. {spent} requests, {share} of the {grid} of a full grid "
        f"in steps of {found['resolution']:.1%}.",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )


def load_unit(found: Mapping[str, Any]) -> str:
    """What the loads of a search are counted in."""
    return "req/s" if found["over"] == "rate" else "in flight"


def answer(found: Mapping[str, Any], measurement: Measurement, unit: str) -> str:
    """The search in one sentence."""
    if not found["complete"]:
        return "the search was cut short"
    if found["found"] is None:
        return (
            f"nothing holds: {found['criteria']} is missed even at {found['not_holding']:g} {unit}"
        )
    if measurement.trust in ("incomplete", "FAILED"):
        return "no limit that may be quoted: the load found, or the run as a whole, is NOT VALID"
    goodput = next(
        (p.metrics["goodput_requests_per_s"] for p in measurement.headline),
        Metric(value=None, unit=""),
    )
    what = "the SLO holds" if found["objective"] == "slo" else "the knee: the server keeps up"
    text = f"{what} up to {found['found']:g} {unit}"
    if goodput.value is not None and found["objective"] == "slo":
        text += f", goodput {with_interval(goodput.value, goodput.ci_low, goodput.ci_high)} req/s"
    if found["not_holding"] is None:
        return text + "; no higher load was allowed"
    return text + _beyond(found, unit)


def _beyond(found: Mapping[str, Any], unit: str) -> str:
    """What the loads above do that were not shown to hold: unclear is not failed."""
    above = [s for s in found["tried"] if s["load"] >= found["not_holding"]]
    failing = next((s for s in above if s["verdict"] == "fails"), None)
    unclear = "" if above[0] is failing else f"; unclear at {above[0]['load']:g} {unit}"
    if failing is None:
        return unclear
    text = f"{unclear}; not at {failing['load']:g} {unit}"
    seen = failing["seen"]
    if found["objective"] == "slo":
        value = seen.get(failing["criterion"])
        figure = "" if value is None else f" {quantity(value)}"
        return f"{text} ({failing['criterion']}{figure})"
    if None in (seen.get("queue_growth_per_s"), seen.get("completed_per_s")):
        return text
    return (
        f"{text}, over-saturated: the queue grows by {quantity(seen['queue_growth_per_s'])} a "
        f"second, {quantity(seen['completed_per_s'])} req/s are completed"
    )


def _tried(found: Mapping[str, Any], unit: str) -> Grid:
    names = sorted({name for s in found["tried"] for name in s["seen"]})
    rows = tuple(
        (
            f"{s['load']:g}",
            s["verdict"],
            str(s["repeats"]),
            f"{s['requests']:,}",
            *("–" if (v := s["seen"].get(n)) is None else quantity(v) for n in names),
            s["criterion"].replace("_", " "),
        )
        for s in found["tried"]
    )
    columns = (
        *numbers(unit),
        column("verdict"),
        *numbers("repeats", "requests"),
        *numbers(*(n.replace("_", " ") for n in names)),
        column("nearest to its limit"),
    )
    return Grid(title=f"search: {found['criteria']}", columns=columns, rows=rows)


def _load_of(found: Mapping[str, Any], rung: int) -> float:
    return float(next(s["load"] for s in found["tried"] if s["rung"] == rung))
