"""What no price list, data centre or demand has shown: asked back before it is answered.

The bounds are wide: a figure beyond them is a slip of a unit far more often than a find. They are
this project's own choice, not anybody's statistics; each says what it was chosen by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bench.values.errors import InputError
from bench.values.figure import figure

if TYPE_CHECKING:
    from bench.money.spec import TcoRequest


class Range(NamedTuple):
    """What is taken without asking back: the ends, the unit with the usual slip, and the reason."""

    low: float
    high: float
    unit: str
    why: str


RANGES = {
    "power.usd_per_kwh": Range(
        *(0.005, 2, "$/kWh (cents? 30 ct are 0.30)"),
        "industry and homes pay 0.03 to 0.60 almost everywhere",
    ),
    "power.pue": Range(1, 4, "times the servers' own power", "a poor server room has 2 to 2.5"),
    "power.load_w": Range(
        *(5, 300_000, "W a server (kilowatts?)"), "a board computer to two racks of 72 GPUs"
    ),
    "power.idle_w": Range(1, 300_000, "W a server (kilowatts?)", "no more than under load"),
    "power.host_adder_w": Range(
        *(1, 100_000, "W a server beside its GPUs (kilowatts?)"), "a node of 8 has 0.7 to 3 kW"
    ),
    "power.gpus": Range(0, 1_152, "GPUs in one server", "as tco.server.gpus"),
    "tco.server.gpus": Range(
        *(0, 1_152, "GPUs in one server; the fleet is counted from the demand"),
        "the largest single NVLink domain announced has 576",
    ),
    "tco.own.capex_usd": Range(
        *(50, 50_000_000, "$ a server (thousands?)"), "a used mini computer to ten racks of 72 GPUs"
    ),
    "tco.own.residual_usd": Range(
        *(1, 50_000_000, "$ a server (thousands?)"), "no more than it cost"
    ),
    "tco.own.life_months": Range(
        *(12, 240, "months (years?)"), "servers are written off over 3 to 6 years"
    ),
    "tco.own.wacc_per_year": Range(
        *(0, 1, "a year as a share (percent? 8 % are 0.08)"), "capital costs 4 to 20 % a year"
    ),
    "tco.own.install_fraction": Range(
        *(0, 3, "of the price as a share (percent?)"), "racking and network cost 5 to 30 %"
    ),
    "tco.own.colo_usd_per_kw_month": Range(
        *(5, 5_000, "$ per kW and month"), "colocation costs 80 to 400"
    ),
    "tco.own.provisioned_kw": Range(
        *(0.005, 300, "kW a server (watts?)"), "as power.load_w, in kW"
    ),
    "tco.own.maintenance_usd_per_month": Range(
        *(0.1, 2_000_000, "$ a month and server"), "5 to 15 % of the price a year"
    ),
    "tco.rent.spot_interruptions_per_h": Range(
        *(1e-6, 60, "an hour"), "once in a century to once a minute"
    ),
    "tco.rent.spot_recovery_h": Range(*(1 / 3600, 48, "hours (minutes?)"), "a second to two days"),
    "tco.people.fte": Range(
        *(1e-4, 10_000, "full-time people"), "ten minutes a month to a large company's whole staff"
    ),
    "tco.people.fte_per_server": Range(
        *(1e-5, 20, "full-time people for each server"), "one person keeps 20 to 1,000 servers"
    ),
    "tco.people.salary_usd_per_year": Range(
        *(500, 3_000_000, "$ a year (thousands? a month?)"), "the lowest wages to the highest known"
    ),
    "tco.people.loading": Range(1, 5, "times the salary", "1.2 to 2 with taxes and an office"),
    "tco.people.licences_usd_per_month": Range(
        *(0.01, 100_000_000, "$ a month"), "a domain's fee to a company's whole software"
    ),
    "tco.demand.mtok_per_month": Range(
        *(1e-4, 1e8, "millions of tokens a month (tokens?)"),
        "100 tokens, to four times what DeepSeek served of R1 and V3 in February 2025 (2.4e7)",
    ),
    "tco.demand.peak_to_mean": Range(
        *(1, 1_000, "times the mean"), "office hours give 2 to 4, an hour's use a month 730"
    ),
    "tco.demand.growth_per_year": Range(
        *(-1, 10, "a year as a share (percent? 50 % are 0.5)"), "the largest services grew tenfold"
    ),
    "tco.fleet.spares": Range(0, 10_000, "servers", "a share of the fleet"),
    "tco.fleet.claimed_servers": Range(0, 100_000, "servers", "the largest data centres"),
    "tco.fleet.headroom": Range(
        *(0.05, 1, "of what a server can do, as a share"), "0.7 to 0.95 is usual"
    ),
    "tco.throughput.relative_ci": Range(
        *(1e-6, 5, "of the throughput as a share (percent?)"),
        "repeats differ by 0.1 to 20 %, a prediction may be off by 100 % and more",
    ),
    "tco.api.decline_per_year": Range(
        *(-1, 0.95, "a year as a share"), "prices of one quality have fallen by 0 to 90 % a year"
    ),
    "tco.uncertainty.draws": Range(
        *(10, 1_000_000, "draws"), "a hundred thousand leave nothing to chance"
    ),
}
POINT = Range(
    *(0.01, 1e8, "tokens/s of one server"), "a board computer to a rack of 72 GPUs reading prompts"
)
END = Range(
    *(0.05, 20, "of the throughput as a share (percent?)"),
    "repeats differ by 0.1 to 20 %, a prediction may be off by 100 % and more",
)
TASK = Range(1, 1e7, "tokens a task (millions?)", "one word to ten of the longest contexts")
LEAST_USD_PER_GPU = 100
"""No GPU that serves a language model has been sold for less."""


def _at(request: Any, key: str) -> Any:
    """What a question says under a key; None where a part of it was not asked."""
    for name in key.split("."):
        request = getattr(request, name, None)
    return request


def check_plausible(request: TcoRequest) -> None:
    """InputError that asks back for the first figure beyond its range, unless it is allowed."""
    if "implausible" in request.tco.allow:
        return
    for key, taken in RANGES.items():
        if key == "tco.own.capex_usd":
            least = max(taken.low, LEAST_USD_PER_GPU * request.tco.server.gpus)
            of = f"$ for a server of {request.tco.server.gpus} GPUs (thousands?)"
            taken = taken._replace(low=least, unit=of if request.tco.server.gpus else taken.unit)
        _ask(key, _at(request, key), taken)
    given = request.tco.throughput
    for end in () if given is None else given.relative_ends or ():
        _ask("tco.throughput.relative_ends", end, END)
    for point in () if given is None else given.points:
        for value in (point.input_tokens_per_s, point.output_tokens_per_s):
            _ask("tco.throughput.points", value, POINT)
    quality = request.tco.quality
    for name, task in (("self_hosted", quality.self_hosted), *quality.apis.items()):
        for part in ("input_tokens_per_task", "output_tokens_per_task"):
            _ask(f"tco.quality.{name}.{part}", getattr(task, part, None), TASK)


def _ask(key: str, given: Any, taken: Range) -> None:
    """0 is none of something, and no slip of a unit."""
    if given is None:
        return
    f = figure(given)
    for value in (v for v in (f.value, f.low, f.high) if v is not None):
        if not (taken.low <= value <= taken.high or value == 0):
            raise InputError(
                f"{key} is {value:g} {taken.unit}: really? Between {taken.low:g} and "
                f"{taken.high:g} is taken without asking ({taken.why}); "
                "tco.allow=[implausible] takes this, too."
            )
