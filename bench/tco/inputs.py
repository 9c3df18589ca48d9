"""From configuration and stored Runs to the numbers of the cost model, each with its source.

What is wrong or missing is an InputError that names the key; nothing missing becomes 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from bench import units as u
from bench.errors import InputError
from bench.figure import Arose, Figure, Input, figure
from bench.prices.book import Key, PriceRow, rent_row
from bench.tco.demand import Demand
from bench.tco.fleet import Capital, Costs, Work, monthly_rate, spot_rate
from bench.tco.spec import PowerSpec, TcoSpec
from bench.tco.throughput import (
    Split,
    TcoRun,
    ThroughputPoint,
    fit_split,
    saturated_point,
)

THROUGHPUT = "throughput.factor"
LOAD_POWER = "power.load_w"
SAME_MIX = 0.05
SAME_HIT_RATE = 0.05
Values = Mapping[str, u.FloatArray]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Throughput per server with where it comes from, and what to know about it."""

    split: Split
    source: str
    arose: Arose
    as_of: str
    caveats: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def check_runs(runs: tuple[TcoRun, ...], spec: TcoSpec) -> tuple[str, ...]:
    """The words (invalid, dummy, ...) carried by Runs; InputError for one not allowed, and for
    Runs of unlike deployments, which are never pooled."""
    words: dict[str, str] = {}
    for run in runs:
        words.update({str(word): run.path for word in run.words if word not in words})
    for word, path in words.items():
        if word not in tuple(map(str, spec.allow)):
            raise InputError(f"{path} is {word}: no cost is made of it; to carry it through with "
                             f"that word in every table, add tco.allow=[{word}].")  # fmt: skip
    for run in runs[1:]:
        if run.deployment != runs[0].deployment:
            raise InputError(f"{run.path} ({', '.join(map(str, run.deployment))}) and "
                             f"{runs[0].path} ({', '.join(map(str, runs[0].deployment))}) are "
                             "unlike and cannot be pooled; give one deployment.")  # fmt: skip
    return tuple(words)


def replicas(run: TcoRun, spec: TcoSpec) -> int:
    """How many copies of the measured deployment one server holds; InputError if it cannot."""
    if run.gpu != spec.server.gpu:
        raise InputError(f"tco.server.gpu is {spec.server.gpu!r}, but {run.path} was measured on "
                         f"{run.gpu!r}; choose a tco group of that hardware.")  # fmt: skip
    if run.gpus == 0 or spec.server.gpus == 0:
        if run.gpus != spec.server.gpus:
            raise InputError(f"tco.server.gpus is {spec.server.gpus}, but {run.path} used "
                             f"{run.gpus}.")  # fmt: skip
        return 1
    if spec.server.gpus < run.gpus:
        raise InputError(f"tco.server.gpus is {spec.server.gpus}, fewer than the {run.gpus} that "
                         f"{run.path} used.")  # fmt: skip
    return spec.server.gpus // run.gpus


def measure(spec: TcoSpec, runs: tuple[TcoRun, ...]) -> Measured:
    """Throughput per server from Runs, else from `tco.throughput`; InputError without either."""
    if not runs:
        return _given(spec)
    words = check_runs(runs, spec)
    points: list[ThroughputPoint] = []
    caveats: list[str] = []
    for run in runs:
        copies = replicas(run, spec)
        point, found = saturated_point(run)
        caveats += found
        points.append(replace(point, input_tokens_per_s=point.input_tokens_per_s * copies,
                              output_tokens_per_s=point.output_tokens_per_s * copies))  # fmt: skip
        if copies > 1:
            caveats.append(f"{copies} copies of {run.path} on one server are assumed to run as "
                           "fast as one alone")  # fmt: skip
    split = fit_split(points)
    if split.relative_ci is None and split.spread is None:
        caveats.append("throughput has no interval (not repeated): it counts as certain")
    source = "measured: " + ", ".join(run.path for run in runs)
    as_of = min(run.as_of for run in runs)
    return Measured(split=split, source=source, arose="measured", as_of=as_of,
                    caveats=tuple(caveats), words=words)  # fmt: skip


def _given(spec: TcoSpec) -> Measured:
    given = spec.throughput
    if given is None:
        raise InputError("tco.throughput is null and no Run was given: name a Run, or give "
                         "throughput points with their source.")  # fmt: skip
    points = [
        ThroughputPoint(
            input_tokens_per_s=p.input_tokens_per_s,
            output_tokens_per_s=p.output_tokens_per_s,
            relative_ci=given.relative_ci,
        )
        for p in given.points
    ]
    return Measured(split=fit_split(points), source=given.source, arose=given.arose,
                    as_of=given.as_of)  # fmt: skip


