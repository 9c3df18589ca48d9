"""Buying servers as an investment against an API: its cash flows, and what is read from them.

Net present value and payback rest on the same flows, so that neither says what the other denies:
API prices fall and demand grows as the question says, further servers are bought the month before
they are needed, none is sold or switched off where demand falls, and all are sold at the end of the
life. Savings fall at the end of each month (Brealey, Myers, Allen, "Principles of Corporate
Finance", chapters 2, 5 and 6).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bench.money.fleet import Bill, Capital, Costs, Work, monthly_bill
from bench.values import units as u


@dataclass(frozen=True, kw_only=True)
class Flows:
    """Cash of buying instead of staying with the API. `bought[t]` is paid at the end of month t
    (0: at the start), `saved[t]` is API bill less running costs at the end of month t + 1, and
    `sold` what the servers bring at the end."""

    capital: Capital
    bought: tuple[u.Qty[u.Usd], ...]
    saved: tuple[u.Qty[u.Usd], ...]
    sold: u.Qty[u.Usd]


def flows(
    costs: Costs,
    work: Work,
    api: u.Rate[u.Usd, u.Mtok],
    decline: u.FloatArray,
    growth: u.FloatArray,
) -> Flows | None:
    """The flows over the servers' life; None when nothing is bought.

    API prices fall by `decline` and demand grows by `growth` a year. Servers added on the way are
    sold at the end for C0 less straight-line wear.
    """
    capital = costs.capital
    if capital is None:
        return None
    n = capital.life_months
    wear = (capital.upfront - capital.residual) * (1 / n)
    bill = monthly_bill(costs, work)
    owned = bill.servers
    bought, saved, sold = [capital.upfront * owned], [], capital.residual * owned
    flat = not np.any(growth)
    for month in range(1, n + 1):
        asked = work
        if not flat:
            years = month / u.MONTHS_PER_YEAR
            asked = replace(work, demand=work.demand * (1 + growth) ** years)
            bill = monthly_bill(costs, asked, owned)
            added = bill.servers - owned
            owned = bill.servers
            age = n - month + 1
            bought[month - 1] = bought[month - 1] + capital.upfront * added
            sold = sold + (capital.upfront - wear * float(age)) * added
        paid = api * asked.demand * (1 - decline) ** (month / u.MONTHS_PER_YEAR)
        saved.append((paid - bill.cash) * u.Qty(1.0, u.Month))
        bought.append(capital.upfront * 0.0)
    return Flows(capital=capital, bought=tuple(bought), saved=tuple(saved), sold=sold)


def npv(found: Flows) -> u.Qty[u.Usd]:
    """Net present value: -N*C0 + sum((API_t - opex_t)*v^t) + N*R*v^n, with the servers added."""
    v, n = found.capital.discount, found.capital.life_months
    worth = found.sold * v**n
    for month, cost in enumerate(found.bought):
        worth = worth - cost * v**month
    for month, gain in enumerate(found.saved, start=1):
        worth = worth + gain * v**month
    return worth


def payback_months(found: Flows) -> float | None:
    """The month from which on what was saved covers what was bought, to the end of the life; None
    when that never is so. Undiscounted; a month's savings spread evenly over it; the sale counts
    in the last month."""
    balance, since = -float(found.bought[0]), None
    for month, gain in enumerate(map(float, found.saved), start=1):
        before, balance = balance, balance + gain
        if balance < 0:
            since = None
        elif since is None:
            since = month - 1 + min(1.0, -before / gain) if before < 0 else float(month - 1)
        balance -= float(found.bought[month])
        if balance < 0:
            since = None
    if since is None and balance + float(found.sold) >= 0:
        return float(found.capital.life_months)
    return since


def payback_at_todays_prices(costs: Costs, bill: Bill, api: u.Rate[u.Usd, u.Month]) -> float | None:
    """N*C0/(API - cash opex): months if neither price nor demand ever moved and servers lasted for
    ever; None when the API bill does not exceed the running costs, or nothing was bought."""
    if costs.capital is None:
        return None
    saved = float(api - bill.cash)
    return float(bill.servers) * float(costs.capital.upfront) / saved if saved > 0 else None
