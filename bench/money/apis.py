"""Self-hosting against each API of the book: its price, break-evens, payback, NPV, odds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from bench.money.api_price import Terms, api_blend
from bench.money.breakeven import Breakeven, breakeven
from bench.money.fleet import Bill, Costs, Work, monthly_bill
from bench.money.inputs import Values, lookup
from bench.money.investment import flows, npv, payback_at_todays_prices, payback_months
from bench.money.prices.book import Decline, PriceRow, decline
from bench.money.spec import TcoSpec
from bench.money.standing import Standing, standing
from bench.values import units as u
from bench.values.errors import InputError
from bench.values.figure import figure


@dataclass(frozen=True, kw_only=True)
class ApiAnswer:
    """One API; `rows` are the prices that entered.

    `p_self_host_cheaper` is the share of draws in which the own bill is lower, None without draws;
    `history` is how its dated prices fell, None without history.
    """

    key: str
    rows: Mapping[str, PriceRow]
    price: u.Rate[u.Usd, u.Mtok]
    monthly: u.Rate[u.Usd, u.Month]
    breakeven: Breakeven
    decline_per_year: float
    """The fall of its price that payback and NPV take."""
    payback_months: float | None
    """None: not within the servers' life, or nothing is bought (`npv` is None then, too)."""
    payback_at_todays_prices_months: float | None
    npv: u.Qty[u.Usd] | None
    p_self_host_cheaper: float | None
    cheaper: Standing
    """Which side is, by the central figures and the draws together."""
    history: Decline | None


def terms(spec: TcoSpec, values: Values, w_in: u.FloatArray | None = None) -> Terms:
    """The API side of the question as numbers (or draws); `w_in` overrides the demand's mix."""
    get, api, demand = lookup(values), spec.api, spec.demand
    share = get("tco.demand.input_share", demand.input_share or 0.0) if w_in is None else w_in
    batch = api.batch_discount
    return Terms(
        w_in=share,
        cache_hit_rate=get("tco.demand.cache_hit_rate", demand.cache_hit_rate),
        discount=get("tco.api.discount", api.discount),
        batch_share=get("tco.api.batch_share", api.batch_share),
        long_context_share=get("tco.api.long_context_share", api.long_context_share),
        batch_discount=None if batch is None else get("tco.api.batch_discount", batch),
    )


def compare_apis(
    spec: TcoSpec,
    chosen: Mapping[str, Mapping[str, PriceRow]],
    rows: Iterable[PriceRow],
    costs: Costs,
    work: Work,
    draws: Values,
    drawn: Bill | None,
) -> tuple[tuple[ApiAnswer, ...], tuple[str, ...]]:
    """Answers for every API, dearest first, and the caveats of their prices."""
    bill = monthly_bill(costs, work)
    ours = float(bill.total.per(work.demand))
    history = tuple(rows)
    growth = np.asarray(figure(spec.demand.growth_per_year).value)
    found: list[ApiAnswer] = []
    caveats: list[str] = []
    for key, kinds in chosen.items():
        blend = api_blend(key, kinds, terms(spec, {}))
        price = blend.price
        caveats += blend.caveats
        odds = None
        if drawn is not None:
            volume = lookup(draws)("tco.demand.mtok_per_month", spec.demand.mtok_per_month or 0.0)
            price_of = api_blend(key, kinds, terms(spec, draws)).price
            bought = price_of * u.Rate(volume, u.Mtok, u.Month)
            odds = float(np.mean(drawn.total.value < bought.value))
        past = decline(row for row in history if row.key == key)
        monthly = price * work.demand
        falls = yearly_decline(spec, key, past)
        cash = flows(costs, work, price, falls, growth)
        found.append(
            ApiAnswer(
                key=key,
                rows={kind: kinds[kind] for kind in blend.used},
                price=price,
                monthly=monthly,
                breakeven=breakeven(costs, work, price),
                decline_per_year=float(falls),
                payback_months=None if cash is None else payback_months(cash),
                payback_at_todays_prices_months=payback_at_todays_prices(costs, bill, monthly),
                npv=None if cash is None else npv(cash),
                p_self_host_cheaper=odds,
                cheaper=standing(ours, float(price), odds),
                history=past,
            )
        )
    return tuple(sorted(found, key=lambda a: -float(a.price))), tuple(dict.fromkeys(caveats))


def yearly_decline(spec: TcoSpec, key: str, past: Decline | None) -> u.FloatArray:
    """The decline assumed, or the one the price history shows when the question says null."""
    given = spec.api.decline_per_year
    if given is not None:
        return np.asarray(figure(given).value)
    if past is None:
        raise InputError(
            f"tco.api.decline_per_year is null, but {key} has fewer than two dated "
            "prices to estimate it from; give a number."
        )
    return np.asarray(past.per_year)
