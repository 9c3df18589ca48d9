"""What stands beside a cost answer: its assumptions, their age, the licence, unlike conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from bench.money.fleet import Bill, Work
from bench.money.inputs import (
    SAME_HIT_RATE,
    THROUGHPUT,
)
from bench.money.measured import (
    Measured,
)
from bench.money.prices.book import PriceRow
from bench.money.spec import TcoRequest, TcoSpec
from bench.money.throughput import TcoRun, saturated_point
from bench.values.figure import Figure, age_days, figure
from bench.values.spec import Licence


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """One input that was not measured. `age_days` is set where it is older than allowed."""

    key: str
    figure: Figure
    age_days: int | None = None


def stale_caveats(assumed: tuple[Assumed, ...], stale_days: int) -> list[str]:
    """One line for all figures older than allowed, prices of one API together."""
    oldest: dict[str, int] = {}
    for a in assumed:
        if a.age_days is not None:
            name = a.key.rpartition(".")[0] if a.key.startswith("prices.") else a.key
            oldest[name] = max(oldest.get(name, 0), a.age_days)
    listed = ", ".join(f"{name} ({days} days)" for name, days in sorted(oldest.items()))
    return [f"stale, older than {stale_days} days: {listed}"] if oldest else []


def demand_caveats(work: Work, bill: Bill) -> list[str]:
    """Said when a fixed number of servers cannot do what is asked of them."""
    if work.claimed_servers is None or float(bill.active_exact) <= work.claimed_servers:
        return []
    most = work.claimed_servers * float(work.capacity())
    return [
        f"{work.claimed_servers} claimed server(s) can do {most:,.1f} M tokens a month, not "
        f"{float(work.demand):,.6g}: no such cost exists"
    ]


def growth_caveats(spec: TcoSpec) -> list[str]:
    """Said where a growth was given that no figure takes: renting has no flows over years."""
    if spec.basis == "own" or not figure(spec.demand.growth_per_year).value:
        return []
    return [
        "tco.demand.growth_per_year enters payback and NPV alone, which rented servers have not: "
        "every figure here is of today's demand"
    ]


def absent_caveats(
    left_out: tuple[str, ...], future: tuple[str, ...], as_of: str | None, *, quality: bool
) -> list[str]:
    """The APIs that could not be compared with and why, and that nobody looked at quality."""
    found = []
    if not quality:
        found.append("quality is not compared: an API may serve a better or a worse model")
    if left_out:
        found.append(f"not compared, input or output price unknown: {', '.join(left_out)}")
    if future:
        found.append(f"not compared, no price yet on {as_of}: {', '.join(future)}")
    return found


def hit_rate_caveats(spec: TcoSpec, runs: tuple[TcoRun, ...]) -> list[str]:
    """The same prefix-cache hit rate must hold on both sides of the comparison."""
    wanted = figure(spec.demand.cache_hit_rate).value
    said = f"the API is priced at {wanted:.2f}: the two sides are not alike"
    found = []
    if not runs and wanted > 0:
        found.append(
            f"the API is priced at a cache hit rate of {wanted:.2f}; the throughput is taken to "
            "be at that rate, too, without which the two sides are not alike"
        )
    for run in runs:
        rate = saturated_point(run)[0].cache_hit_rate
        if rate is None and wanted > 0:
            found.append(f"{run.path}: the cache hit rate was not measured; {said}")
        elif rate is not None and abs(rate - wanted) > SAME_HIT_RATE:
            found.append(f"{run.path} had a cache hit rate of {rate:.2f}; {said}")
    return found


def licence_notes(request: TcoRequest, runs: tuple[TcoRun, ...]) -> tuple[str, ...]:
    """What the model's licence says about the intended use, loudest first; empty when nothing."""
    known: list[Licence] = [run.licence for run in runs if run.licence is not None]
    known += [request.model.licence] if request.model is not None and not known else []
    notes: list[str] = []
    for licence in dict.fromkeys(known):
        if request.tco.use == "commercial":
            if licence.commercial is False:
                notes.append(
                    f"{licence.name} does not allow commercial use: this answer is not "
                    "an offer you may act on"
                )
            if licence.commercial is None:
                notes.append(f"{licence.name}: whether commercial use is allowed is not known")
        if licence.restrictions:
            notes.append(f"{licence.name}, restricted: {' '.join(licence.restrictions.split())}")
        if licence.gated:
            notes.append(f"{licence.name}: the weights are gated (terms to accept before download)")
        if not licence.verified:
            notes.append(f"{licence.name}: licence unverified")
    return tuple(dict.fromkeys(notes))


def assumed_inputs(
    inputs: Mapping[str, Figure],
    measured: Measured,
    tokens_per_s: float,
    priced: Mapping[str, PriceRow],
    reference: date,
    stale_days: int,
) -> tuple[Assumed, ...]:
    """Every input that was not measured, with its age where it is stale; `priced` are the price
    rows that entered the answer, by key."""
    found = {key: f for key, f in inputs.items() if f.arose != "measured" and key != THROUGHPUT}
    if measured.arose != "measured":
        found["tco.throughput.tokens_per_s_per_server"] = Figure(
            value=tokens_per_s, source=measured.source, as_of=measured.as_of, arose=measured.arose
        )
    return aged(found, priced, reference, stale_days)


def aged(
    inputs: Mapping[str, Figure], priced: Mapping[str, PriceRow], reference: date, stale_days: int
) -> tuple[Assumed, ...]:
    """Figures that were not measured and prices, each with its age where it is stale."""
    found = dict(inputs)
    for key, row in priced.items():
        found[key] = Figure(
            value=row.usd,
            source=row.source,
            as_of=row.as_of,
            arose="quoted",
            verified=row.verified,
        )
    out = []
    for key, f in found.items():
        age = age_days(f.as_of, reference) if f.as_of else 0
        out.append(Assumed(key=key, figure=f, age_days=age if age > stale_days else None))
    return tuple(out)
