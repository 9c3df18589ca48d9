"""Every demand at which self-hosting and an API cost the same, on a bill that climbs in steps.

Within one number of servers the bill is a straight line f_N + e*V; at each further server it
jumps, so self-hosting may win, lose again at the step, and win for good only later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.money.fleet import ROUNDING, Costs, Work
from bench.values import units as u

MAX_LISTED = 200
"""Crossings listed; just above the floor they would run into the thousands."""


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Above this demand, with this many servers, `cheaper` is cheaper (until the next one)."""

    mtok_per_month: float
    servers: int
    cheaper: Literal["self-host", "api"]


@dataclass(frozen=True, kw_only=True)
class Breakeven:
    """All crossings in order of demand, none when the API stays cheaper at any demand.

    `floor_usd_per_mtok` is the limit of F/V: no demand brings self-hosting below it.
    `for_good_above` is where the last crossing lies (listed or not), None without crossing.
    `capacity_mtok_per_month` is what the servers can really do when a claim fixed their number.
    """

    crossings: tuple[Crossing, ...]
    floor_usd_per_mtok: float
    for_good_above: float | None
    capacity_mtok_per_month: float | None = None

    @property
    def first(self) -> float | None:
        """M tokens/month of the first crossing, None when there is none."""
        return self.crossings[0].mtok_per_month if self.crossings else None


def breakeven(costs: Costs, work: Work, api: u.Rate[u.Usd, u.Mtok]) -> Breakeven:
    """Scan the intervals of N for F(V) = api*V, exactly; takes single values, not vectors."""
    per_server_kw = u.kwh_per_server_month(costs.idle_kw)
    fixed = float(costs.server + costs.site + costs.care + costs.energy * per_server_kw)
    extra = u.kwh_per_server_month(np.asarray(costs.load_kw - costs.idle_kw))
    busy_months = float(work.seconds) / u.SECONDS_PER_MONTH  # server-months per M tokens
    slope = float(costs.energy * extra) * busy_months
    margin = float(api) - slope  # what each M tokens saves towards the fixed cost
    staff, spares = float(costs.staff), float(work.spares)
    if work.claimed_servers is not None:
        return _claimed(work, margin, fixed * work.claimed_servers + staff, slope, busy_months)
    step = float(work.capacity())
    floor = fixed / step + slope
    gain = margin * step - fixed
    if gain <= 0:
        return Breakeven(crossings=(), floor_usd_per_mtok=floor, for_good_above=None)
    first = max(1, math.ceil((spares * fixed + staff) / gain - ROUNDING))
    last = max(first, math.floor((spares * fixed + staff + margin * step) / gain) + 1)
    n = np.arange(first, min(last, first + MAX_LISTED) + 1, dtype=np.float64)
    even = ((n + spares) * fixed + staff) / margin
    crossings: list[Crossing] = []
    was_self = False
    for active, at in zip(n.tolist(), even.tolist(), strict=True):
        low, high = (active - 1) * step, active * step
        servers = int(active + spares)
        if was_self and at > low:
            crossings.append(Crossing(mtok_per_month=low, servers=servers, cheaper="api"))
            was_self = False
        if not was_self and at <= high * (1 + ROUNDING):
            at = max(at, low)
            crossings.append(Crossing(mtok_per_month=at, servers=servers, cheaper="self-host"))
            was_self = True
    if last <= first + MAX_LISTED:
        end = crossings[-1].mtok_per_month
    else:  # the last interval that begins with the API cheaper
        end = ((last - 1 + spares) * fixed + staff) / margin
    return Breakeven(
        crossings=tuple(crossings[:MAX_LISTED]), floor_usd_per_mtok=floor, for_good_above=end
    )


def _claimed(work: Work, margin: float, fixed: float, slope: float, busy: float) -> Breakeven:
    """The break-even of a claim of unlimited use: one line, no steps; the real capacity beside."""
    servers = work.claimed_servers or 0
    capacity = servers / busy * float(work.headroom) / float(work.peak_to_mean)
    at = fixed / margin if margin > 0 else None
    found = (
        () if at is None else (Crossing(mtok_per_month=at, servers=servers, cheaper="self-host"),)
    )
    return Breakeven(
        crossings=found,
        floor_usd_per_mtok=slope,
        for_good_above=at,
        capacity_mtok_per_month=capacity,
    )
