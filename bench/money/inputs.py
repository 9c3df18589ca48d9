"""From configuration and stored Runs to the numbers of the cost model, each with its source.

What is wrong or missing is an InputError that names the key; nothing missing becomes 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from bench.money.demand import Demand
from bench.money.fleet import Capital, Costs, Work, monthly_rate, spot_rate
from bench.money.prices.book import PER_HOUR, Key, PriceRow, rent_row, row_words
from bench.money.spec import DemandSpec, PowerSpec, TcoSpec
from bench.money.throughput import (
    Split,
)
from bench.values import units as u
from bench.values.errors import InputError
from bench.values.figure import Figure, Input, figure

THROUGHPUT = "throughput.factor"
LOAD_POWER = "power.load_w"
SAME_MIX = 0.05
MONTHS_PER_YEAR = 12
SAME_HIT_RATE = 0.05
Values = Mapping[str, u.FloatArray]


def with_demand(spec: TcoSpec, split: Split, trace: Demand | None) -> TcoSpec:
    """The question with volume, mix and peak filled in from the trace or the measured mix.

    InputError when a blend would be used at a mix other than the one measured.
    """
    demand = spec.demand
    if trace is not None:
        demand = traced(demand, trace, trace.peak_to_mean(split))
    if demand.input_share is None:
        if split.kind == "split":
            raise InputError(
                "tco.demand.input_share is missing: the throughput covers several "
                "mixes, so say which share of the demand is input: tco.demand.input_share=0.75."
            )
        measured = Figure(
            value=split.measured_input_share, source="mix of the throughput", arose="measured"
        )
        demand = replace(demand, input_share=measured)
    share = figure(demand.input_share or 0.0).value
    if split.kind == "blend" and abs(share - split.measured_input_share) > SAME_MIX:
        # What a trace says is not taken back by a key.
        whose = "tco.demand.input_share" if trace is None else f"the mix of {spec.demand.trace}"
        take = ", or take that one: tco.demand.input_share=null" if trace is None else ""
        raise InputError(
            f"{whose} is {share:.3g}, but the only mix measured is "
            f"{split.measured_input_share:.3g} input: measure a second mix{take}."
        )
    return replace(spec, demand=demand)


def traced(demand: DemandSpec, trace: Demand, peak_to_mean: float) -> DemandSpec:
    """The demand with the volume, the mix and the peak of its trace."""
    source = f"24x7 trace {demand.trace}"
    return replace(
        demand,
        trace=None,
        mtok_per_month=Figure(value=trace.mtok_per_month, source=source, arose="quoted"),
        peak_to_mean=Figure(value=peak_to_mean, source=source, arose="quoted"),
        input_share=Figure(value=trace.input_share, source=source, arose="quoted"),
    )


def lookup(values: Values) -> Callable[[str, Input], u.FloatArray]:
    """Reads an input: the drawn values under its key, else its central value."""

    def read(key: str, given: Input) -> u.FloatArray:
        return values[key] if key in values else np.asarray(figure(given).value)

    return read


def build_work(spec: TcoSpec, split: Split, values: Values) -> Work:
    """Demand and server-seconds; a throughput factor above 1 makes servers that much faster."""
    get, demand = lookup(values), spec.demand
    faster = np.asarray(values.get(THROUGHPUT, np.asarray(1.0)))
    volume = get("tco.demand.mtok_per_month", demand.mtok_per_month or 0.0)
    return Work(
        demand=u.Rate(volume, u.Mtok, u.Month),
        w_in=get("tco.demand.input_share", demand.input_share or 0.0),
        peak_to_mean=get("tco.demand.peak_to_mean", demand.peak_to_mean or 1.0),
        headroom=get("tco.fleet.headroom", spec.fleet.headroom),
        spares=np.round(get("tco.fleet.spares", spec.fleet.spares)),
        split=replace(split, a=split.a * (1 / faster), b=split.b * (1 / faster)),
        claimed_servers=spec.fleet.claimed_servers,
    )


def build_staff(spec: TcoSpec, values: Values) -> u.Rate[u.Usd, u.Month]:
    """FTE*salary*loading/12 plus licences."""
    get, p = lookup(values), spec.people
    yearly = get("tco.people.fte", p.fte) * _salary(spec, values)
    licences = get("tco.people.licences_usd_per_month", p.licences_usd_per_month)
    return u.per_month(u.Rate(yearly, u.Usd, u.Year)) + u.usd_per_month(licences)


def build_care(spec: TcoSpec, values: Values) -> u.Rate[u.Usd, u.ServerMonth]:
    """FTE per server*salary*loading/12."""
    people = lookup(values)("tco.people.fte_per_server", spec.people.fte_per_server)
    return u.Rate(people * _salary(spec, values) / MONTHS_PER_YEAR, u.Usd, u.ServerMonth)


def _salary(spec: TcoSpec, values: Values) -> u.FloatArray:
    """What one person costs in $/year, loading included."""
    get, p = lookup(values), spec.people
    salary = get("tco.people.salary_usd_per_year", p.salary_usd_per_year)
    return np.asarray(salary * get("tco.people.loading", p.loading))


def own_costs(spec: TcoSpec, power: PowerSpec, values: Values) -> Costs:
    """Costs of buying; InputError names the figure that is missing."""
    own, get = spec.own, lookup(values)
    if own is None:
        raise InputError("tco.own is missing: what this server costs to buy and host.")
    for key, given in (("load_w", power.load_w), ("idle_w", power.idle_w)):
        if given is None:
            raise InputError(
                f"power.{key} is missing: no Run measured it and power={power.name} gives none: "
                f"type power.{key}=W of one server."
            )
    paid = get("tco.own.capex_usd", own.capex_usd)
    capital = Capital(
        upfront=u.usd(paid * (1 + get("tco.own.install_fraction", own.install_fraction))),
        residual=u.usd(get("tco.own.residual_usd", own.residual_usd)),
        life_months=int(figure(own.life_months).value),
        monthly_rate=monthly_rate(get("tco.own.wacc_per_year", own.wacc_per_year)),
    )
    colo = get("tco.own.colo_usd_per_kw_month", own.colo_usd_per_kw_month) * get(
        "tco.own.provisioned_kw", own.provisioned_kw
    )
    care = get("tco.own.maintenance_usd_per_month", own.maintenance_usd_per_month)
    price = get("power.usd_per_kwh", power.usd_per_kwh) * get("power.pue", power.pue)
    return Costs(
        server=capital.per_month(),
        site=u.Rate(colo + care, u.Usd, u.ServerMonth),
        load_kw=np.asarray(get(LOAD_POWER, power.load_w or 0.0) / 1000),
        idle_kw=np.asarray(get("power.idle_w", power.idle_w or 0.0) / 1000),
        energy=u.Rate(price, u.Usd, u.Kwh),
        staff=build_staff(spec, values),
        care=build_care(spec, values),
        capital=capital,
    )


def rent_costs(
    spec: TcoSpec, held: Mapping[Key, PriceRow], tier: str, values: Values
) -> tuple[Costs, tuple[PriceRow, ...]]:
    """Costs of renting at a tier, and the price rows used, the tier's own first; InputError names
    what is missing."""
    rent, get, gpu = spec.rent, lookup(values), spec.server.gpu
    row = rent_row(held, gpu, tier, rent.provider)
    if row is None:
        raise InputError(
            f"prices: {gpu} has no 'rent_{tier}' price"
            f"{'' if rent.provider is None else ' of ' + rent.provider}; add a dated row for it"
            f"{PER_HOUR}{row_words(rent.provider or 'SELLER', gpu, f'rent_{tier}')}."
        )
    rate, rows = u.Rate(row.usd, u.Usd, u.GpuHour), [row]
    if tier == "spot":
        for key, like in (("spot_interruptions_per_h", 0.02), ("spot_recovery_h", 0.25)):
            if getattr(rent, key) is None:
                raise InputError(
                    f"tco.rent.{key} is missing: spot servers are interrupted. Type one, as "
                    f"tco.rent.{key}={like:g}, or rent otherwise: tco.basis=on_demand."
                )
        rate = spot_rate(
            rate,
            get("tco.rent.spot_interruptions_per_h", rent.spot_interruptions_per_h or 0.0),
            get("tco.rent.spot_recovery_h", rent.spot_recovery_h or 0.0),
        )
        kept = get("tco.rent.spot_on_demand_share", rent.spot_on_demand_share)
        if np.any(kept > 0):
            full = rent_row(held, gpu, "on_demand", rent.provider)
            if full is None:
                raise InputError(
                    f"prices: {gpu} has no 'rent_on_demand' price, which "
                    "tco.rent.spot_on_demand_share needs; without that share: "
                    "tco.rent.spot_on_demand_share=0."
                )
            rows.append(full)
            rate = rate * (1 - kept) + u.Rate(full.usd, u.Usd, u.GpuHour) * kept
    none = np.asarray(0.0)
    costs = Costs(
        server=u.per_server_month(rate, max(spec.server.gpus, 1)),
        site=u.Rate(0.0, u.Usd, u.ServerMonth),
        load_kw=none,
        idle_kw=none,
        energy=u.Rate(0.0, u.Usd, u.Kwh),
        staff=build_staff(spec, values),
        care=build_care(spec, values),
    )
    return costs, tuple(rows)
