"""The answer to a cost question as one value: levels, fleet, options, APIs, uncertainty, caveats.

Pure: prices, demand trace and Runs come in as values, and `today` as a date.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np

from bench.money.apis import ApiAnswer, compare_apis
from bench.money.caveats import (
    Assumed,
    absent_caveats,
    assumed_inputs,
    demand_caveats,
    growth_caveats,
    hit_rate_caveats,
    licence_notes,
    stale_caveats,
)
from bench.money.cost import (
    TokenCost,
    marginal_cost,
    spread_cost,
)
from bench.money.demand import Demand
from bench.money.fleet import Bill, Costs, Work, monthly_bill
from bench.money.inputs import (
    LOAD_POWER,
    THROUGHPUT,
    Values,
    build_work,
    own_costs,
    rent_costs,
    with_demand,
)
from bench.money.measured import (
    Measured,
    measure,
    measured_power,
)
from bench.money.prices.book import (
    PER_HOUR,
    RENT_KINDS,
    Key,
    PriceRow,
    comparable_apis,
    not_yet_priced,
    select,
    until,
)
from bench.money.quality import CorrectAnswer, correct_answers
from bench.money.series import Curve, Step, bill_curve, cost_steps
from bench.money.spec import PowerSpec, ServerSpec, TcoRequest, TcoSpec
from bench.money.throughput import (
    Split,
    TcoRun,
)
from bench.money.uncertainty import Bar, percentiles, sample, tornado
from bench.values import units as u
from bench.values.confidence import normal_quantile
from bench.values.errors import InputError, nearest
from bench.values.figure import Figure, figure, figures, first_day

TIERS = ("on_demand", "reserved", "spot")
"""The ways to rent."""


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The three costs per token; they answer different questions and never share a column."""

    marginal: TokenCost
    utilised: TokenCost
    loaded: TokenCost


@dataclass(frozen=True, kw_only=True)
class Option:
    """One way to have the servers, fully loaded; `why_not` says what is missing for it."""

    basis: str
    levels: Levels | None = None
    bill: Bill | None = None
    costs: Costs | None = None
    prices: tuple[PriceRow, ...] = ()
    why_not: str | None = None


@dataclass(frozen=True, kw_only=True)
class OwnOrRent:
    """Owning against the cheapest way to rent the same fleet, in $ per M tokens;
    `p_own_cheaper` is the share of the draws of both in which owning is, None without any."""

    tier: str
    own_usd_per_mtok: float
    rent_usd_per_mtok: float
    p_own_cheaper: float | None


@dataclass(frozen=True, kw_only=True)
class TcoAnswer:
    """Everything `bench tco` prints; `words` (invalid, dummy, ...) belong in every table."""

    name: str
    note: str | None
    basis: str
    words: tuple[str, ...]
    split: Split
    throughput_source: str
    throughput_ci: float | None
    work: Work
    costs: Costs
    bill: Bill
    levels: Levels
    server: ServerSpec
    gpus: int
    options: tuple[Option, ...]
    own_or_rent: OwnOrRent | None
    steps: tuple[Step, ...]
    curve: Curve
    apis: tuple[ApiAnswer, ...]
    correct: tuple[CorrectAnswer, ...]
    uncertain: Mapping[str, Mapping[str, float]]
    draws: int
    bars: tuple[Bar, ...]
    licence: tuple[str, ...]
    assumed: tuple[Assumed, ...]
    caveats: tuple[str, ...]
    premises: str
    """What payback and NPV take of the years: how prices and demand move."""


