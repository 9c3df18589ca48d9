"""What charts of a cost answer are drawn from: the steps of the cost, and the bill over demand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.money.breakeven import Breakeven
from bench.money.fleet import Bill, Costs, Work, monthly_bill
from bench.money.uncertainty import percentiles
from bench.values import units as u

CURVE_POINTS = 81
FURTHEST = 100.0
"""A first crossing further away than this many times the demand does not stretch the curve."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the cost of the mix; those up to a level add up to that level."""

    what: str
    level: Literal["marginal", "utilised", "loaded"]
    cost: u.Rate[u.Usd, u.Mtok]
    monthly: u.Rate[u.Usd, u.Month]


def cost_steps(costs: Costs, work: Work, bill: Bill) -> tuple[Step, ...]:
    """From server time at saturation to the fully loaded blend, in order; they sum to the bill."""
    busy = bill.utilisation * bill.servers
    spares = np.zeros_like(busy) if work.claimed_servers is not None else work.spares

    def months(servers: u.FloatArray) -> u.Rate[u.Usd, u.Month]:
        return costs.server * u.Rate(servers, u.ServerMonth, u.Month)

    parts: tuple[tuple[str, Literal["marginal", "utilised", "loaded"], u.Rate[u.Usd, u.Month]], ...]
    parts = (
        ("server time at saturation", "marginal", months(busy)),
        (
            "idle time: peaks, headroom, whole servers",
            "utilised",
            months(bill.servers - spares - busy),
        ),
        ("spare servers", "utilised", months(np.asarray(spares))),
        ("site: colocation and maintenance", "loaded", bill.site),
        ("energy", "loaded", bill.energy),
        ("staff and licences", "loaded", bill.staff),
    )
    return tuple(
        Step(what=what, level=level, cost=monthly.per(work.demand), monthly=monthly)
        for what, level, monthly in parts
    )


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The fully loaded bill at each demand; `bands` are its P5, P50 and P95 over the draws, with
    the demand itself held fixed; empty when no input has a range. `ways` has the monthly bill of
    each way to have the servers: own, rented."""

    mtok_per_month: u.FloatArray
    servers: u.FloatArray
    monthly_usd: u.FloatArray
    bands: dict[str, u.FloatArray]
    ways: dict[str, u.FloatArray]


def bill_curve(
    costs: Costs,
    work: Work,
    drawn: tuple[Costs, Work] | None,
    evens: Iterable[Breakeven],
    ways: Mapping[str, Costs],
) -> Curve:
    """Sample the bill on a logarithmic grid that spans the demand and the first crossings near."""
    demand = float(work.demand)
    firsts = [e.first for e in evens if e.first is not None and e.first <= demand * FURTHEST]
    marks = [demand, *firsts]
    grid = np.geomspace(min(marks) / 3, max(marks) * 3, CURVE_POINTS)
    bill = monthly_bill(costs, _at(work, grid))
    bands: dict[str, list[float]] = {}
    if drawn is not None:
        for volume in grid.tolist():
            total = monthly_bill(drawn[0], _at(drawn[1], np.asarray(volume))).total.value
            for name, value in percentiles(np.asarray(total)).items():
                bands.setdefault(name, []).append(value)
    return Curve(
        mtok_per_month=grid,
        servers=bill.servers,
        monthly_usd=bill.total.value,
        bands={name: np.array(values) for name, values in bands.items()},
        ways={name: monthly_bill(each, _at(work, grid)).total.value for name, each in ways.items()},
    )


def _at(work: Work, mtok_per_month: u.FloatArray) -> Work:
    return replace(work, demand=u.Rate(mtok_per_month, u.Mtok, u.Month))
