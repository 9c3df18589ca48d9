"""The fit as a terminal table: many combinations side by side, or one explained."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from bench.report.grid import Grid, column, numbers, print_grid
from bench.report.markup import escape
from bench.sizing.report import Alternative, FitReport


def _grid(rows: Sequence[FitReport]) -> Grid:
    columns = (
        column("quant"),
        *numbers("GPUs"),
        column("fits"),
        *numbers(
            "weights",
            "KV left",
            "other",
            "max context",
            "max conc.",
            "user ≤",
            "output ≤",
            "plan b1",
            "plan at c",
            "plan prefill",
            "$/h",
        ),
    )
    return Grid(columns=columns, rows=tuple(map(_cells, rows)), keys=2)


def _cells(r: FitReport) -> tuple[str, ...]:
    return (
        r.quant,
        str(r.gpus),
        "yes" if r.fits else "no",
        _size(r.weights_gib_per_gpu, 1),
        f"{r.kv_gib_per_gpu:,.1f}",
        f"{r.other_gib_per_gpu:,.1f}",
        f"{r.max_context_tokens:,}",
        f"{r.max_concurrency:,}",
        _number(r.bound_tokens_per_s_per_user, 0),
        _number(r.bound_tokens_per_s, 0),
        _number(r.plan_tokens_per_s_batch1, 0),
        _number(r.plan_tokens_per_s, 0)
        + ("" if r.plan_tokens_per_s is None else f" c{r.plan_concurrency:,}"),
        _number(r.prefill.tokens_per_s if r.prefill else None, 0),
        price(r),
    )


def print_table(rows: Sequence[FitReport], console: Console) -> None:
    """One line per quantisation and GPU count; GiB per GPU, tokens/s."""
    first = rows[0]
    console.print(
        f"[bold]{escape(first.model)}[/] on {first.gpu}: {_count(first.total_params)} parameters, "
        f"{_count(first.active_params)} active; needs {first.context_needed_tokens:,} tokens "
        "per request",
        highlight=False,
    )
    print_grid(console, _grid(rows))
    _print_notes(rows, console)
    if rows[-1].alternatives:
        _print_alternatives(rows[-1], console)


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def price(report: FitReport) -> str:
    """The range of rents listed on demand of all GPUs together, in $/h; else the least of another
    tier, which is named."""
    low, high = report.usd_per_h_low, report.usd_per_h_high
    if low is None or high is None:
        return next(iter(_other_tiers(report)), "–")
    return "–".join(dict.fromkeys((f"{low:,.2f}", f"{high:,.2f}")))


def _other_tiers(report: FitReport | Alternative) -> list[str]:
    tiers = (("spot", report.usd_per_h_spot), ("reserved", report.usd_per_h_reserved))
    return [f"{name} from {usd:,.2f}" for name, usd in tiers if usd is not None]


def _rent_line(r: FitReport) -> str:
    others = _other_tiers(r)
    if r.usd_per_h_low is None:
        return f"listed rent {', '.join(others)} $/h" if others else "listed rent – $/h"
    beside = f"; {', '.join(others)}" if others else ""
    return f"listed rent {price(r)} $/h on demand{beside} (bench prices)"


def _print_notes(rows: Sequence[FitReport], console: Console) -> None:
    """What forbids single rows, then what all share; a plain number is a GiB or a tokens/s."""
    alike = set.intersection(*(set(r.reasons) for r in rows))
    for reason in sorted(alike):
        console.print(f"[dim]all of them: {reason}[/]", soft_wrap=True)
    for row in rows:
        for reason in row.reasons:
            if "that may be used" not in reason and reason not in alike:
                console.print(f"[dim]{row.quant}×{row.gpus}: {reason}[/]", soft_wrap=True)
    shared = set.intersection(*(set(r.notes) for r in rows))
    for note in sorted(shared):
        console.print(f"[dim]{note}[/]", soft_wrap=True)
    budgets = sorted({r.budget_gib_per_gpu for r in rows if r.budget_gib_per_gpu is not None})
    if budgets:
        listed = ", ".join(f"{b:,.1f}" for b in budgets)
        console.print(f"[dim]budget {listed} GiB per GPU for weights, KV and other[/]")
    console.print(
        "[dim]GiB per GPU; modelled from the architecture. max conc. counts requests at full "
        "length; on average they hold less. Columns with ≤ are bounds in tokens/s: nothing at "
        "these lengths exceeds them without speculation; user ≤ is one user's while the answer "
        "comes, output ≤ counts the prompts, too. Plans are decode and prefill at the hardware's "
        "published limits, c at once: no bounds, and no predictions. $/h: rents listed on demand, "
        "where no other tier is named (bench prices).[/]",
        soft_wrap=True,
    )


def print_report(report: FitReport, console: Console) -> None:
    """One combination: verdict, memory, bounds and plans, and what would fit instead."""
    r = report
    verdict = "[green bold]fits[/]" if r.fits else "[red bold]does not fit[/]"
    place = f"{r.gpus}×{r.gpu}" if r.gpus else "the CPU of this machine"
    console.print(f"[bold]{r.model}[/] {r.quant} on {place}: {verdict}", soft_wrap=True)
    for reason in r.reasons:
        console.print(f"  [red]{reason}[/]", soft_wrap=True)
    for line in (*_memory_lines(r), *_rate_lines(r)):
        console.print(f"  {line}", soft_wrap=True)
    for note in r.notes:
        console.print(f"  [dim]note: {note}[/]", soft_wrap=True)
    _print_alternatives(r, console)


def _print_alternatives(report: FitReport, console: Console) -> None:
    if not report.alternatives:
        return
    console.print("[bold]What would fit:[/]")
    for one in report.alternatives:
        cost = "" if one.usd_per_h_low is None else f"  (from {one.usd_per_h_low:.2f} $/h)"
        if one.usd_per_h_low is None and (others := _other_tiers(one)):
            cost = f"  ({others[0]} $/h)"
        command = f"bench fit {' '.join(one.overrides)}"
        console.print(f"  {one.kind:8} {command}{cost}", soft_wrap=True, highlight=False)


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.2f} B" if parameters >= 1e8 else f"{parameters / 1e6:.2f} M"


def _size(amount: float, digits: int) -> str:
    """So many digits behind the point; two that count where that would read as nothing."""
    return f"{amount:,.{digits}f}" if amount >= 10**-digits else f"{amount:.2g}"


def _memory_lines(r: FitReport) -> list[str]:
    unit = "per GPU" if r.gpus else "of this host"
    overheads = ", ".join(f"{o.name} {o.gib:.2f} {o.arose}" for o in r.overheads) or "uncounted"
    budget = "not limited" if r.budget_gib_per_gpu is None else f"{r.budget_gib_per_gpu:.1f} GiB"
    return [
        f"parameters {_count(r.total_params)}, {_count(r.active_params)} active; "
        f"weights {r.weights_gb:.4g} GB over {max(r.gpus, 1)} × (tp {r.layout.tp}, "
        f"pp {r.layout.pp}{', ep' if r.layout.ep else ''})",
        f"memory {unit}: weights {_size(r.weights_gib_per_gpu, 1)} "
        f"+ other {r.other_gib_per_gpu:.1f} + KV {r.kv_gib_per_gpu:.1f} GiB{_band(r)} "
        f"of {budget} ({overheads})",
        f"KV cache {r.kv_bytes_per_token:,} bytes per token; one request of "
        f"{r.context_needed_tokens:,} tokens takes {_size(r.kv_gb_needed, 2)} GB"
        + (
            f" ({r.kv_gb_if_no_layer_forgets:.2f} GB if no layer forgets)"
            if r.kv_gb_if_no_layer_forgets > r.kv_gb_needed
            else ""
        ),
        f"longest context alone {r.max_context_tokens:,} tokens"
        + (
            f" ({r.max_context_tokens_if_no_layer_forgets:,} if no layer forgets)"
            if r.max_context_tokens_if_no_layer_forgets < r.max_context_tokens
            else ""
        )
        + f"; {r.max_concurrency:,} requests at once"
        + (
            f"; the engine logs {r.kv_tokens:,} tokens{_token_band(r)}"
            if r.kv_tokens and r.offload is None
            else ""
        ),
    ]


def _band(r: FitReport) -> str:
    """How far the prediction may be off, by the spread of the logs that it rests on."""
    low, high = r.kv_gib_low_per_gpu, r.kv_gib_high_per_gpu
    return "" if low is None or high is None or low == high else f" ({low:.1f} to {high:.1f})"


def _token_band(r: FitReport) -> str:
    low, high = r.kv_tokens_low, r.kv_tokens_high
    return "" if low is None or high is None or low == high else f" ({low:,} to {high:,})"


def _rate_lines(r: FitReport) -> list[str]:
    if r.offload is not None:
        most = r.bound_tokens_per_s_per_user
        return [] if most is None else [f"bound {_number(most, 1)} output tokens/s for one user"]
    if r.decode_batch1 is None or r.decode is None or r.prefill is None:
        return ["bounds not known: no bandwidth is published for this device"]
    coverage = r.decode.expert_coverage
    experts = "" if coverage is None else f", {coverage:.0%} of the experts"
    return [
        f"bound {_number(r.bound_tokens_per_s, 0)} output tokens/s at any load, "
        f"{_number(r.bound_tokens_per_s_per_user, 0)} for one user: at these lengths and without "
        "speculation nothing exceeds it",
        f"plan: decode {r.decode_batch1.tokens_per_s:,.0f} tokens/s at batch 1 "
        f"({r.decode_batch1.bound}, {r.decode_batch1.read_gb_per_step:.1f} GB per token)",
        f"plan: decode {r.decode.tokens_per_s:,.0f} tokens/s at {r.plan_concurrency} at once "
        f"({r.decode.bound}, {r.decode.read_gb_per_step:.1f} GB per step{experts})",
        f"plan: prefill {r.prefill.tokens_per_s:,.0f} tokens/s ({r.prefill.bound})",
        _rent_line(r),
    ]