def answer(
    request: TcoRequest,
    runs: tuple[TcoRun, ...],
    rows: tuple[PriceRow, ...],
    trace: Demand | None,
    today: date,
) -> TcoAnswer:
    """Answer the question; InputError names whatever is missing, unknown or inconsistent."""
    if request.tco.basis == "api":
        raise InputError(
            "tco.basis=api has no servers in it: bench tco alone answers that; take "
            "tco.basis=on_demand."
        )
    held = select(rows, request.prices.as_of)
    known_gpu(request, rows)
    known_seller(request.tco.rent.provider, rows)
    measured = measure(request.tco, runs)
    spec = with_demand(request.tco, measured.split, trace)
    power = measured_power(request.power, runs, spec)
    costs = basis_costs(spec, power, held, {})
    work = build_work(spec, measured.split, {})
    bill = monthly_bill(costs, work)
    ci = measured.split.interval(float(work.w_in))
    inputs = {
        **figures(spec, "tco"),
        **figures(power, "power"),
        THROUGHPUT: throughput_figure(measured, ci),
    }
    moving = drawable(inputs, spec.basis)
    draws = sample(moving, spec.uncertainty, (THROUGHPUT, LOAD_POWER))
    drawn = drawn_inputs(spec, power, held, measured.split, draws)
    future = not_yet_priced(rows, held, spec.api.compare)
    chosen, left_out = comparable_apis(
        held, tuple(key for key in spec.api.compare if key not in future)
    )
    drawn_bill = None if drawn is None else monthly_bill(*drawn)
    then = until(rows, request.prices.as_of)
    apis, api_caveats = compare_apis(spec, chosen, then, costs, work, draws, drawn_bill)
    levels = cost_levels(costs, work, bill)

    def moved(values: Values) -> u.FloatArray:
        return loaded_blend(spec, power, held, measured.split, values)

    reference = first_day(request.prices.as_of) if request.prices.as_of else today
    ways = options(spec, power, held, work)
    assumed = assumed_inputs(
        entering(inputs, ways, power is not request.power),
        measured,
        u.TOKENS_PER_MTOK / float(work.seconds),
        priced(apis, ways),
        reference,
        request.prices.stale_days,
    )
    caveats = [
        *measured.caveats,
        *demand_caveats(work, bill),
        *growth_caveats(spec),
        *api_caveats,
        *hit_rate_caveats(spec, runs),
    ]
    if measured.split.kind == "blend":
        caveats.append(f"one blended price per token: {measured.split.why}")
    correct = correct_answers(spec, runs, levels.loaded, chosen)
    caveats += absent_caveats(left_out, future, request.prices.as_of, quality=len(correct) > 1)
    if not draws:
        caveats.append("no input has a range, so nothing is said about uncertainty")
    caveats += stale_caveats(assumed, request.prices.stale_days)
    return TcoAnswer(
        name=spec.name,
        note=spec.note,
        basis=spec.basis,
        words=measured.words,
        split=measured.split,
        throughput_source=measured.source,
        throughput_ci=ci,
        work=work,
        costs=costs,
        bill=bill,
        levels=levels,
        server=spec.server,
        gpus=int(float(bill.servers)) * spec.server.gpus,
        options=ways,
        own_or_rent=own_or_rent(spec, power, held, measured.split, inputs, ways),
        steps=cost_steps(costs, work, bill),
        curve=bill_curve(
            costs,
            work,
            drawn,
            [a.breakeven for a in apis],
            {o.basis: o.costs for o in ways if o.costs is not None},
        ),
        apis=apis,
        correct=correct,
        uncertain={} if drawn is None else spread(monthly_bill(*drawn), drawn[1]),
        draws=spec.uncertainty.draws if draws else 0,
        bars=tornado(moving, moved),
        licence=licence_notes(request, runs),
        assumed=assumed,
        caveats=tuple(caveats),
        premises=premises(spec),
    )


def premises(spec: TcoSpec) -> str:
    """How API prices and demand move over the servers' life, in words."""
    given, grows = spec.api.decline_per_year, figure(spec.demand.growth_per_year).value
    demand = f"demand {_yearly(grows, 'growing', 'shrinking')}"
    if given is None:
        return f"API prices moving as each one's history does, {demand}"
    return f"API prices {_yearly(figure(given).value, 'falling', 'rising')}, {demand}"


def _yearly(share: float, above: str, below: str) -> str:
    if share == 0:
        return "steady"
    return f"{above if share > 0 else below} {100 * abs(share):.3g} % a year"


def drawn_inputs(
    spec: TcoSpec, power: PowerSpec, held: Mapping[Key, PriceRow], split: Split, draws: Values
) -> tuple[Costs, Work] | None:
    """Costs and work as vectors of draws; None when nothing is drawn."""
    if not draws:
        return None
    return basis_costs(spec, power, held, draws), build_work(spec, split, draws)


def priced(apis: Iterable[ApiAnswer], ways: Iterable[Option]) -> dict[str, PriceRow]:
    """Every price row that entered the answer, by key."""
    rows = [row for a in apis for row in a.rows.values()] + [r for o in ways for r in o.prices]
    return {f"prices.{row.key}.{row.kind}": row for row in rows}


def entering(
    inputs: Mapping[str, Figure], ways: Iterable[Option], boards_measured: bool
) -> dict[str, Figure]:
    """The inputs that some number of the answer rests on: not those of a way that was not priced,
    nor a host adder that was added to nothing."""
    apart = [f"tco.rent.{o.basis}_" for o in ways if o.bill is None]
    apart += ["tco.own."] if any(o.basis == "own" and o.bill is None for o in ways) else []
    apart += [] if boards_measured else ["power.host_adder_w"]
    return {k: f for k, f in inputs.items() if not k.startswith(tuple(apart))}


def known_gpu(request: TcoRequest, rows: tuple[PriceRow, ...]) -> None:
    """InputError for a server whose GPU neither the gpu group nor the price book knows."""
    gpu = request.tco.server.gpu
    known = {row.model for row in rows if row.kind in RENT_KINDS} | set(request.known_gpus)
    if gpu not in known:
        raise InputError(f"tco.server.gpu: {gpu!r} is unknown.{nearest(gpu, known)}")


def known_seller(provider: str | None, rows: tuple[PriceRow, ...]) -> None:
    """InputError for a seller that rents nothing in the whole price book; one that does not rent
    these GPUs leaves renting untold."""
    sellers = {row.provider for row in rows if row.kind in RENT_KINDS}
    if provider is not None and sellers and provider not in sellers:
        hint = nearest(provider, sellers)
        raise InputError(f"tco.rent.provider: {provider!r} is not in the price book.{hint}")


