"""One variant of a comparison: its runs (rounds), what they measured, and its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.measure.metrics import Measurement, Metric, PointMeasurement
from bench.quality.trust import changed_files
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
            # Scores of files that changed after the speed was measured are another artefact's.
            before = measured.run.provenance.get("weights_sha256")
            if not changed_files(before, result.weights_sha256):
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
    """Every run a variant of its own, numbered where names repeat: `none`, `none #2`."""
    seen: dict[str, int] = {}
    variants = []
    for one in measured:
        name = label(one.run.spec)
        seen[name] = seen.get(name, 0) + 1
        shown = name if seen[name] == 1 else f"{name} #{seen[name]}"
        variants.append(Variant(name=shown, rounds=(one,)))
    return tuple(variants)


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
    """A metric of the newest round at one load; None where it was not measured there."""
    if load is None:
        return None
    point = point_at(variant.rounds[-1].measurement, load)
    return None if point is None else point.metrics.get(name)
