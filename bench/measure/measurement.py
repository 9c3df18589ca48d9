"""What a run says: its load points with their metrics and findings, and how far all of it may be
trusted. The words of trust, from the narrowest to the widest question:

- `sound_alone`: no check of the load point itself takes its output rate away.
- `valid`: so, and its run takes nothing away either; of a run: of every load that speaks for it.
- `stands`: at some load not everything is taken away, so that what is left may be quoted.
- `trust`: the one word that tables and exports show, made from all of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from bench.measure.metrics import Metric
from bench.values.finding import Finding, is_valid
from bench.values.fit_error import FitError
from bench.values.prediction import PredictionError
from bench.values.record import LoadPoint

Trust = Literal["ok", "partly", "rehearsal", "incomplete", "FAILED"]
"""How far what stands beside it may be quoted, the best first."""
TRUST: tuple[Trust, ...] = get_args(Trust)


@dataclass(frozen=True, kw_only=True)
class PointMeasurement:
    """All metrics of one load point over its repeats, with the findings about it."""

    point: LoadPoint
    requests: int
    window_s: tuple[float, ...]
    metrics: dict[str, Metric]
    findings: tuple[Finding, ...] = ()
    power: Mapping[str, Any] | None = None
    """What every device did in every window, as plain data."""
    run_limit: Trust | None = None
    """The most that its run lets it be trusted (measure/trust.py); None: no limit."""

    @property
    def valid(self) -> bool:
        """Whether its headline may be shown: nothing takes all away, or the output rate."""
        return self.sound_alone and self.run_limit not in ("incomplete", "FAILED")

    @property
    def sound_alone(self) -> bool:
        """The same by its own checks, whatever is wrong with the run: of one that is NOT VALID
        every rate is withheld, so that the figure does not say whose failure took it."""
        return not any(f.takes("output_tokens_per_s") for f in self.findings)

    @property
    def trust(self) -> Trust:
        """ok, partly (some figures are withheld), rehearsal, incomplete (its run did not finish) or
        FAILED, as tables say it; never better than its run's."""
        hidden = any(f.severity == "fail" and f.withholds == "some" for f in self.findings)
        own: Trust = "FAILED" if not self.sound_alone else "partly" if hidden else "ok"
        return max((own, self.run_limit or "ok"), key=TRUST.index)


def worst(of: Iterable[Trust | None]) -> Trust | None:
    """How far several runs together may be trusted; None where none of them put a load on."""
    return max((t for t in of if t is not None), key=TRUST.index, default=None)


def takers(findings: Sequence[Finding]) -> list[Finding]:
    """What is said of a run that takes every figure from its load points."""
    return [f for f in findings if not is_valid([f]) and f.code != "search"]


def run_limit(findings: Sequence[Finding], rehearsal: str | None) -> Trust | None:
    """The most that any load point of a run may be trusted; None where nothing limits it.

    A run that did not finish is told from one that a check refused: what it has is no result yet,
    but nothing was found wrong with it. A search in which nothing holds names no limit, and what
    was measured on its way stands."""
    wrong = takers(findings)
    if any(f.code != "incomplete" for f in wrong):
        return "FAILED"
    if wrong:
        return "incomplete"
    return None if rehearsal is None else "rehearsal"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a run says: one entry per load point, and findings about the run as a whole."""

    points: tuple[PointMeasurement, ...]
    findings: tuple[Finding, ...] = ()
    calibration: dict[str, Any] = field(default_factory=dict)
    fit_errors: tuple[FitError, ...] = ()
    prediction_errors: tuple[PredictionError, ...] = ()
    power: Mapping[str, Any] | None = None
    """Source, devices and idle baselines of the run's power, as plain data."""
    rehearsal: str | None = None
    """What of the run was a stand-in; nothing of it was measured then."""
    found_index: int | None = None
    """The load point that a search found: it speaks for the run, the others were on its way."""

    @property
    def headline(self) -> tuple[PointMeasurement, ...]:
        """The load points that speak for the run: all, or the one that a search found."""
        if self.found_index is None:
            return self.points
        return tuple(p for p in self.points if p.point.index == self.found_index)

    @property
    def sound(self) -> tuple[PointMeasurement, ...]:
        """Those of the headline that may be quoted: a load point that failed takes itself away, a
        failure of the run as a whole takes all."""
        return tuple(p for p in self.headline if p.valid) if is_valid(self.findings) else ()

    @property
    def stands(self) -> bool:
        """Whether any of it may be quoted: at some load not everything is taken away."""
        return is_valid(self.findings) and any(is_valid(p.findings) for p in self.headline)

    @property
    def valid(self) -> bool:
        """Whether the run and every load point that speaks for it can be trusted."""
        return bool(self.headline) and len(self.sound) == len(self.headline)

    @property
    def trust(self) -> Trust | None:
        """How far the run may be trusted, in the words of its load points; None where no load was
        put on it and nothing failed: there is nothing to trust."""
        limit = run_limit(self.findings, self.rehearsal)
        if limit is not None:
            return limit if takers(self.findings) or is_valid(self.findings) else "FAILED"
        if not self.headline:
            return None
        if not self.stands:
            return "FAILED"
        return "ok" if all(p.trust == "ok" for p in self.headline) else "partly"
