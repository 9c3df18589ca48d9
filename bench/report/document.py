"""A run and its measurement as the JSON document that every `--json` prints."""

from __future__ import annotations

from typing import Any

from bench.measure.measurement import Measurement, PointMeasurement
from bench.power.table import EVERY_METRIC
from bench.values.codec import encode
from bench.values.record import Run


def run_document(run: Run, measurement: Measurement) -> dict[str, Any]:
    """Everything about a run that is not raw: metrics per load point, certificate, provenance."""
    return {
        "run": run.path,
        "status": run.status,
        "ended_by": run.ended_by,
        "valid": measurement.valid,
        "trust": measurement.trust,
        "rehearsal": measurement.rehearsal,
        "findings": encode(measurement.findings),
        "load_points": [point_document(p) for p in measurement.points],
        "formulas": {d.name: d.formula for d in EVERY_METRIC},
        "calibration": encode(run.calibration),
        "engine": encode(run.server),
        "engine_facts": encode(run.engine_facts),
        "fit": encode(run.fit),
        "fit_errors": encode(measurement.fit_errors),
        "prediction": encode(run.prediction),
        "prediction_errors": encode(measurement.prediction_errors),
        "power": measurement.power,
        "quality": encode(run.quality),
        "load_search": encode(run.load_search),
        "provenance": encode(run.provenance),
        "spec": encode(run.spec),
    }


def point_document(point: PointMeasurement) -> dict[str, Any]:
    """One load point: its setting, its metrics by name, whether it is valid and why not."""
    return {
        "load": point.point.label,
        "mode": point.point.mode,
        "concurrency": point.point.concurrency,
        "rate_per_s": point.point.rate_per_s,
        "rate_to_per_s": point.point.rate_to_per_s,
        "requests": point.requests,
        "window_s": list(point.window_s),
        **{name: encode(metric) for name, metric in point.metrics.items()},
        "valid": point.valid,
        "trust": point.trust,
        "findings": encode(point.findings),
        "power": point.power,
    }


def summary(run: Run, measurement: Measurement) -> dict[str, Any]:
    """One row of `bench runs`: the load point with the highest output rate stands for the run."""
    rates = [
        (m.value, p)
        for p in measurement.headline
        if (m := p.metrics["output_tokens_per_s"]).value is not None
    ]
    best = max(rates, key=lambda pair: pair[0] or 0.0)[1] if rates else None
    return {
        "run": run.path,
        "started": run.anchor.wall_iso,
        "model": run.spec.model.name,
        "quant": run.spec.quant.name,
        "gpus": run.spec.gpus,
        "gpu": run.spec.gpu.name,
        "engine": run.spec.engine.kind,
        "workload": run.spec.workload.name,
        "status": run.status,
        "ended_by": run.ended_by,
        "valid": measurement.valid,
        "trust": measurement.trust,
        "rehearsal": measurement.rehearsal,
        "best_load": None if best is None else best.point.label,
        "output_tokens_per_s": None
        if best is None
        else encode(best.metrics["output_tokens_per_s"]),
    }
