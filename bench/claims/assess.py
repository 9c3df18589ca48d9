"""From a claim to its verdict: the checks in order of what they cost, until one forbids."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from bench.claims.arithmetic import check_arithmetic
from bench.claims.bounds import check_bound, check_units
from bench.claims.fits import check_fit
from bench.claims.joint import check_joint
from bench.claims.lookup import check_lookup
from bench.claims.measured import check_reports, check_runs
from bench.claims.settle import settle_with
from bench.claims.sources import Sources
from bench.claims.spec import Arithmetic, Claim, Lookup, Serving, Speedup
from bench.claims.speedup import check_speedup
from bench.claims.variants import in_our_words
from bench.claims.verdict import Assessment, Check
from bench.trend.licences import changes
from bench.values.errors import InputError


def assess(claim: Claim, sources: Sources) -> Assessment:
    """Every check that applies; InputError names the claim when its file cannot be worked with."""
    claim = in_our_words(claim, sources.catalogue)
    try:
        checks = tuple(_checks(claim, sources))
    except ValueError as error:
        text = str(error)
        stop = "" if text.endswith((".", "?")) else "."
        raise InputError(f"{claim.name}: {text}{stop}") from error
    said = [*(x for x in (claim.note,) if x), *licence_changes(claim, sources)]
    found = Assessment(
        claim=claim.name,
        who=claim.who,
        quote=claim.quote,
        checks=checks,
        note="; ".join(said) or None,
    )
    return replace(found, settle_with=settle_with(claim, found.verdict, sources))


def licence_changes(claim: Claim, sources: Sources) -> tuple[str, ...]:
    """Changed terms of the models that a claim is about: said beside every verdict on it."""
    says = claim.says
    names: list[str | None] = []
    if isinstance(says, Serving | Speedup):
        names = [says.conditions.model]
    elif isinstance(says, Lookup):
        names = [item.catalogue[0] for item in says.items if item.catalogue]
    models = [sources.catalogue.models.get(n or "") for n in dict.fromkeys(names)]
    return tuple(line for m in models if m is not None for line in changes(m, sources.terms))


def _checks(claim: Claim, sources: Sources) -> Iterator[Check]:
    says = claim.says
    if claim.absent is not None:
        a = claim.absent
        yield Check(
            kind="subject",
            verdict="not comparable",
            evidence=(f"{a.what}: {a.why} ({a.source}, {a.as_of})",),
        )
        return
    if isinstance(says, Arithmetic):
        yield from check_arithmetic(claim, says, sources)
    elif isinstance(says, Speedup):
        yield from check_speedup(says, sources.catalogue)
    elif isinstance(says, Lookup):
        yield check_lookup(claim, says, sources)
    else:
        yield from _serving(says, sources)


def _serving(says: Serving, sources: Sources) -> Iterator[Check]:
    """Cheapest first; what a bound forbids needs no run."""
    steps: tuple[Callable[[], Check | None], ...] = (
        lambda: check_units(says),
        lambda: check_fit(says.conditions, sources.catalogue),
        lambda: check_bound(says, sources.catalogue),
        lambda: check_joint(says, sources.catalogue),
        lambda: check_reports(says, sources),
        lambda: check_runs(says, sources),
    )
    for step in steps:
        check = step()
        if check is None:
            continue
        yield check
        if check.verdict == "impossible" or check.kind == "units":
            return