def measured_power(power: PowerSpec, runs: tuple[TcoRun, ...], spec: TcoSpec) -> PowerSpec:
    """The power group with measured W in place of its own, at the load whose throughput counts;
    of several Runs the one that drew most. Unchanged when no Run measured any.

    GPU boards get `host_adder_w` on top: without it InputError, for a server is not its GPUs.
    """
    metered = [(p, run) for run in runs if (p := saturated_point(run)[0]).load_w is not None]
    if not metered:
        return power
    point, run = max(metered, key=lambda pair: pair[0].load_w or 0.0)
    copies, adder = replicas(run, spec), Figure(value=0.0, source="none")
    note = f"measured ({run.power_scope}): {run.path}"
    if run.power_scope == "gpu board":
        if power.host_adder_w is None:
            raise InputError(f"power.host_adder_w is missing: {run.path} measured GPU boards only, "
                             "so the W of the rest of the server must be assumed.")  # fmt: skip
        adder = figure(power.host_adder_w)
        note += f" plus host adder of {adder.value:g} W (assumed)"
    ci = point.power_relative_ci or 0.0

    def total(watts: float) -> Figure:
        boards, value = watts * copies, watts * copies + adder.value
        least, most = adder.low, adder.high
        low = boards * (1 - ci) + (adder.value if least is None else least)
        high = boards * (1 + ci) + (adder.value if most is None else most)
        ranged = low < value < high
        return Figure(
            value=value, source=note, as_of=run.as_of, arose="measured",
            low=low if ranged else None, high=high if ranged else None,
        )  # fmt: skip

    idle = power.idle_w if run.idle_w is None else total(run.idle_w)
    try:
        return replace(power, load_w=total(point.load_w or 0.0), idle_w=idle)
    except ValueError as error:
        raise InputError(f"power.{error}, as measured by {run.path}.") from error


def with_demand(spec: TcoSpec, split: Split, trace: Demand | None) -> TcoSpec:
    """The question with volume, mix and peak filled in from the trace or the measured mix.

    InputError when a blend would be used at a mix other than the one measured.
    """
    demand = spec.demand
    if trace is not None:
        source = f"24x7 trace {demand.trace}"
        demand = replace(
            demand,
            trace=None,
            mtok_per_month=Figure(value=trace.mtok_per_month, source=source, arose="quoted"),
            peak_to_mean=Figure(value=trace.peak_to_mean(split), source=source, arose="quoted"),
            input_share=Figure(value=trace.input_share, source=source, arose="quoted"),
        )
    if demand.input_share is None:
        if split.kind == "split":
            raise InputError("tco.demand.input_share is missing: the throughput covers several "
                             "mixes, so say which share of the demand is input.")  # fmt: skip
        measured = Figure(value=split.measured_input_share, source="mix of the throughput",
                          arose="measured")  # fmt: skip
        demand = replace(demand, input_share=measured)
    share = figure(demand.input_share or 0.0).value
    if split.kind == "blend" and abs(share - split.measured_input_share) > SAME_MIX:
        raise InputError(
            f"tco.demand.input_share is {share:.3g}, but the only mix measured is "
            f"{split.measured_input_share:.3g} input; measure a second mix, or leave it null."
        )
    return replace(spec, demand=demand)


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
    yearly = get("tco.people.fte", p.fte) * get(
        "tco.people.salary_usd_per_year", p.salary_usd_per_year
    )
    paid = u.per_month(u.Rate(yearly * get("tco.people.loading", p.loading), u.Usd, u.Year))
    licences = get("tco.people.licences_usd_per_month", p.licences_usd_per_month)
    return paid + u.usd_per_month(licences)


def own_costs(spec: TcoSpec, power: PowerSpec, values: Values) -> Costs:
    """Costs of buying; InputError names the figure that is missing."""
    own, get = spec.own, lookup(values)
    if own is None:
        raise InputError("tco.own is missing: what a server costs to buy and host.")
    for key, given in (("load_w", power.load_w), ("idle_w", power.idle_w)):
        if given is None:
            raise InputError(f"power.{key} is missing: no Run measured it and power={power.name} "
                             "gives none.")  # fmt: skip
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
        raise InputError(f"prices: {gpu} has no 'rent_{tier}' price"
                         f"{'' if rent.provider is None else ' of ' + rent.provider}; add a dated "
                         "row for it.")  # fmt: skip
    rate, rows = u.Rate(row.usd, u.Usd, u.GpuHour), [row]
    if tier == "spot":
        for key in ("spot_interruptions_per_h", "spot_recovery_h"):
            if getattr(rent, key) is None:
                raise InputError(f"tco.rent.{key} is missing: spot servers are interrupted.")
        rate = spot_rate(
            rate,
            get("tco.rent.spot_interruptions_per_h", rent.spot_interruptions_per_h or 0.0),
            get("tco.rent.spot_recovery_h", rent.spot_recovery_h or 0.0),
        )
        kept = get("tco.rent.spot_on_demand_share", rent.spot_on_demand_share)
        if np.any(kept > 0):
            full = rent_row(held, gpu, "on_demand", rent.provider)
            if full is None:
                raise InputError(f"prices: {gpu} has no 'rent_on_demand' price, which "
                                 "tco.rent.spot_on_demand_share needs.")  # fmt: skip
            rows.append(full)
            rate = rate * (1 - kept) + u.Rate(full.usd, u.Usd, u.GpuHour) * kept
    none = np.asarray(0.0)
    costs = Costs(
        server=u.per_server_month(rate, max(spec.server.gpus, 1)),
        site=u.Rate(0.0, u.Usd, u.ServerMonth), load_kw=none, idle_kw=none,
        energy=u.Rate(0.0, u.Usd, u.Kwh), staff=build_staff(spec, values),
    )  # fmt: skip
    return costs, tuple(rows)
