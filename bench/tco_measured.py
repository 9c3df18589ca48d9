"""What a stored Run gives to a cost: its throughput, its SLO, and the words it has to carry."""

from __future__ import annotations

from typing import Literal

from bench.cost import TcoRun, ThroughputPoint
from bench.metrics import Measurement, Metric, PointMeasurement
from bench.record import Run
from bench.spec import SloSpec

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
    )


def _words(run: Run, measurement: Measurement) -> tuple[Word, ...]:
    found: list[Word] = []
    if not measurement.valid:
        found.append("invalid")
    if run.spec.model.weights == "dummy":
        found.append("dummy")
    if run.spec.engine.kind == "truth":
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