def basis_costs(
    spec: TcoSpec, power: PowerSpec, held: Mapping[Key, PriceRow], values: Values
) -> Costs:
    """Costs on the basis the question asks for."""
    if spec.basis == "own":
        return own_costs(spec, power, values)
    return rent_costs(spec, held, spec.basis, values)[0]


def cost_levels(costs: Costs, work: Work, bill: Bill) -> Levels:
    """Marginal, utilised and fully loaded cost of one bill."""
    return Levels(
        marginal=marginal_cost(costs.server, work.split, work.w_in),
        utilised=spread_cost(bill.hardware, work.demand, work.split, work.w_in),
        loaded=spread_cost(bill.total, work.demand, work.split, work.w_in),
    )


def loaded_blend(
    spec: TcoSpec, power: PowerSpec, held: Mapping[Key, PriceRow], split: Split, values: Values
) -> u.FloatArray:
    """Fully loaded $/M tokens for drawn values: what the tornado moves."""
    work = build_work(spec, split, values)
    return monthly_bill(basis_costs(spec, power, held, values), work).total.per(work.demand).value


def spread(bill: Bill, work: Work) -> dict[str, dict[str, float]]:
    """P5, P50 and P95 of what was asked, over the draws."""
    return {
        "usd_per_mtok_blended": percentiles(bill.total.per(work.demand).value),
        "monthly_usd": percentiles(bill.total.value),
        "servers": percentiles(bill.servers),
        "utilisation": percentiles(bill.utilisation),
    }


def options(
    spec: TcoSpec, power: PowerSpec, held: Mapping[Key, PriceRow], work: Work
) -> tuple[Option, ...]:
    """Owning beside renting at every tier, each fully loaded, or why it cannot be told."""
    found = []
    for basis in ("own", *TIERS):
        prices: tuple[PriceRow, ...] = ()
        try:
            if basis == "own":
                costs = own_costs(spec, power, {})
            else:
                costs, prices = rent_costs(spec, held, basis, {})
        except InputError as error:
            why = str(error).partition(PER_HOUR)[0].rstrip(".")
            found.append(Option(basis=basis, why_not=why))
            continue
        bill = monthly_bill(costs, work)
        levels = cost_levels(costs, work, bill)
        found.append(Option(basis=basis, levels=levels, bill=bill, costs=costs, prices=prices))
    return tuple(found)


def own_or_rent(
    spec: TcoSpec,
    power: PowerSpec,
    held: Mapping[Key, PriceRow],
    split: Split,
    inputs: Mapping[str, Figure],
    ways: Iterable[Option],
) -> OwnOrRent | None:
    """Owning against the cheapest rent, draw by draw at one demand and throughput; None where one
    of the two has no price."""
    known = {o.basis: float(o.levels.loaded.blended) for o in ways if o.levels is not None}
    own = known.pop("own", None)
    if own is None or not known:
        return None
    tier, rent = min(known.items(), key=lambda item: item[1])
    draws = sample(drawable(inputs, "own", tier), spec.uncertainty, (THROUGHPUT, LOAD_POWER))
    odds = None
    if draws:
        work = build_work(spec, split, draws)
        bought = monthly_bill(own_costs(spec, power, draws), work).total
        rented = monthly_bill(rent_costs(spec, held, tier, draws)[0], work).total
        odds = float(np.mean(bought.value < rented.value))
    return OwnOrRent(tier=tier, own_usd_per_mtok=own, rent_usd_per_mtok=rent, p_own_cheaper=odds)


def drawable(inputs: Mapping[str, Figure], *bases: str) -> dict[str, Figure]:
    """The inputs that enter the bill or the API price on these bases: only their ranges are drawn,
    so that a range elsewhere does not pass for knowledge of the uncertainty."""
    apart = [
        "tco.quality.",
        "power.host_adder_w",
        "tco.api.decline_per_year",
        "tco.demand.growth_per_year",
    ]
    apart += ["tco.own.", "power."] if "own" not in bases else []
    apart += ["tco.rent."] if "spot" not in bases else []
    return {k: f for k, f in inputs.items() if not k.startswith(tuple(apart))}


def throughput_figure(measured: Measured, ci: float | None) -> Figure:
    """The throughput as a factor around 1 with its own 95 % interval, as P5 to P95 lognormal."""
    ends: tuple[float | None, float | None] = (None, None)
    inner = normal_quantile(0.9) / normal_quantile()  # from the ends of 95 % to P5 and P95
    if (given := measured.split.relative_ends) is not None:
        ends = (given[0] ** inner, given[1] ** inner)
    elif ci:
        reach = float(np.exp(np.log1p(ci) * inner))
        ends = (1 / reach, reach)
    return Figure(
        value=1.0,
        source=measured.source,
        as_of=measured.as_of,
        low=ends[0],
        high=ends[1],
        dist="lognormal",
        arose=measured.arose,
    )
