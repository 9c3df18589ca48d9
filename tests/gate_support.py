"""Variants made of figures alone, for tests of what is concluded from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.compare.variant import Measured, Variant
from bench.config.compose import compose, run_spec
from bench.measure.checks.moves import withhold
from bench.measure.measurement import Measurement, PointMeasurement
from bench.measure.metrics import METRICS, Metric
from bench.values.finding import Finding
from bench.values.record import Anchor, LoadPoint, Run

Figures = Mapping[str, Sequence[float]]
"""Metric -> its value in each repeat."""


def metric(values: Sequence[float], n: int = 0, **changes: Any) -> Metric:
    given: dict[str, Any] = {
        "value": sum(values) / len(values) if values else None,
        "unit": "1",
        "n": n,
        "repeats": len(values),
        "by_repeat": dict(enumerate(values)),
    }
    return Metric(**{**given, **changes})


def point(
    figures: Figures,
    concurrency: int = 16,
    *,
    failed: str | None = None,
    n: int = 0,
    **metrics: Metric,
) -> PointMeasurement:
    nothing = {d.name: Metric(value=None, unit=d.unit) for d in METRICS}
    code = () if failed is None else (Finding(code=failed, severity="fail", text="it failed"),)
    return PointMeasurement(
        point=LoadPoint(index=concurrency, repeat=0, mode="closed", concurrency=concurrency),
        requests=n,
        window_s=(1.0,),
        metrics=withhold(
            {**nothing, **{k: metric(v, n) for k, v in figures.items()}, **metrics}, code
        ),
        findings=code,
    )


def measured(
    *points: PointMeasurement,
    at: str = "2026",
    findings: Sequence[Finding] = (),
    power: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Measured:
    spec = run_spec(compose(["engine=truth", "gpus=0", "checkpoints_dir=/nowhere"]))
    run = Run(
        spec=spec,
        anchor=Anchor(monotonic_ns=0, wall_iso=at),
        status="complete",
        **{"path": f"/results/tiny/run-{at}", **changes},
    )
    measurement = Measurement(points=points, findings=tuple(findings), power=power)
    return Measured(run=run, measurement=measurement)


def variant(*rounds: Measured, name: str = "none") -> Variant:
    return Variant(name=name, rounds=rounds)


def launched(figures: Figures, name: str = "none", concurrency: int = 16, **more: Any) -> Variant:
    """A variant of as many launches as each metric has values, one repeat each."""
    count = len(next(iter(figures.values())))
    runs = [
        measured(
            point({k: [v[i]] for k, v in figures.items()}, concurrency, **more), at=f"2026-{i}"
        )
        for i in range(count)
    ]
    return variant(*runs, name=name)
