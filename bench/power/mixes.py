"""Load points of stored runs as mixes of prompt and output tokens: what the energy split is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.measure.measurement import Measurement, PointMeasurement
from bench.measure.prefix_cache import cached_share
from bench.power.split import MixPoint
from bench.power.table import HEADLINE
from bench.values.errors import InputError
from bench.values.record import Run, counting


@dataclass(frozen=True, kw_only=True)
class Mixes:
    """The load points that have an energy, and why the others do not. `source` is whose energy it
    is, `notes` what was assumed."""

    points: tuple[MixPoint, ...]
    left_out: tuple[str, ...] = ()
    source: str = "none"
    notes: tuple[str, ...] = ()


def mixes(runs: Sequence[tuple[Run, Measurement]]) -> Mixes:
    """One MixPoint per valid load point of runs that differ in load and workload alone.

    InputError when they differ in anything that draws power: model, engine, boards, limits.
    """
    _alike(runs)
    points: list[MixPoint] = []
    left_out: list[str] = []
    unknown_hits = False
    for run, measurement in runs:
        name = run.path.rsplit("/", 1)[-1]
        for point in measurement.points:
            label = f"{name} {point.point.label}"
            headline = point.metrics[HEADLINE]
            if not measurement.stands or headline.value is None:
                left_out.append(f"{label}: {headline.reason or 'the run is not valid'}")
                continue
            repeats = counting([d for d in run.points if d.point.index == point.point.index])
            share = cached_share(repeats)
            unknown_hits = unknown_hits or share is None
            points.append(_mix(label, point, share or 0.0))
    source = str((runs[0][1].power or {}).get("power_source", "none"))
    notes = ("prefix-cache hits are not known: taken as none",) if unknown_hits else ()
    return Mixes(points=tuple(points), left_out=tuple(left_out), source=source, notes=notes)


def _mix(label: str, point: PointMeasurement, cached: float) -> MixPoint:
    """Sums over the repeats' windows, prompt tokens less those that the cache held."""
    details = point.power or {}
    loads: Sequence[Mapping[str, Any]] = details["loads"]
    return MixPoint(
        label=label,
        energy_j=sum(float(w["energy_j"]) for w in details["windows"]),
        seconds=sum((w["end_ns"] - w["start_ns"]) / 1e9 for w in loads),
        input_tokens=(1 - cached) * sum(w["input_tokens"] for w in loads),
        output_tokens=sum(w["output_tokens"] for w in loads),
    )


def _alike(runs: Sequence[tuple[Run, Measurement]]) -> None:
    """Refuse runs that are not of one deployment, naming the first thing that differs."""
    first = _deployment(*runs[0])
    for run, measurement in runs[1:]:
        other = _deployment(run, measurement)
        differs = next((k for k in first if first[k] != other[k]), None)
        if differs is not None:
            raise InputError(
                f"{run.path} differs from {runs[0][0].path} in {differs} ({other[differs]}, not "
                f"{first[differs]}): one split is of one deployment."
            )


def _deployment(run: Run, measurement: Measurement) -> dict[str, Any]:
    power, spec = measurement.power or {}, run.spec
    devices = power.get("devices") or ()
    return {
        "model": (spec.model.name, spec.model.weights),
        "quant": spec.quant.name,
        "gpus": spec.gpus,
        "engine": spec.engine,
        "engine version": (run.server or {}).get("engine_version"),
        "power source": power.get("power_source"),
        "boards": tuple(d["uuid"] for d in devices),
        "power limit": tuple(d["power_limit_w"] for d in devices),
    }
