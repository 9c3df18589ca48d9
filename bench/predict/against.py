"""A stored prediction against what was then measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.measure.checks.server import unlike_prompt
from bench.measure.measurement import PointMeasurement
from bench.values.prediction import Prediction, PredictionError


def errors(
    predicted: Sequence[Prediction], points: Sequence[PointMeasurement]
) -> tuple[PredictionError, ...]:
    """Every predicted figure that was measured and not withheld, by load point."""
    found = []
    by_load: Mapping[str, PointMeasurement] = {p.point.label: p for p in points}
    for one in predicted:
        point = by_load.get(one.load)
        for name, band in one.figures.items():
            metric = None if point is None else point.metrics.get(name)
            if point is None or metric is None or not metric.value:
                continue
            if unlike_prompt(point.findings) is not None:
                continue  # other prompts were served than the prediction is about
            found.append(
                PredictionError(
                    load=one.load,
                    metric=name,
                    unit=metric.unit,
                    predicted=band,
                    measured=metric.value,
                    error=band.value / metric.value - 1,
                    inside=band.low <= metric.value <= band.high,
                    measured_low=metric.ci_low,
                    measured_high=metric.ci_high,
                )
            )
    return tuple(found)
