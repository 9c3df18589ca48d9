"""The comparison of variants in the terminal: one row each, then why."""

from __future__ import annotations

from rich.console import Console

from bench.compare.compare import Comparison, Row, figures_are_of
from bench.compare.gate import Gate
from bench.compare.speed import EVERYWHERE, MARGIN, SpeedChange
from bench.compare.words import p_text, percent
from bench.measure.metrics import Metric
from bench.quality.verdict import TaskComparison
from bench.report.console import console
from bench.report.gate_table import print_gate
from bench.report.grid import Grid, column, numbers, print_grid
from bench.report.markup import escape
from bench.report.numbers import quantity, with_interval

_FIGURES = (
    ("output tok/s", "output_tokens_per_s"),
    ("TTFT p50 ms", "ttft_p50_ms"),
    ("TPOT p50 ms", "tpot_p50_ms"),
    ("J/token", "energy_per_output_token_j"),
)


def print_comparison(c: Comparison, gate: Gate | None = None) -> None:
    """Figures, changes of speed, quality by task, findings, a verdict per variant, the gate."""
    out = console()
    load = f" at {c.load}" if c.load else ""
    out.print(f"[bold]{escape(c.model)}[/]: variants against {escape(c.baseline)}{load}")
    print_grid(out, _figures(c))
    if of := figures_are_of(c.rows):
        out.print(of, style="dim", highlight=False, soft_wrap=True)
    if any(row.speed for row in c.rows):
        print_grid(out, _speed(c))
    if any(row.quality for row in c.rows):
        print_grid(out, _quality(c))
    _notes(out, c)
    for row in c.rows[1:]:
        front = f" · {row.front_words}" if row.on_front else ""
        out.print(
            f"[bold]{escape(row.name)}[/]: {escape(row.verdict)}{front}",
            soft_wrap=True,
            highlight=False,
        )
    if gate is not None:
        print_gate(out, gate)


def _figures(c: Comparison) -> Grid:
    used = [(t, n) for t, n in _FIGURES if any(n in row.figures for row in c.rows)]
    rows = []
    for row in c.rows:
        cells = [_figure(row.figures.get(name)) for _, name in used]
        memory = [_weights(row), _number(row.kv_cache_gib), _number(row.max_concurrency)]
        kernel = ", ".join(row.kernel.names) or "–"

        trust = row.trust or "–"
        rows.append((row.name, *cells, *memory, _usd(row.usd_per_mtok), kernel, trust))
    titles = (*(t for t, _ in used), "weights GiB", "KV GiB", "max requests", "$/M tokens")
    columns = (column("variant"), *numbers(*titles), column("kernel", wraps=True), column("trust"))
    return Grid(columns=columns, rows=tuple(rows))


def _figure(metric: Metric | None) -> str:
    if metric is None:
        return "–"
    if metric.value is None:
        return "withheld" if metric.withheld_value is not None else "–"
    return with_interval(metric.value, metric.ci_low, metric.ci_high)


def _weights(row: Row) -> str:
    mark = "~" if row.weights_arose == "modelled" and row.weights_gib is not None else ""
    return mark + _number(row.weights_gib)


def _number(value: float | None) -> str:
    return "–" if value is None else quantity(value)


def _usd(bounds: tuple[float, float] | None) -> str:
    if bounds is None:
        return "–"
    low, high = map(quantity, bounds)
    return low if low == high else f"{low}–{high}"


def _speed(c: Comparison) -> Grid:
    return Grid(
        title=f"speed: variant ÷ baseline, all loads; equivalent within {MARGIN:.0%}",
        columns=(
            column("variant"),
            column("metric"),
            *numbers("change", "95 % interval", "over", "p", "p (Holm)"),
            column("verdict"),
        ),
        rows=tuple(
            (row.name, change.metric, *_speed_cells(change))
            for row in c.rows
            for change in row.speed
            if change.load == EVERYWHERE
        ),
        keys=2,
    )


def _speed_cells(change: SpeedChange) -> tuple[str, ...]:
    verdict = change.verdict.replace("_", " ")
    over = f"{change.pairs} {change.basis}"
    if change.ratio is None:
        return ("–", "–", over, "–", "–", verdict)
    r = change.ratio
    interval = f"{percent(r.low)} to {percent(r.high)}"
    p, p_holm = ("–" if v is None else p_text(v) for v in (change.p, change.p_holm))
    return percent(r.value), interval, over, p, p_holm, verdict


def _quality(c: Comparison) -> Grid:
    chance = any(t.recovery_above_chance for row in c.rows for t in row.quality)
    titles = ["n", "score ± std. error", "recovery", "95 % interval"]
    titles += ["above chance"] if chance else []
    rows = []
    for row in c.rows:
        errors = {(s.task, s.metric, s.filter): s.stderr for s in row.scores}
        for task in row.quality:
            if task.primary:
                error = errors.get((task.task, task.metric, task.filter))
                rows.append((row.name, *_task_cells(task, error, chance=chance)))
    return Grid(
        title=f"quality on the same items; not worse above {c.margin:.0%} recovery",
        columns=(
            column("variant"),
            column("task"),
            column("metric"),
            *numbers(*titles),
            *numbers("lost/won", "p (Holm)", "|ΔLL|"),
            column("verdict", wraps=True),
        ),
        rows=tuple(rows),
        keys=3,
    )


def _task_cells(t: TaskComparison, stderr: float | None, *, chance: bool) -> tuple[str, ...]:
    score = f"{t.baseline:.4f} to {t.variant:.4f}" + ("" if stderr is None else f" ± {stderr:.4f}")
    recovery, interval = "–", "–"
    if t.recovery is not None:
        recovery = f"{t.recovery.value:.2%}"
        interval = f"{t.recovery.low:.2%} to {t.recovery.high:.2%}"
    above = t.recovery_above_chance
    extra = ("–" if above is None else f"{above.value:.2%}",) if chance else ()
    flips = "–" if t.lost is None else f"{t.lost}/{t.won}"
    dll = "–" if t.mean_abs_dll_nats is None else f"{t.mean_abs_dll_nats:.3f}"
    verdict = t.verdict.replace("_", " ")
    if t.verdict == "not_enough_evidence" and t.more_items:
        verdict += f": {t.more_items:,} more items"
    return (
        t.task,
        t.metric,
        f"{t.n:,}",
        score,
        recovery,
        interval,
        *extra,
        flips,
        p_text(t.p_holm),
        dll,
        verdict,
    )


def _notes(out: Console, c: Comparison) -> None:
    for finding in c.findings:
        style = {"warn": "yellow", "fail": "red"}.get(finding.severity, "dim")
        line = f"{finding.severity.upper():<4}  {finding.code}: {finding.text}"
        out.print(escape(line), style=style, highlight=False, soft_wrap=True)
    out.print(
        "± of a speed is its 95 % interval; ~ is modelled; intervals of changes are paired.",
        style="dim",
        highlight=False,
    )
