"""A plan as a terminal table: ways to serve a demand, the cheapest that hold first."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.console import Console

from bench.predict.plan import SURE, TOO_DEAR, WANTED, Listed, Option, Plan, worth_listing
from bench.report.grid import Grid, column, numbers, print_grid
from bench.report.markup import escape
from bench.report.numbers import quantity
from bench.report.predict_table import banded
from bench.values.count_words import count

MOST = 12


def print_plan(found: Plan, out: Console, title: str, costs: Sequence[str] = ()) -> None:
    """Own and rented deployments, then APIs; what would decide; what was left out. `costs` are the
    words of `bench tco` that were typed."""
    out.print(f"[bold]predicted[/] · {escape(title)}", highlight=False, soft_wrap=True)
    columns = (
        column("way"),
        column("predicted deployment", wraps=True),
        *numbers(
            "GPUs",
            "replicas",
            "in flight each",
            "P(SLO), predicted",
            "$/month, predicted",
            "output tokens/s each, predicted",
        ),
    )
    listed = worth_listing([o for o in found.options if o.way != "api"])
    own = listed.options
    apis = [o for o in found.options if o.way == "api"]
    shown = (*own[:MOST], *apis[: MOST // 2])
    print_grid(out, Grid(columns=columns, rows=tuple(map(_row, shown)), keys=2))
    bought = next((o for o in own if o.throughput), None)
    lines = words(found, len(own) - MOST, len(apis) - MOST // 2, listed)
    if bought is not None:
        command = shlex.join(("bench", "tco", *costs, bought.throughput))
        lines.append(f"what owning {bought.name} costs, part by part: {command}")
    for text in lines:
        out.print(escape(text), highlight=False, soft_wrap=True)


def _row(o: Option) -> tuple[str, ...]:
    api = o.way == "api"
    rate = None if o.prediction is None else o.prediction.figures["output_tokens_per_s"]
    return (
        o.way,
        o.name + (" (another model)" if api else ""),
        "–" if api else str(o.gpus),
        "–" if api else str(o.replicas),
        "–" if o.concurrency is None else str(o.concurrency),
        "–" if o.p_slo is None else f"{o.p_slo:.0%}",
        quantity(o.usd_per_month.value) + " (listed)" if api else banded(o.usd_per_month),
        banded(rate),
    )


def words(found: Plan, more_own: int, more_apis: int, listed: Listed | None = None) -> list[str]:
    """What follows the table."""
    lines = []
    holding = [o for o in found.options if (o.p_slo or 0) >= WANTED]
    if not holding:
        lines.append(
            f"No candidate is predicted to hold the SLO with {WANTED:.0%}: more GPUs a replica, a "
            "smaller model or a wider SLO."
        )
    if found.p_first_is_cheaper is not None:
        lines.append(f"P(the first is cheaper than the second): {found.p_first_is_cheaper:.0%}.")
    if found.measure:
        lines.append(f"What would decide between them to {SURE:.0%}, in this order:")
        lines += [f"  {m}" for m in found.measure]
    elif len(holding) > 1:
        odds = found.p_first_is_cheaper
        lines.append(
            "No measurement is needed to tell the first two apart."
            if odds is None or odds >= SURE
            else "No measurement of speed tells them apart: their bills do not hang on it."
        )
    hidden = [f"{n} {w}" for n, w in ((more_own, "deployments"), (more_apis, "APIs")) if n > 0]
    if hidden:
        lines.append(f"not shown: {' and '.join(hidden)} (--json has all)")
    if listed is not None:
        lines += _not_listed(listed)
    lines += [f"left out: {text}" for text in found.left_out]
    return [*lines, *(f"note: {n}" for n in found.notes)]


def _not_listed(listed: Listed) -> list[str]:
    """How many deployments nobody would buy, and why; --json has them all."""
    lines = []
    if listed.missing:
        of = f", with that every one of {', '.join(listed.gone)}" if listed.gone else ""
        lines.append(
            f"not listed: {count(listed.missing, 'deployment')} with a P(SLO) of at most "
            f"{1 - WANTED:.0%}, or below {WANTED:.0%} at more than {TOO_DEAR} times the least bill "
            f"that holds it{of} (--json has all)"
        )
    if listed.dear:
        lines.append(
            f"not listed: {count(listed.dear, 'deployment')} of more than {TOO_DEAR} times the "
            "least bill of the same model and quantisation (--json has all)"
        )
    return lines
