"""What a token costs: the question composed, and its answer as of today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ask.servers import (
    as_typed,
    check_named,
    of_other_servers,
    of_this_server,
    read_questions,
    without_servers,
)
from bench.config.compose import check_finite, compose, conf_dir, keys_within, options
from bench.config.words import check_once, typed_keys
from bench.values.errors import InputError, nearest
from bench.values.outside import text_file

if TYPE_CHECKING:
    from bench.money.answer import TcoAnswer
    from bench.money.api_bills import ApiBills
    from bench.money.demand import Demand
    from bench.money.prices.book import PriceRow, PricesSpec
    from bench.money.spec import TcoRequest
    from bench.money.throughput import TcoRun

COST_GROUPS = ("model", "power", "prices", "tco")
"""What a cost question is composed of."""


def cost_question(
    overrides: Sequence[str], config_dirs: Sequence[str], *, measured: bool = False
) -> TcoRequest:
    """The cost question that the overrides ask; `measured` where a run says speed and power."""
    from bench.money.plausible import check_plausible
    from bench.money.spec import TcoRequest
    from bench.values.codec import decode

    check_once(overrides)
    data = compose(overrides, config_dirs, "cost")
    for key in data:
        if key not in COST_GROUPS:
            raise InputError(_no_cost_key(key, data))
    check_finite(data)
    typed = typed_keys(overrides)
    as_typed(data, typed | keys_within(overrides))
    check_named(data, typed, measured=measured)
    without_servers(data, typed, measured=measured)
    request = decode(TcoRequest, {**data, "known_gpus": tuple(options("gpu", config_dirs))})
    check_plausible(request)
    if request.tco.basis == "api":
        return request
    others = [o for o in overrides if not o.startswith("tco.server.")]
    of = data["tco"]["server"]
    if len(others) < len(overrides):
        of = compose(others, config_dirs, "cost")["tco"]["server"]
    written = read_questions(conf_dir(), [Path(d) for d in config_dirs])
    elsewhere = of_other_servers(request, data, of, typed, written)
    if elsewhere:  # a GPU that nobody knows is the fault, not whose its figures are
        from bench.money.answer import known_gpu

        known_gpu(request, book_rows(request.prices))
    return of_this_server(request, elsewhere, typed, measured=measured)


def _no_cost_key(key: str, data: Mapping[str, Any]) -> str:
    if key in ("gpu", "gpus"):
        return f"{key}: a cost question says it as tco.server.{key}=… (and what that server costs)."
    if whole := full_keys(key, data):
        return f"unknown key {key!r} of a cost question. Did you mean {' or '.join(whole)}?"
    return f"unknown key {key!r} of a cost question.{nearest(key, COST_GROUPS)}"


def full_keys(key: str, data: Mapping[str, Any], group: str = "") -> list[str]:
    """The dotted keys of a composed question that end in `key`: tco.demand.mtok_per_month."""
    found: list[str] = []
    for name, value in data.items():
        below = f"{group}{name}"
        found += [below] if group and name == key else []
        found += full_keys(key, value, f"{below}.") if isinstance(value, Mapping) else []
    return found


def answered(request: TcoRequest, runs: tuple[TcoRun, ...]) -> TcoAnswer:
    """The answer as of today; InputError when there is none."""
    from bench.money.answer import answer
    from bench.trend.licences import changes

    paths = [run.path for run in runs if run.path]
    if len(set(paths)) < len(paths):
        raise InputError("one run is given twice, and would count twice: give it once.")
    today = datetime.now(tz=UTC).date()
    rows = book_rows(request.prices)
    check_day(request.prices.as_of, rows, today)
    found = answer(request, runs, rows, trace_of(request), today)
    changed = () if request.model is None else changes(request.model)
    return replace(found, licence=(*changed, *found.licence))


def bought(request: TcoRequest) -> ApiBills:
    """What each API bills for the demand, as of today: an answer without servers."""
    from bench.money.api_bills import api_bills

    today = datetime.now(tz=UTC).date()
    rows = book_rows(request.prices)
    check_day(request.prices.as_of, rows, today)
    return api_bills(request, rows, trace_of(request), today)


def check_day(
    as_of: str | None, rows: Sequence[PriceRow], today: date, key: str = "prices.as_of"
) -> None:
    """InputError for a day of which the book knows no price: before its first row, or to come."""
    from bench.money.prices.book import until
    from bench.values.figure import first_day

    if as_of is None or not rows:
        return
    days = [first_day(row.as_of) for row in rows]
    if first_day(as_of) > max(today, *days):
        raise InputError(f"{key}: {as_of} is still to come: nobody knows its prices.")
    if not any(until(rows, as_of)):
        raise InputError(
            f"{key}: nothing is known of {as_of}: the price book begins on {min(days)}."
        )


def book_rows(spec: PricesSpec) -> tuple[PriceRow, ...]:
    """All rows: those of the configuration, then those of the CSV that `book` names."""
    from bench.money.prices.shipped import configured
    from bench.money.prices.tables import read_prices

    rows = configured(spec)
    if spec.book is None:
        return rows
    text = text_file(spec.book, "prices.book")
    return rows + read_prices(text, spec.book, as_of="1970", provider=None).rows


def trace_of(request: TcoRequest) -> Demand | None:
    """The demand of the trace that the question names; None without one."""
    from bench.money.demand import trace_demand

    name = request.tco.demand.trace
    if name is None:
        return None
    return trace_demand(text_file(name, "tco.demand.trace").splitlines(), name)
