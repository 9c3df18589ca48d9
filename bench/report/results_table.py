"""The Markdown table of runs on real GPUs, as README shows it: one row per run and load point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.compare.compare import usd_per_mtok
from bench.measure.measurement import Measurement, PointMeasurement
from bench.measure.metrics import Metric
from bench.report.numbers import quantity, with_interval
from bench.values.record import Run

BEGIN, END = "<!-- results: begin (scripts/readme_results.py) -->", "<!-- results: end -->"
NOTHING = "No run on a GPU is stored yet."
_HEAD = (
    "model",
    "quant",
    "GPU",
    "load",
    "output tok/s",
    "plan",
    "MBU",
    "TTFT p50, ms",
    "TPOT p50, ms",
    "J/token",
    "weights, GiB",
    "need, GiB",
    "$/M tokens",
)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A stored run and what is derived from it."""

    run: Run
    measurement: Measurement


def results_table(stored: Sequence[Stored]) -> str:
    """The table of every valid load point on GPUs, by model, quantisation, GPU and load."""
    rows = [
        (s.run, point)
        for s in stored
        if s.run.spec.gpus > 0 and s.measurement.stands and s.run.status == "complete"
        for point in s.measurement.points
        if point.valid
    ]
    if not rows:
        return NOTHING
    rows.sort(key=lambda row: (*_labels(row[0]), row[1].point.concurrency or 0, row[0].path or ""))
    lines = [_line(_HEAD), _line(["---"] * len(_HEAD))]
    lines += [_line(_cells(run, point)) for run, point in rows]
    lines += [
        "",
        "± is a 95 % interval over repeats. $/M tokens is the GPU's rent at the lowest and the "
        "highest price seen. –: not measured.",
    ]
    if any(run.spec.model.weights == "dummy" for run, _ in rows):
        lines.append("* random weights: speed, memory and power are real, there is no quality.")
    return "\n".join(lines)


def put(text: str, table: str) -> str:
    """The text with the table between the two markers; ValueError without them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the markers are missing: {BEGIN} and {END}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def _labels(run: Run) -> tuple[str, str, str]:
    spec = run.spec
    star = "*" if spec.model.weights == "dummy" else ""
    return spec.model.name + star, spec.quant.name, f"{spec.gpus}× {spec.gpu.title}"


def _cells(run: Run, point: PointMeasurement) -> list[str]:
    m = point.metrics
    usd = usd_per_mtok(run.spec, m.get("output_tokens_per_s"))
    return [
        *_labels(run),
        point.point.label,
        _shown(m.get("output_tokens_per_s")),
        _shown(m.get("plan_tokens_per_s")),
        _percent(m.get("mbu")),
        _shown(m.get("ttft_p50_ms")),
        _shown(m.get("tpot_p50_ms")),
        _of_the_board(m, "energy_per_output_token_j"),
        _shown(m.get("weights_gib")),
        _of_the_board(m, "need_estimate_gib"),
        "–" if usd is None else f"{quantity(usd[0])} to {quantity(usd[1])}",
    ]


def _of_the_board(metrics: Mapping[str, Metric], name: str) -> str:
    """What rests on the board's sensors; a made-up board and a recording have measured nothing."""
    reserved = metrics.get("engine_reserved_gib")
    sources = {m.arose for m in (reserved, metrics.get(name)) if m is not None}
    return "–" if sources & {"synthetic", "replay"} else _shown(metrics.get(name))


def _shown(metric: Metric | None) -> str:
    if metric is None or metric.value is None:
        return "–"
    return with_interval(metric.value, metric.ci_low, metric.ci_high)


def _percent(metric: Metric | None) -> str:
    return "–" if metric is None or metric.value is None else f"{metric.value:.0%}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
