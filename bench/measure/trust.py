"""What a run as a whole takes from its load points: none of them may be trusted more than it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.measure.checks.moves import withhold
from bench.measure.measurement import PointMeasurement, run_limit, takers
from bench.values.finding import Finding


def held_to_run(
    points: Sequence[PointMeasurement], findings: Sequence[Finding], rehearsal: str | None = None
) -> tuple[PointMeasurement, ...]:
    """The load points under what is said of the whole run: of one that is NOT VALID every figure
    is withheld, so that no table, export or verdict made from a load point alone shows it."""
    limit = run_limit(findings, rehearsal)
    if limit is None:
        return tuple(points)
    cause = takers(findings)[:1]
    return tuple(replace(p, metrics=withhold(p.metrics, cause), run_limit=limit) for p in points)
