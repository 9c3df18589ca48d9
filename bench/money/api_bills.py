"""What each API bills for a demand: the one answer that needs no server, no throughput, no watts.

Pure, as `bench.money.answer` is: prices and the demand's trace come in as values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np

from bench.money.api_price import api_blend
from bench.money.apis import terms
from bench.money.caveats import Assumed, absent_caveats, aged, stale_caveats
from bench.money.demand import Demand
from bench.money.inputs import Values, lookup, traced
from bench.money.prices.book import PriceRow, comparable_apis, not_yet_priced, select
from bench.money.spec import DemandSpec, TcoRequest
from bench.money.uncertainty import percentiles, sample
from bench.values import units as u
from bench.values.codec import encode
from bench.values.errors import InputError
from bench.values.figure import figure, figures, first_day


@dataclass(frozen=True, kw_only=True)
class ApiBill:
    """One API at this demand; `monthly` has P5, P50 and P95 where something that enters it has a
    range, else nothing."""

    key: str
    rows: Mapping[str, PriceRow]
    usd_per_mtok: float
    usd_per_month: float
    monthly: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ApiBills:
    """Every API asked about, the cheapest first, and what the bills rest on."""

    name: str
    mtok_per_month: float
    input_share: float
    draws: int
    apis: tuple[ApiBill, ...]
    assumed: tuple[Assumed, ...]
    caveats: tuple[str, ...]


ENTERS = ("tco.demand.mtok_per_month", "tco.demand.input_share", "tco.demand.cache_hit_rate")
"""Of the demand; of the API's terms all but how prices will move."""


def api_bills(
    request: TcoRequest, rows: tuple[PriceRow, ...], trace: Demand | None, today: date
) -> ApiBills:
    """The bills of a month; InputError names what the question lacks."""
    demand = _demand(request.tco.demand, trace)
    spec = replace(request.tco, demand=demand)
    held = select(rows, request.prices.as_of)
    future = not_yet_priced(rows, held, spec.api.compare)
    asked = tuple(key for key in spec.api.compare if key not in future)
    chosen, left_out = comparable_apis(held, asked)
    if not chosen:
        raise InputError("prices: the book has no API with an input and an output price.")
    inputs = {k: f for k, f in figures(spec, "tco").items() if _enters(k)}
    draws = sample(inputs, spec.uncertainty, ("", ""))
    bills: list[ApiBill] = []
    caveats: list[str] = []
    for key, kinds in chosen.items():
        blend = api_blend(key, kinds, terms(spec, {}))
        caveats += blend.caveats
        price, volume = float(blend.price), figure(demand.mtok_per_month or 0.0).value
        bills.append(
            ApiBill(
                key=key,
                rows={kind: kinds[kind] for kind in blend.used},
                usd_per_mtok=price,
                usd_per_month=price * volume,
                monthly=_spread(spec, key, kinds, draws),
            )
        )
    bills.sort(key=lambda b: b.usd_per_month)
    caveats += absent_caveats(left_out, future, request.prices.as_of, quality=len(bills) == 1)
    reference = first_day(request.prices.as_of) if request.prices.as_of else today
    used = {f"prices.{r.key}.{r.kind}": r for b in bills for r in b.rows.values()}
    assumed = aged(inputs, used, reference, request.prices.stale_days)
    if not draws:
        caveats.append("no input has a range, so nothing is said about uncertainty")
    return ApiBills(
        name=spec.name,
        mtok_per_month=figure(demand.mtok_per_month or 0.0).value,
        input_share=figure(demand.input_share or 0.0).value,
        draws=spec.uncertainty.draws if draws else 0,
        apis=tuple(bills),
        assumed=assumed,
        caveats=(*dict.fromkeys(caveats), *stale_caveats(assumed, request.prices.stale_days)),
    )


def _demand(demand: DemandSpec, trace: Demand | None) -> DemandSpec:
    """The demand with volume and mix, from the trace where there is one."""
    if trace is not None:
        return traced(demand, trace, peak_to_mean=1.0)  # an API bills no peak
    if demand.input_share is None:
        raise InputError(
            "tco.demand.input_share is missing: APIs ask other prices for prompts than for "
            "answers, so say which share of the tokens are prompts: tco.demand.input_share=0.75."
        )
    return demand


def _enters(key: str) -> bool:
    terms_of_apis = key.startswith("tco.api.") and key != "tco.api.decline_per_year"
    return key in ENTERS or terms_of_apis


def _spread(spec: Any, key: str, kinds: Mapping[str, PriceRow], draws: Values) -> dict[str, float]:
    """The bill over the draws."""
    if not draws:
        return {}
    volume = lookup(draws)("tco.demand.mtok_per_month", spec.demand.mtok_per_month)
    price = api_blend(key, kinds, terms(spec, draws)).price
    bill = np.asarray((price * u.Rate(volume, u.Mtok, u.Month)).value)
    return percentiles(bill) if bill.ndim else {}


def to_json(found: ApiBills) -> dict[str, Any]:
    """The contract of `bench tco tco.basis=api --json`; P5 to P95 are null without ranges."""
    return {
        "name": found.name,
        "basis": "api",
        "cheapest": found.apis[0].key,
        "model": {
            "demand_mtok_per_month": found.mtok_per_month,
            "input_share": found.input_share,
        },
        "apis": {
            b.key: {
                "usd_per_mtok_blended": b.usd_per_mtok,
                "monthly_usd": b.usd_per_month,
                **{f"monthly_usd_{p}": b.monthly.get(p) for p in ("p5", "p50", "p95")},
                "as_of": sorted({row.as_of for row in b.rows.values()}),
                "verified": all(row.verified for row in b.rows.values()),
            }
            for b in found.apis
        },
        "uncertainty": {"draws": found.draws},
        "caveats": list(found.caveats),
        "assumed": [
            {"key": a.key, **encode(a.figure), "stale_age_days": a.age_days} for a in found.assumed
        ],
    }
