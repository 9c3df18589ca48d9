"""What a stored Run gives to a cost: its throughput, its SLO, and the words it has to carry."""

from __future__ import annotations

from typing import Any, Literal

from bench.measure.measurement import Measurement, PointMeasurement
from bench.measure.metrics import Metric
from bench.money.throughput import (
    MeasuredQuality,
    TcoRun,
    ThroughputPoint,
)
from bench.values.confidence import normal_quantile
from bench.values.record import Run
from bench.values.spec import SloSpec

BOARD = "GPU board"
LOPSIDED = 0.1
"""By which share of its half-width the halves of an interval must differ to be drawn apart."""

Word = Literal["invalid", "dummy", "replay", "synthetic"]


def tco_run(run: Run, measurement: Measurement) -> TcoRun:
    """The cost model's view of a Run; withheld figures go along under the word `invalid`."""
    spec, server = run.spec, run.server or {}
    words = _words(run, measurement)
    withheld = "invalid" in words
    boards = [p.metrics["idle_resident_w"] for p in measurement.headline]
    idle = [w for m in boards if m.scope == BOARD and (w := _known(m, withheld)) is not None]
    on_cpu = spec.gpu.name == "cpu"
    return TcoRun(
        path=run.path,
        model=spec.model.name,
        quant=spec.quant.name,
        gpu=spec.gpu.name,
        gpus=spec.gpus,
        engine=f"{spec.engine.kind} {server.get('engine_version') or ''}".strip(),
        host=str(run.provenance.get("host_cpu") or "") if on_cpu else "",
        points=tuple(_point(p, spec.workload.slo, withheld) for p in measurement.headline),
        as_of=run.anchor.wall_iso[:10],
        words=words,
        idle_w=max(idle, default=None),
        searched=measurement.found_index is not None,
        licence=spec.model.licence,
        quality=measured_quality(run),
    )


def _power(point: PointMeasurement, withheld: bool) -> dict[str, Any]:
    """W under this load and its interval; nothing where no board was metered. A processor alone
    is not the server's W."""
    load = point.metrics["power_mean_w"]
    watts = _known(load, withheld)
    if watts is None or load.scope != BOARD:
        return {}
    return {"load_w": watts, "power_relative_ci": _relative_ci(load)}


def _relative_ci(metric: Metric) -> float | None:
    """Half-width of the 95 % interval as a share of the value."""
    if not metric.value or metric.ci_low is None or metric.ci_high is None:
        return None
    return (metric.ci_high - metric.ci_low) / 2 / metric.value


def _relative_ends(metric: Metric) -> tuple[float, float] | None:
    """Both ends of the interval as shares of the value, where its halves differ by a tenth."""
    value, low, high = metric.value, metric.ci_low, metric.ci_high
    if not value or low is None or high is None or not 0 < low <= value <= high:
        return None
    if abs((high - value) - (value - low)) <= LOPSIDED * (high - low) / 2:
        return None
    return low / value, high / value


def measured_quality(run: Run) -> MeasuredQuality | None:
    """The pass rate of the first task whose answers' tokens were counted, with its 95 % interval.

    Tokens are those really spent per answer, thinking included. None without such a task: scores
    of choices (log-likelihoods) generate nothing and have no cost per answer.
    """
    result = run.quality
    if result is None or result.status != "complete":
        return None
    for answers in result.answers:
        if answers.input_tokens is None or answers.output_tokens is None:
            continue
        score = next((s for s in result.scores if s.task == answers.task and not s.group), None)
        if score is None or not 0 < score.value <= 1:
            continue
        half = None if score.stderr is None else normal_quantile() * score.stderr
        return MeasuredQuality(
            pass_rate=score.value,
            low=None if half is None else max(0.0, score.value - half),
            high=None if half is None else min(1.0, score.value + half),
            input_tokens_per_task=answers.input_tokens,
            output_tokens_per_task=answers.output_tokens,
        )
    return None


def _words(run: Run, measurement: Measurement) -> tuple[Word, ...]:
    found: list[Word] = []
    if not measurement.sound or run.status != "complete":
        found.append("invalid")
    if run.spec.model.weights == "dummy":
        found.append("dummy")
    source = None if run.telemetry is None else run.telemetry.header.source
    if source == "replay":
        found.append("replay")
    made_up = source == "synthetic" or measurement.rehearsal is not None
    if run.spec.engine.kind == "truth" or made_up:
        found.append("synthetic")
    return tuple(found)


def _point(point: PointMeasurement, slo: SloSpec, withheld: bool) -> ThroughputPoint:
    """A load point; `withheld` figures count only where the run carries the word for it."""
    rate = point.metrics["output_tokens_per_s"]
    prompts = point.metrics["input_tokens_per_s"]
    output, prompt = _known(rate, withheld), _known(prompts, withheld)
    known = output is not None and prompt is not None  # one of them alone is no mix
    cached = next((f.figure for f in point.findings if f.code == "prefix_cache"), None)
    return ThroughputPoint(
        input_tokens_per_s=prompt if prompt is not None and known else 0.0,
        output_tokens_per_s=output if output is not None and known else 0.0,
        relative_ci=_relative_ci(rate),
        relative_ends=_relative_ends(rate),
        slo_met=slo_met(point, slo, withheld),
        valid=point.sound_alone,
        label=point.point.label,
        cache_hit_rate=cached,
        **_power(point, withheld),
    )


def slo_met(point: PointMeasurement, slo: SloSpec, withheld: bool = False) -> bool | None:
    """Whether the SLO's percentile of TTFT and of TPOT held; None where it was not measured or is
    `withheld` and that does not count.

    TTFT counts from the scheduled time where requests arrive by a schedule. Percentiles that are
    not measured are judged by the share of requests that met both limits.
    """
    ttft = "ttft" if point.point.mode == "closed" else "ttft_sched"
    limits = {
        f"{ttft}_p{slo.percentile:g}_ms": slo.ttft_ms,
        f"tpot_p{slo.percentile:g}_ms": slo.tpot_ms,
    }
    if not limits.keys() <= point.metrics.keys():
        good, every = (
            _known(point.metrics[n], withheld) for n in ("goodput_requests_per_s", "requests_per_s")
        )
        return None if good is None or not every else good / every >= slo.percentile / 100
    values = [(_known(point.metrics[name], withheld), limit) for name, limit in limits.items()]
    if any(value is None for value, _ in values):
        return None
    return all(value is not None and value <= limit for value, limit in values)


def _known(metric: Metric, withheld: bool) -> float | None:
    return metric.withheld_value if withheld and metric.value is None else metric.value
