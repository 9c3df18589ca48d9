"""The monthly bill of a fleet of servers, and whether it beats an API: tco.md's formulae 1 to 11.

Every number may be one value or a vector of draws; a month has 730 h. Sources: annuity with
residual value as in any corporate-finance text (e.g. Brealey, Myers, Allen, "Principles of
Corporate Finance", chapters 2 and 6). What buying saves over the years: `bench.money.investment`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bench.money.cost import (
    seconds_per_mtok,
)
from bench.money.throughput import (
    Split,
)
from bench.values import units as u
from bench.values.errors import InputError

ROUNDING = 1e-9
"""Slack below which a share of a server is rounding noise and not another server."""


@dataclass(frozen=True, kw_only=True)
class Capital:
    """Buying one server: C0 with installation, residual R, life in months, monthly rate r."""

    upfront: u.Qty[u.Usd]
    residual: u.Qty[u.Usd]
    life_months: int
    monthly_rate: u.FloatArray

    @property
    def discount(self) -> u.FloatArray:
        """v = 1/(1+r)."""
        return np.asarray(1 / (1 + self.monthly_rate))

    def per_month(self) -> u.Rate[u.Usd, u.ServerMonth]:
        """A = (C0 - R*v^n)*r/(1 - v^n); (C0 - R)/n where r is 0."""
        n, r, vn = self.life_months, self.monthly_rate, self.discount**self.life_months
        free = r == 0
        factor = np.where(free, 1 / n, r / np.where(free, 1.0, 1 - vn))
        paid = self.upfront - self.residual * vn
        return u.Rate(paid.value * factor, u.Usd, u.ServerMonth)


def monthly_rate(wacc_per_year: u.FloatArray) -> u.FloatArray:
    """r = (1+WACC)^(1/12) - 1."""
    return np.asarray((1 + wacc_per_year) ** (1 / u.MONTHS_PER_YEAR) - 1)


def spot_rate(
    spot: u.Rate[u.Usd, u.GpuHour], per_h: u.FloatArray, recovery_h: u.FloatArray
) -> u.Rate[u.Usd, u.GpuHour]:
    """c_eff = p_spot/(1 - lambda*tau): rent per useful hour when interruptions cost time."""
    useful = 1 - per_h * recovery_h
    if np.any(useful <= 0):
        raise InputError(
            "tco.rent: spot_interruptions_per_h times spot_recovery_h reaches 1, so "
            "no useful hour is left; lower one of them."
        )
    return spot * np.asarray(1 / useful)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What servers cost on one basis. `server` is A or the rent; rent includes site and power,
    so those are 0 then; `energy` is $/kWh times PUE; `capital` is None when renting."""

    server: u.Rate[u.Usd, u.ServerMonth]
    site: u.Rate[u.Usd, u.ServerMonth]
    load_kw: u.FloatArray
    idle_kw: u.FloatArray
    energy: u.Rate[u.Usd, u.Kwh]
    staff: u.Rate[u.Usd, u.Month]
    care: u.Rate[u.Usd, u.ServerMonth] = field(
        default_factory=lambda: u.Rate(0.0, u.Usd, u.ServerMonth)
    )
    """What people cost per server, beside `staff`, which does not grow with the fleet."""
    capital: Capital | None = None


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is asked of the servers, and how many seconds of them it takes."""

    demand: u.Rate[u.Mtok, u.Month]
    w_in: u.FloatArray
    peak_to_mean: u.FloatArray
    headroom: u.FloatArray
    spares: u.FloatArray
    split: Split
    claimed_servers: int | None = None

    @property
    def seconds(self) -> u.Rate[u.ServerSecond, u.Mtok]:
        """Server-seconds per M tokens of this mix."""
        return seconds_per_mtok(self.split, self.w_in)

    def capacity(self) -> u.Rate[u.Mtok, u.ServerMonth]:
        """M tokens a month of mean demand that one active server may carry, peak and headroom
        allowed for."""
        full = u.SECONDS_PER_MONTH / self.seconds.value
        return u.Rate(full * self.headroom / self.peak_to_mean, u.Mtok, u.ServerMonth)


@dataclass(frozen=True, kw_only=True)
class Bill:
    """One month: servers, their mean utilisation and power, and the bill by part."""

    servers: u.FloatArray
    active_exact: u.FloatArray
    utilisation: u.FloatArray
    mean_kw: u.FloatArray
    hardware: u.Rate[u.Usd, u.Month]
    site: u.Rate[u.Usd, u.Month]
    energy: u.Rate[u.Usd, u.Month]
    staff: u.Rate[u.Usd, u.Month]

    @property
    def total(self) -> u.Rate[u.Usd, u.Month]:
        """F, the fully loaded cost per month."""
        return self.hardware + self.site + self.energy + self.staff

    @property
    def cash(self) -> u.Rate[u.Usd, u.Month]:
        """F without the cost of capital goods: what is paid each month after buying them."""
        return self.site + self.energy + self.staff


def monthly_bill(costs: Costs, work: Work, owned: u.FloatArray | float = 0.0) -> Bill:
    """N servers for the demand's peak, their utilisation, and F = N*(A + site) + E + staff. Never
    fewer than are `owned`: those stand, draw power and are looked after, asked or not."""
    busy = work.seconds * work.demand  # server-seconds per month
    one = u.server_seconds(u.Rate(1.0, u.ServerMonth, u.Month))
    exact = busy.ratio(one) * work.peak_to_mean / work.headroom
    if work.claimed_servers is None:
        servers = np.maximum(np.ceil(exact - ROUNDING), 1.0) + work.spares
    else:
        servers = np.full_like(exact, float(work.claimed_servers))
    servers = np.maximum(servers, owned)
    fleet = u.Rate(servers, u.ServerMonth, u.Month)
    utilisation = busy.ratio(u.server_seconds(fleet))
    working = np.minimum(utilisation, 1.0)  # above 1 only where a claim fixed the servers
    mean_kw = working * costs.load_kw + (1 - working) * costs.idle_kw
    return Bill(
        servers=np.asarray(servers),
        active_exact=np.asarray(exact),
        utilisation=utilisation,
        mean_kw=np.asarray(mean_kw),
        hardware=costs.server * fleet,
        site=costs.site * fleet,
        energy=costs.energy * u.kwh_per_server_month(np.asarray(mean_kw)) * fleet,
        staff=costs.staff + costs.care * fleet,
    )
