"""What a token costs: the question composed, and its answer as of today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bench.config.compose import compose, options
from bench.config.words import check_once, typed_keys
from bench.values.errors import InputError, nearest
from bench.values.outside import text_file

if TYPE_CHECKING:
    from bench.money.answer import TcoAnswer
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
            raise InputError(_no_cost_key(key))
    request = decode(TcoRequest, {**data, "known_gpus": tuple(options("gpu", config_dirs))})
    check_plausible(request)
    others = [o for o in overrides if not o.startswith("tco.server.")]
    if len(others) < len(overrides):
        of = compose(others, config_dirs, "cost")["tco"]["server"]
        return of_this_server(request, of, typed_keys(overrides), measured=measured)
    return request


def _no_cost_key(key: str) -> str:
    if key in ("gpu", "gpus"):
        return f"{key}: a cost question says it as tco.server.{key}=… (and what that server costs)."
    return f"unknown key {key!r} of a cost question.{nearest(key, COST_GROUPS)}"


OWN_OF_A_SERVER = (
    "tco.own.capex_usd",
    "tco.own.residual_usd",
    "tco.own.provisioned_kw",
    "tco.own.maintenance_usd_per_month",
)
POWER_OF_A_SERVER = ("load_w", "idle_w", "host_adder_w")


def of_this_server(
    request: TcoRequest, of: Mapping[str, Any], typed: frozenset[str], *, measured: bool
) -> TcoRequest:
    """The question with nothing in it that belongs to another server than the typed one.

    `of` is the server that the chosen group describes. Nothing is scaled: a server of half the
    GPUs costs more than half, and does not serve half. InputError names what the answer needs and
    was not typed; what only a way beside it needs is taken out, so that this way says so.
    """
    tco, server = request.tco, request.tco.server
    if (server.gpu, server.gpus) == (of["gpu"], of["gpus"]):
        return request

    def missing(keys: Sequence[str]) -> list[str]:
        return [k for k in keys if not any(t == k or t.startswith(f"{k}.") for t in typed)]

    own = missing(OWN_OF_A_SERVER)
    power = [] if "power" in typed else missing([f"power.{k}" for k in POWER_OF_A_SERVER])
    needed = missing(["tco.throughput.points"]) if tco.throughput and not measured else []
    if "tco.throughput" in typed:
        needed = []
    if tco.basis == "own":
        needed += own
        needed += [] if measured else [k for k in power if k != "power.host_adder_w"]
    if needed:
        raise InputError(
            f"tco.server is {server.gpus}×{server.gpu}, but tco={tco.name} gives its figures for "
            f"{of['gpus']}×{of['gpu']}: type {', '.join(needed)} of this server, too."
        )
    unknown: dict[str, Any] = {key.partition(".")[2]: None for key in power}
    return replace(
        request,
        tco=replace(tco, own=None if own else tco.own),
        power=replace(request.power, **unknown),
    )


def answered(request: TcoRequest, runs: tuple[TcoRun, ...]) -> TcoAnswer:
    """The answer as of today; InputError when there is none."""
    from bench.money.answer import answer
    from bench.trend.licences import changes

    today = datetime.now(tz=UTC).date()
    found = answer(request, runs, book_rows(request.prices), trace_of(request), today)
    changed = () if request.model is None else changes(request.model)
    return replace(found, licence=(*changed, *found.licence))


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
