"""One variant of a comparison: its runs (rounds), what they measured, and its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.compare.likeness import settings
from bench.measure.measurement import Measurement, PointMeasurement
from bench.measure.metrics import Metric
from bench.measure.stats import mean_interval
from bench.quality.trust import NOT_OF_THE_MODEL
from bench.values.drafting import name_of
from bench.values.record import QualityItem, QualityResult, Run
from bench.values.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A stored run with what is derived from it; its raw points are not needed any more."""

    run: Run
    measurement: Measurement
    items: tuple[QualityItem, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Variant:
    """All runs of one variant, oldest first: rounds of the same thing."""

    name: str
    rounds: tuple[Measured, ...]

    @property
    def first(self) -> Run:
        """The run that speaks for the configuration of all."""
        return self.rounds[0].run

    @property
    def runs(self) -> tuple[Run, ...]:
        """The stored runs, oldest first."""
        return tuple(m.run for m in self.rounds)

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """What the runs measured, oldest first."""
        return tuple(m.measurement for m in self.rounds)

    @property
    def loaded(self) -> bool:
        """Whether a load was put on any of the runs."""
        return any(m.points for m in self.measurements)

    @property
    def quality(self) -> tuple[QualityResult, tuple[QualityItem, ...]] | None:
        """The newest complete quality result with its items; None when none was scored."""
        for measured in reversed(self.rounds):
            result = measured.run.quality
            if result is None or result.status != "complete" or not measured.items:
                continue
            failed = [f.code for f in measured.measurement.findings if f.severity == "fail"]
            if not any(code in NOT_OF_THE_MODEL for code in failed):
                return result, measured.items
        return None


def group(measured: Sequence[Measured]) -> tuple[Variant, ...]:
    """The runs by variant, in the order in which their variants first appear.

    Runs of one variant are rounds only in an interleaved series; elsewhere (a run compared with
    another of the same variant) the caller keeps them apart.
    """
    found: dict[str, list[Measured]] = {}
    for one in measured:
        found.setdefault(label(one.run.spec), []).append(one)
    return tuple(
        Variant(name=name, rounds=tuple(sorted(rounds, key=lambda m: m.run.anchor.wall_iso)))
        for name, rounds in found.items()
    )


def apart(measured: Sequence[Measured]) -> tuple[Variant, ...]:
    """Every run a variant of its own; where names repeat, what differs follows (`none, itl 11 ms`),
    and a number where nothing of the settings does (`none #2`)."""
    labels = [label(one.run.spec) for one in measured]
    parts = told_by(labels, [settings(one.run) for one in measured])
    seen: dict[str, int] = {}
    variants = []
    for one, name in zip(measured, parts, strict=True):
        seen[name] = seen.get(name, 0) + 1
        shown = name if seen[name] == 1 else f"{name} #{seen[name]}"
        variants.append(Variant(name=shown, rounds=(one,)))
    return tuple(variants)


def beside(base: Variant, series: Variant) -> Variant:
    """A series of runs set against a baseline of the same name: told by what differs, else by the
    folder of its runs (`none (change)` for change/launch-1 and so on), else by a number."""
    if series.name != base.name:
        return series
    told = told_by([base.name, series.name], [settings(base.first), settings(series.first)])[1]
    folder = {Path(run.path).parent.name for run in series.runs}
    others = {Path(run.path).parent.name for run in base.runs}
    if told != series.name:
        return replace(series, name=told)
    if len(folder) == 1 and not folder & others:
        return replace(series, name=f"{series.name} ({folder.pop()})")
    return replace(series, name=f"{series.name} #2")


_UNITS = ("ms", "s", "gib", "w", "k")
_MOST_PARTS = 2
"""More parts than this make a name that nobody reads: the table of differences has all."""


def told_by(labels: Sequence[str], all_settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The labels, those that repeat with the settings in which their runs differ."""
    names = []
    for name, own in zip(labels, all_settings, strict=True):
        alike = [s for n, s in zip(labels, all_settings, strict=True) if n == name]
        keys = [k for k in own if any(s.get(k) != own[k] for s in alike)]
        parts = [_part(k, own[k]) for k in keys[:_MOST_PARTS]]
        names.append(", ".join((name, *parts)))
    return names


def _part(key: str, value: Any) -> str:
    """`engine.itl_ms` 11.0 as `itl 11 ms`."""
    words = key.rpartition(".")[2].split("_")
    unit = f" {words.pop()}" if len(words) > 1 and words[-1] in _UNITS else ""
    said = f"{value:g}" if isinstance(value, float) else str(value)
    said = said if len(said) <= 24 else said[:23] + "…"
    return f"{' '.join(words)} {'none' if value is None else said}{'' if value is None else unit}"


def label(spec: RunSpec) -> str:
    """The variant's name: its quantisation, with the folder where weights of one's own are used,
    and what drafts tokens for it."""
    weights, drafts = spec.model.weights, name_of(spec)
    own = "" if weights in ("hub", "bundled") else f" ({weights.rstrip('/').rsplit('/', 1)[-1]})"
    return f"{spec.quant.name}{own}" + (f" + {drafts}" if drafts else "")


def point_at(measurement: Measurement, load: str) -> PointMeasurement | None:
    """The load point of that label."""
    return next((p for p in measurement.points if p.point.label == load), None)


def figure(variant: Variant, load: str | None, name: str) -> Metric | None:
    """A metric at one load, the mean over the variant's runs; None where no run measured it there.

    What one of them withholds is withheld: the row is trusted as its worst run is. The interval of
    several runs is over them, from three on.
    """
    found = _in_rounds(variant, load, name)
    if len(found) < 2:
        return found[0] if found else None
    hidden = next((m for m in found if m.value is None and m.withheld_value is not None), None)
    if hidden is not None:
        return hidden
    known = [m for m in found if m.value is not None]
    if not known:
        return found[-1]
    values = [m.value for m in known if m.value is not None]
    interval = mean_interval(values)
    low, high = interval.ends or (None, None)
    return replace(
        known[-1],
        value=float(np.mean(values)),
        ci_low=None if low is None else max(0.0, low),
        ci_high=high,
        n=sum(m.n for m in known),
        repeats=len(values),
        by_repeat=dict(enumerate(values)),
        no_interval=interval.why_not,
    )


def runs_behind(variant: Variant, load: str | None, name: str) -> int:
    """How many of the variant's runs that figure is the mean of: not every round has every load."""
    return sum(m.value is not None for m in _in_rounds(variant, load, name))


def _in_rounds(variant: Variant, load: str | None, name: str) -> list[Metric]:
    points = () if load is None else (point_at(m, load) for m in variant.measurements)
    return [m for p in points if p is not None and (m := p.metrics.get(name)) is not None]
