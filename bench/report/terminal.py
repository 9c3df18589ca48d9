"""Tables in the terminal: what was measured, how sure, and whether to believe it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from bench.measure.checks.steadiness import IF_NOT_INDEPENDENT
from bench.measure.client_error import Calibration
from bench.measure.measurement import Measurement, PointMeasurement
from bench.measure.metrics import ENOUGH_REPEATS, Metric
from bench.measure.stats import ENOUGH_TO_CORRELATE
from bench.report.answer import answer, checks_line, failed_loads, standing
from bench.report.console import console
from bench.report.grid import Grid, column, numbers, print_grid
from bench.report.markup import escape
from bench.report.numbers import (
    amount,
    host_cores,
    load_words,
    prompt_words,
    quantity,
    weights_words,
    with_interval,
)
from bench.report.power_table import print_power
from bench.report.predict_table import error_line
from bench.report.quality_table import print_quality
from bench.report.search_table import print_search
from bench.values.ending import short, words
from bench.values.fit_error import FitError
from bench.values.record import Run

_PARTLY = {"energy": "no energy", "some": "withheld"}

_COLUMNS = (
    ("output tok/s", "output_tokens_per_s"),
    ("per user", "output_tokens_per_s_per_user"),
    ("req/s", "requests_per_s"),
    ("TTFT p50", "ttft_p50_ms"),
    ("TTFT p99", "ttft_p99_ms"),
    ("ITL p50", "itl_p50_ms"),
    ("ITL p99", "itl_p99_ms"),
    ("E2E p50", "e2e_p50_ms"),
    ("errors", "error_rate"),
)

_ANSWER = ("answer p50", "first_answer_p50_ms")
"""The time to the first token of the answer, shown where thought came before it."""
_TOKENS_WITHOUT_TEXT = 3
"""UTF-8 has at most four bytes a character; with the last of them there is text."""

# In an open loop, what users wait counts from when they wanted to be served.
_OPEN_COLUMNS = (
    *_COLUMNS[:4],
    ("from scheduled", "ttft_sched_p50_ms"),
    ("TTFT p99", "ttft_p99_ms"),
    ("from scheduled", "ttft_sched_p99_ms"),
    ("sent late p99", "dispatch_lag_p99_ms"),
    *_COLUMNS[5:7],
    _COLUMNS[-1],
)


def print_run(run: Run, measurement: Measurement) -> None:
    """The answer, one row per load point, what is wrong, and where it is stored."""
    out = console()
    said(out, _title(run), "bold")
    first = answer(run, measurement)
    said(out, f"Found    {first.found}", "bold", indent=9)
    said(out, f"Trusted  {first.trust}", _MOODS[first.mood], indent=9)
    said(out, f"Next     {first.next}", indent=9)
    said(out, _conditions(run, measurement), "dim")
    if measurement.points:
        print_grid(out, _points_grid(measurement.points))
        print_grid(out, _latency_grid(measurement.points))
        out.print(
            f"{_about_intervals(measurement)} {WORDS} What is withheld has its failure below.",
            style="dim",
            highlight=False,
        )
        for point in measurement.points:
            if line := _of_the_hardware(point):
                out.print(line, style="dim", highlight=False)
            if again := next((f for f in point.findings if f.code == "measured_again"), None):
                said(out, f"{load_words(point)}: {again.text}", "dim")
        if run.load_search is not None:
            print_search(out, run.load_search, measurement)
        print_power(out, measurement)
    for error in measurement.fit_errors:
        out.print(_predicted(error), style="dim", highlight=False)
    for one in measurement.prediction_errors:
        out.print(error_line(one), style="dim", highlight=False)
    if run.quality is not None:
        print_quality(out, run.quality)
    _print_findings(out, measurement)
    verdict = standing(measurement)
    if verdict == "NOT VALID":
        verdict += ": do not quote these numbers"
    elif verdict == "VALID IN PART":
        at = failed_loads(measurement)
        verdict += f"{f', not at {at}' if at else ''}: what is not withheld may be quoted"
    if run.status != "complete":
        verdict = f"NOT VALID, {words(run.status, run.ended_by)}: do not quote these numbers"
    if measurement.rehearsal is not None:
        verdict = f"REHEARSAL, nothing here was measured ({measurement.rehearsal})"
    if run.spec.engine.kind == "none" and run.status == "complete":
        verdict = "QUALITY ALONE: no engine ran, no speed was measured"
    out.print(f"[bold]{verdict}[/] · {escape(run.path)}", highlight=False, soft_wrap=True)


WORDS = (
    "In ms: TTFT from sending to the first token, ITL from token to token, E2E to the last byte; "
    "p50: half of the requests were as fast, p99: 99 of 100. In flight: requests at the same time. "
    "Any other word: bench words WORD."
)
"""What a newcomer cannot read in the tables."""

_MOODS = {"good": "green", "doubt": "yellow", "bad": "bold red"}


def said(out: Console, text: str, style: str = "", *, indent: int = 6) -> None:
    """Text of any length: broken between words where a terminal ends, one line in a pipe."""
    if out.is_terminal:
        text = textwrap.fill(
            text,
            max(out.width, 2 * indent),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    out.print(escape(text), style=style, highlight=False, soft_wrap=True)


def _about_intervals(measurement: Measurement) -> str:
    """What ± means here, or why there is none."""
    shown = [m for p in measurement.points for m in p.metrics.values() if m.value is not None]
    if not any(m.ci_low is not None for m in shown):
        few = [m.no_interval for m in shown if m.repeats and m.repeats < ENOUGH_REPEATS]
        why = next((reason for reason in few if reason), None)
        return f"No ±: {why}." if why else "No figure has an interval."
    least = min(m.repeats for m in shown if m.ci_low is not None)
    independent = least < ENOUGH_TO_CORRELATE
    taken = f" over repeats taken as independent ({IF_NOT_INDEPENDENT})" if independent else ""
    one = f"± or (from–to) is a 95 % interval{taken}"
    return f"{one}; a figure without one is not bounded by its values."


def _title(run: Run) -> str:
    server = run.server or {}
    where = f"{run.spec.gpus} x {run.spec.gpu.name}" if run.spec.gpus else "no GPU"
    if run.spec.engine.kind == "endpoint":
        return f"{server.get('served_model', '?')} at {server.get('base_url', '?')}"
    engine = f"{run.spec.engine.kind} {server.get('engine_version') or ''}"
    return f"{run.spec.model.name} · {weights_words(run.spec.quant.name)} · {where} · {engine}"


def _conditions(run: Run, measurement: Measurement) -> str:
    w = run.spec.workload
    host = f"{run.provenance.get('host_cpu') or 'unknown CPU'}, "
    host += host_cores(run)
    lengths = [v if isinstance(v, int) else v.dist for v in (w.input_tokens, w.output_tokens)]
    return (
        f"{w.name}: {prompt_words(measurement, lengths[0])}, {lengths[1]} out · "
        f"{run.spec.load.repeats} repeats · host {host} · {run.anchor.wall_iso}"
    )


def thinks(point: PointMeasurement) -> bool:
    """Whether the answer begins visibly after the first token. The bytes of one character can be
    spread over so many tokens that three come without text of their own: that is no reasoning."""
    first, answer = point.metrics["ttft_p50_ms"], point.metrics[_ANSWER[1]]
    if not answer.n or first.value is None or answer.value is None:
        return bool(answer.n)
    one_character_ms = _TOKENS_WITHOUT_TEXT * (point.metrics["itl_p50_ms"].value or 0.0)
    return answer.value > max(1.02 * first.value, first.value + one_character_ms)


def _points_grid(points: Sequence[PointMeasurement]) -> Grid:
    open_loop = any(p.point.mode != "closed" for p in points)
    columns: tuple[tuple[str, str], ...] = _OPEN_COLUMNS if open_loop else _COLUMNS
    if any(thinks(p) for p in points):
        at = [n for _, n in columns].index("ttft_p99_ms")
        columns = (*columns[:at], _ANSWER, *columns[at:])
    rows = tuple(
        (load_words(p), *(_cell(p.metrics[n]) for _, n in columns), p.trust) for p in points
    )
    titles = (column("load"), *numbers(*(t for t, _ in columns)), column("trust"))
    return Grid(columns=titles, rows=rows)


def _latency_grid(points: Sequence[PointMeasurement]) -> Grid:
    """How long things took, and how much of it was measured."""
    names = (("TTFT", "ttft"), ("ITL", "itl"), ("E2E", "e2e"))
    columns = [
        (f"{title} {which}", f"{stem}_{which}_ms")
        for title, stem in names
        for which in ("mean", "p90", "p95")
    ]
    rows = tuple(
        (
            load_words(p),
            _cell(p.metrics["total_tokens_per_s"]),
            *(_cell(p.metrics[name]) for _, name in columns),
            f"{p.requests:,}",
            f"{sum(p.window_s):,.{0 if sum(p.window_s) >= 10 else 1}f}",
        )
        for p in points
    )
    titles = ("total tok/s", *(title for title, _ in columns), "requests", "measured s")
    return Grid(columns=(column("load"), *numbers(*titles)), rows=rows)


def _of_the_hardware(point: PointMeasurement) -> str | None:
    """Which share of plan and bound a load point reached; None where neither is known."""
    m = point.metrics
    top, rate = m["plan_tokens_per_s"].value, m["output_tokens_per_s"].value
    if top is None or rate is None:
        return None
    names = ("mbu", "mfu", "engine_mbu", "engine_mfu")
    titles = ("MBU", "MFU", "MBU by the engine", "MFU by the engine")
    shares = [
        f"{title} {value:.1%}"
        for name, title in zip(names, titles, strict=True)
        if (value := m[name].value) is not None
    ]
    said = f"{load_words(point)}: {rate / top:.1%} of the plan of {quantity(top)} tok/s"
    bound = m["bound_tokens_per_s"].value if "bound_tokens_per_s" in m else None
    if bound:
        at_most = f"{rate / bound:.1%} of the bound at this load, {quantity(bound)}"
        shares.insert(0, at_most)
    return " · ".join((said, *shares))


def _predicted(error: FitError) -> str:
    """One quantity of the fit, predicted beside measured."""
    line = f"{error.quantity}: predicted {amount(error.predicted, error.unit)} {error.unit}, "
    if error.measured is None or error.error is None:
        return line + "not measured"
    return (
        line + f"measured {amount(error.measured, error.unit)} ({error.error:+.1%}, {error.source})"
    )


def _cell(metric: Metric) -> str:
    if metric.unit == "1":
        return "–" if metric.value is None else f"{metric.value:.1%}"
    if metric.value is None:
        return "withheld" if metric.withheld_value is not None else "–"
    return with_interval(metric.value, metric.ci_low, metric.ci_high)


def _print_findings(out: Console, measurement: Measurement) -> None:
    """Failures and warnings, each once with the loads that have it; passes are counted."""
    where: dict[tuple[str, str, str], list[str]] = {}
    for point in measurement.points:
        for finding in point.findings:
            if finding.severity in ("fail", "warn"):
                failed = finding.severity == "fail"
                word = _PARTLY.get(finding.withholds, "fail") if failed else finding.severity
                key = (word, finding.code, finding.text)
                where.setdefault(key, []).append(load_words(point))
    for finding in measurement.findings:
        where.setdefault((finding.severity, finding.code, finding.text), []).append("the run")
    order = {"fail": 0, "withheld": 1, "no energy": 1, "warn": 2, "info": 3, "pass": 4}
    for (severity, code, text), labels in sorted(where.items(), key=lambda i: order[i[0][0]]):
        style = "red" if severity == "fail" else ("dim" if order[severity] > 2 else "yellow")
        said(out, f"{severity.upper():<4}  {code} ({', '.join(labels)}): {text}", style)
    out.print(checks_line(measurement), style="dim", highlight=False)


def print_runs(rows: Sequence[dict[str, Any]], results_dir: str) -> None:
    """The stored runs, oldest first."""
    out = console()
    if not rows:
        out.print(f"no runs below {escape(results_dir)} yet: type bench to make one")
        return
    columns = (
        column("run"),
        column("gpu"),
        column("engine"),
        column("workload"),
        *numbers("best output tok/s"),
        column("at"),
        column("trust"),
    )
    readable = [row for row in rows if "unreadable" not in row]
    if readable:
        print_grid(out, Grid(columns=columns, rows=tuple(map(_run_cells, readable))))
    for row in rows:
        if "unreadable" in row:
            line = f"unreadable: {row['run']}: {row['unreadable']}"
            said(out, line, "yellow")


def _run_cells(row: dict[str, Any]) -> tuple[str, ...]:
    rate = row["output_tokens_per_s"]
    shown = "–" if rate is None else with_interval(rate["value"], rate["ci_low"], rate["ci_high"])
    name = "/".join(row["run"].rsplit("/", 2)[-2:])
    trust = row["trust"] or "–"
    if trust == "incomplete":
        trust = short(row["status"], row.get("ended_by"))
    gpu = f"{row['gpus']} x {row['gpu']}" if row["gpus"] else "–"
    return (name, gpu, row["engine"], row["workload"], shown, row["best_load"] or "–", trust)


def print_calibration(results: Sequence[Calibration]) -> None:
    """The instrument's error per load."""
    columns = numbers(
        "streams",
        "server TTFT ms",
        "server ITL ms",
        "TTFT error p50 ms",
        "TTFT error p99 ms",
        "ITL error p50 ms",
        "ITL error p99 ms",
        "CPU µs/token",
        "max tokens/s",
    )
    rows = tuple(
        (
            f"{r.shape.concurrency:,}",
            quantity(r.shape.ttft_ms),
            quantity(r.shape.itl_ms),
            f"{r.ttft_error_p50_ms:+.3f}",
            f"{r.ttft_error_p99_ms:+.3f}",
            f"{r.itl_error_p50_ms:.3f}",
            f"{r.itl_error_p99_ms:.3f}",
            f"{r.client_cpu_us_per_token:.1f}",
            "–" if r.max_tokens_per_s is None else quantity(r.max_tokens_per_s),
        )
        for r in results
    )
    print_grid(console(), Grid(title="the load generator's own error", columns=columns, rows=rows))
