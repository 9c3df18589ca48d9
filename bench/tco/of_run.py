"""What a stored Run gives to a cost: its throughput, its SLO, and the words it has to carry."""

from __future__ import annotations

from typing import Any, Literal

from bench.metrics import Measurement, Metric, PointMeasurement
from bench.record import Run
from bench.spec import SloSpec
from bench.tco.cost import MeasuredQuality, TcoRun, ThroughputPoint

NORMAL_95 = 1.96  # standard errors to either side of a 95 % interval

Word = Literal["invalid", "dummy", "replay", "synthetic"]


def tco_run(run: Run, measurement: Measurement) -> TcoRun:
    """The cost model's view of a Run; withheld figures go along under the word `invalid`."""
    spec = run.spec
    return TcoRun(
        path=run.path,
        model=spec.model.name,
        quant=spec.quant.name,
        gpu=spec.gpu.name,
        gpus=spec.gpus,
        points=tuple(_point(p, spec.workload.slo) for p in measurement.points),
        as_of=run.anchor.wall_iso[:10],
        words=_words(run, measurement),
        licence=spec.model.licence,
        quality=measured_quality(run),
        **_power(measurement),
    )


def _power(measurement: Measurement) -> dict[str, Any]:
    """W under load, at the load point with the highest output rate, and idle with the model
    resident; nothing where no board was metered. A processor alone is not the server's W."""
    drawn = [
        (rate, p)
        for p in measurement.points
        if p.metrics["power_mean_w"].value is not None
        and p.metrics["power_mean_w"].scope == "GPU board"
        and (rate := p.metrics["output_tokens_per_s"].value) is not None
    ]
    if not drawn:
        return {}
    _, best = max(drawn, key=lambda pair: pair[0])
    load, idle = best.metrics["power_mean_w"], best.metrics["idle_resident_w"]
    relative_ci = None
    if load.value and load.ci_low is not None and load.ci_high is not None:
        relative_ci = (load.ci_high - load.ci_low) / 2 / load.value
    return {"load_w": load.value, "idle_w": idle.value, "power_relative_ci": relative_ci}


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
        half = None if score.stderr is None else NORMAL_95 * score.stderr
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
    if not measurement.valid:
        found.append("invalid")
    if run.spec.model.weights == "dummy":
        found.append("dummy")
    source = None if run.trace is None else run.trace.header.source
    if source == "replay":
        found.append("replay")
    if run.spec.engine.kind == "truth" or source == "synthetic":
        found.append("synthetic")
    return tuple(found)


def _point(point: PointMeasurement, slo: SloSpec) -> ThroughputPoint:
    rate = point.metrics["output_tokens_per_s"]
    output, prompt = _known(rate), _known(point.metrics["input_tokens_per_s"])
    relative_ci = None
    if rate.value and rate.ci_low is not None and rate.ci_high is not None:
        relative_ci = (rate.ci_high - rate.ci_low) / 2 / rate.value
    return ThroughputPoint(
        input_tokens_per_s=prompt or 0.0,
        output_tokens_per_s=output or 0.0,
        relative_ci=relative_ci,
        slo_met=slo_met(point, slo),
        valid=point.valid,
        label=point.point.label,
    )


def slo_met(point: PointMeasurement, slo: SloSpec) -> bool | None:
    """Whether the SLO's percentile of TTFT and of TPOT held; None where it was not measured."""
    limits = {
        f"ttft_p{slo.percentile:g}_ms": slo.ttft_ms,
        f"tpot_p{slo.percentile:g}_ms": slo.tpot_ms,
    }
    values = [
        (_known(point.metrics[n]), limit) for n, limit in limits.items() if n in point.metrics
    ]
    if len(values) < len(limits) or any(value is None for value, _ in values):
        return None
    return all(value is not None and value <= limit for value, limit in values)


def _known(metric: Metric) -> float | None:
    return metric.withheld_value if metric.value is None else metric.value
