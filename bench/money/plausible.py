"""What no price list, data centre or demand has shown: asked back before it is answered.

The bounds are wide: a figure beyond them is a slip of a unit far more often than a find. They are
this project's own choice, not anybody's statistics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.values.errors import InputError
from bench.values.figure import figure

if TYPE_CHECKING:
    from bench.money.spec import TcoRequest

_RANGES = (
    ("power.usd_per_kwh", 0.005, 2, "$/kWh (cents? 30 ct are 0.30)"),
    ("power.pue", 1, 4, "times the servers' own power"),
    ("power.load_w", 5, 300_000, "W a server (kilowatts?)"),
    ("power.idle_w", 1, 300_000, "W a server (kilowatts?)"),
    ("tco.server.gpus", 0, 1_152, "GPUs in one server; the fleet is counted from the demand"),
    ("tco.own.capex_usd", 50, 50_000_000, "$ a server"),
    ("tco.own.life_months", 3, 240, "months (years?)"),
    ("tco.own.wacc_per_year", 0, 1, "a year as a share (percent? 8 % are 0.08)"),
    ("tco.own.install_fraction", 0, 3, "of the price as a share (percent?)"),
    ("tco.own.colo_usd_per_kw_month", 0, 5_000, "$ per kW and month"),
    ("tco.own.provisioned_kw", 0, 1_000, "kW a server (watts?)"),
    ("tco.people.fte", 0, 10_000, "full-time people"),
    ("tco.people.salary_usd_per_year", 500, 3_000_000, "$ a year (thousands? a month?)"),
    ("tco.people.loading", 1, 5, "times the salary"),
    ("tco.demand.mtok_per_month", 1e-4, 1e10, "millions of tokens a month (tokens?)"),
    ("tco.demand.peak_to_mean", 1, 1_000, "times the mean"),
    ("tco.demand.growth_per_year", -1, 100, "a year as a share (percent?)"),
    ("tco.fleet.spares", 0, 10_000, "servers"),
    ("tco.fleet.claimed_servers", 0, 100_000, "servers"),
    ("tco.own.residual_usd", 0, 50_000_000, "$ a server"),
    ("tco.own.maintenance_usd_per_month", 0, 2_000_000, "$ a month and server"),
    ("tco.people.fte_per_server", 0, 20, "full-time people for each server"),
    ("tco.people.licences_usd_per_month", 0, 100_000_000, "$ a month"),
    ("tco.rent.spot_interruptions_per_h", 0, 60, "an hour"),
    ("tco.rent.spot_recovery_h", 0, 48, "hours (minutes?)"),
)


def _at(request: Any, key: str) -> Any:
    """What a question says under a key; None where a part of it was not asked."""
    for name in key.split("."):
        request = getattr(request, name, None)
    return request


def check_plausible(request: TcoRequest) -> None:
    """InputError that asks back for the first figure beyond its range, unless it is allowed."""
    if "implausible" in request.tco.allow:
        return
    for key, low, high, unit in _RANGES:
        given = _at(request, key)
        if given is None:
            continue
        f = figure(given)
        for value in (v for v in (f.value, f.low, f.high) if v is not None):
            _ask(key, value, low, high, unit)
    points = () if request.tco.throughput is None else request.tco.throughput.points
    for point in points:
        for value in (point.input_tokens_per_s, point.output_tokens_per_s):
            _ask("tco.throughput.points", value, 0.01, 1e8, "tokens/s of one server")


def _ask(key: str, value: float, low: float, high: float, unit: str) -> None:
    if low <= value <= high or value == 0:
        return
    raise InputError(
        f"{key} is {value:g} {unit}: really? Between {low:g} and {high:g} is taken "
        "without asking; tco.allow=[implausible] takes this, too."
    )
