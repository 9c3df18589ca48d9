"""The run that would settle a claim: whether one can, under which words, and what it showed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.values.errors import InputError, nearest
from bench.values.override_text import quoted

if TYPE_CHECKING:
    from bench.claims.sources import Point, Sources
    from bench.claims.spec import Claim, Serving
    from bench.claims.verdict import Assessment
    from bench.values.record import Run

MEASURE_REPEATS = 6
"""Repeats of a measuring run: the interval of six is a third as wide as that of three."""

Measure = Callable[[tuple[str, ...]], "Run"]
"""From overrides to the Run they make; the command line composes and executes."""


def points(run: Run) -> list[Point]:
    from bench.claims.of_run import points_of
    from bench.derive import derive

    return points_of(run, derive(run))


def measured(
    claim: Claim,
    assessment: Assessment,
    sources: Sources,
    measure: Measure,
    endpoint: bool = False,
) -> Assessment:
    """The assessment with a new run under the claim's own conditions, where one can settle it.

    At an endpoint the claimed engine is the user's word where the server does not say what it is;
    a server that says it is another one does not count.
    """
    from bench.claims.assess import assess
    from bench.claims.measured import missing
    from bench.claims.of_run import as_told
    from bench.claims.settle import run_overrides
    from bench.claims.spec import Serving
    from bench.claims.variants import in_our_words

    claim = in_our_words(claim, sources.catalogue)
    says = claim.says
    why = _not_measured(
        claim,
        assessment,
        missing(says, sources.catalogue.gpus) if isinstance(says, Serving) else (),
    )
    if why is not None:
        print(f"bench: {claim.name}: nothing was measured: {why}.", file=sys.stderr)
        return assessment
    assert isinstance(says, Serving)
    if says.conditions.quant not in sources.catalogue.quants:
        raise InputError(
            f"{claim.name}: a run cannot be under precision {says.conditions.quant!r}, which is no "
            f"name of conf/quant.{nearest(str(says.conditions.quant), sources.catalogue.quants)}"
        )
    _check_host(claim, says, sources, endpoint)
    words = (*run_overrides(says.conditions, sources), f"load.repeats={MEASURE_REPEATS}")
    if endpoint:
        words = tuple("engine=endpoint" if w.startswith("engine=") else w for w in words)
        words += _told(says)
    found = tuple(points(measure(words)))
    if endpoint:
        found = tuple(as_told(p, says) for p in found)
    return assess(claim, replace(sources, points=found))


def _told(says: Serving) -> tuple[str, ...]:
    """What serves, for a server that does not say it: kept with the run, which settles the claim
    also the next time that it is asked about."""
    c = says.conditions
    told = (("engine.serves", c.engine), ("engine.version", c.engine_version))
    words = tuple(f"{k}={quoted(v)}" for k, v in told if v is not None)
    if c.speculative is None:
        return words
    return (*words, f"engine.speculative={str(c.speculative).lower()}")


def _not_measured(claim: Claim, assessment: Assessment, unsaid: tuple[str, ...]) -> str | None:
    """Why no run can settle a claim; None where one can."""
    from bench.claims.spec import Serving

    if not isinstance(claim.says, Serving):
        return "it states no measurement of one server"
    if assessment.verdict == "impossible":
        return "it is impossible as it stands, and no run can change that"
    if claim.absent is not None:
        return f"there is nothing to run ({claim.absent.what})"
    if unsaid:
        here = _host_here() if "host_cpu" in unsaid else ""
        keys = ", ".join(unsaid)
        return f"its source does not say {keys}; a run is comparable once the file does{here}"
    return None


def _host_here() -> str:
    """What a claim says of the processor where it is about this machine's."""
    from bench.claims.settle import OF_THE_HOST
    from bench.host import provenance

    here: Mapping[str, Any] = provenance.collect(None)
    return f" (of this machine: {', '.join(f'{key}: {here[key]}' for key in OF_THE_HOST)})"


def _check_host(claim: Claim, says: Serving, sources: Sources, endpoint: bool = False) -> None:
    """Refuse a run that could not be compared: another engine than bench launches, another host."""
    from bench.claims.settle import other_version
    from bench.engines import ENGINES
    from bench.host import provenance
    from bench.values.engine_words import engine_name

    c = says.conditions
    if engine_name(c.engine) not in ENGINES and not endpoint:
        raise InputError(
            f"{claim.name}: bench does not launch {c.engine!r}; serve it yourself and say "
            f"bench claim {claim.asked_by} --measure engine.base_url=http://HOST:PORT/v1."
        )
    if not endpoint and (version := other_version(c, sources)) is not None:
        raise InputError(
            f"{claim.name}: engine_version is {c.engine_version!r}, but {c.engine} here is "
            f"{version}: a run here would not be comparable; serve that version yourself and say "
            f"bench claim {claim.asked_by} --measure engine.base_url=http://HOST:PORT/v1."
        )
    if c.gpu != "cpu":
        return
    here: Mapping[str, Any] = provenance.collect(None)
    for key in ("host_cpu", "host_cpu_count"):
        if getattr(c, key) != here[key]:
            raise InputError(
                f"{claim.name}: {key} is {getattr(c, key)!r}, but this machine has "
                f"{here[key]!r}: a run here would not be comparable."
            )
