"""Which server each figure of a cost question belongs to: none is used for another one unseen.

Price, watts and throughput were given for so many of one GPU. Nothing is scaled: a server of half
the GPUs costs more than half, and does not serve half. A figure is another server's where the
server was typed anew and the figure was not, where the power group names another server, or where
it stands word for word in another server's question: then it was copied. Two questions of one's own
may share a figure (a flat fee for maintenance): there all of a server's have to be alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.values.errors import InputError

if TYPE_CHECKING:
    from bench.money.spec import TcoRequest

FEE = "tco.own.maintenance_usd_per_month"
OWN_OF_A_SERVER = (
    "tco.own.capex_usd",
    "tco.own.residual_usd",
    "tco.own.provisioned_kw",
    FEE,
)
POWER_OF_A_SERVER = ("power.load_w", "power.idle_w", "power.host_adder_w")
POINTS = "tco.throughput.points"
TYPED = "typed"


def as_typed(data: Mapping[str, Any], typed: frozenset[str]) -> None:
    """A figure typed over one of a file keeps nothing that the file said of the old one, in place:
    its source is "typed" unless that is typed, too. A range that stays says whose it is."""
    throughput = _at(data, "tco.throughput")
    whole = "tco.throughput" in typed
    if (whole or _is_typed(POINTS, typed)) and isinstance(throughput, dict):
        said: dict[str, Any] = {"source": TYPED, "as_of": ""}
        said["arose"] = "quoted" if "tco.throughput.source" in typed else "assumed"
        said |= {"relative_ci": None, "relative_ends": None}
        throughput |= {k: v for k, v in said.items() if f"tco.throughput.{k}" not in typed}
    for key in typed:
        name, _, part = key.rpartition(".")
        figure = _at(data, name)
        if part not in ("value", "low", "high") or not isinstance(figure, dict):
            continue
        sourced = f"{name}.source" in typed
        if part != "value" and sourced:
            continue
        if part != "value":
            ends = {f"{name}.value", f"{name}.low", f"{name}.high"} & typed
            if f"{name}.value" not in typed and key == min(ends):  # once for both ends
                figure["source"] = f"{figure.get('source')}; its range {TYPED}"
            continue
        old = figure.get("source") or "no source"
        kept = figure.get("low") is not None and f"{name}.low" not in typed
        said = {"arose": "quoted" if sourced else "assumed", "verified": True, "as_of": ""}
        if not sourced:
            figure["source"] = f"{TYPED}; its range: {old}" if kept else TYPED
        figure |= {k: v for k, v in said.items() if f"{name}.{k}" not in typed}


NO_SERVERS = ("tco.server", "tco.own", "tco.rent", "tco.people", "tco.fleet", "tco.throughput")
"""What an answer about APIs alone does not take; nor the whole power group."""


def check_named(data: Mapping[str, Any], typed: frozenset[str], *, measured: bool) -> None:
    """InputError where a figure of some server was typed and nobody said of which: that of the
    default question would be taken unseen. A typed throughput beside a Run is refused, too: only
    one of the two could count."""
    tco = data.get("tco")
    if not isinstance(tco, dict) or tco.get("basis") == "api":
        return
    if measured and _is_typed("tco.throughput", typed):
        raise InputError(
            "tco.throughput: a Run is named and says the throughput itself: leave out one of them."
        )
    if "tco" in typed or "tco.server" in typed or {"tco.server.gpu", "tco.server.gpus"} <= typed:
        return
    keys = ("tco.throughput", *OWN_OF_A_SERVER, *POWER_OF_A_SERVER)
    found = [key for key in keys if _is_typed(key, typed)]
    if "tco.own.capex_usd" not in found and "tco.own" in typed and tco.get("own") is not None:
        found.append("tco.own")
    given = [key for key in ("tco.server.gpu", "tco.server.gpus") if key in typed]
    if not (found or given):
        return
    of = f"{_at(tco, 'server.gpus')}×{_at(tco, 'server.gpu')}"
    shipped = "" if given else f" tco=default takes its {of}."
    words = [f"{key}={v}" for key, v in (("tco.server.gpu", "NAME"), ("tco.server.gpus", "N"))]
    missing = " ".join(w for w in words if w.partition("=")[0] not in given)
    raise InputError(
        f"{', '.join(found or given)}: of which server? Say which GPU, and how many in a server: "
        f"{missing}.{shipped}"
    )


def without_servers(data: Mapping[str, Any], typed: frozenset[str], *, measured: bool) -> None:
    """Leave the figures of servers out of a question about APIs alone, in place. InputError where
    one was typed or a Run named: neither would count."""
    tco = data.get("tco")
    if not isinstance(tco, dict) or tco.get("basis") != "api":
        return
    if measured:
        raise InputError(
            "tco.basis=api asks about no servers: leave the run out, or take tco.basis=on_demand."
        )
    for key in (*NO_SERVERS, "power"):
        if _is_typed(key, typed):
            raise InputError(f"{key}: tco.basis=api asks about no servers: leave {key} out.")
    tco |= {"own": None, "throughput": None}


def of_other_servers(
    request: TcoRequest,
    data: Mapping[str, Any],
    of: Mapping[str, Any],
    typed: frozenset[str],
    written: Iterable[Written],
) -> dict[str, str]:
    """The keys whose figures belong to another server, each with whose they are.

    `of` is the server that the chosen question itself describes, `written` every question's file
    as it stands there.
    """
    server, power = request.tco.server, request.power
    mine = (server.gpu, server.gpus)
    points = [POINTS] if request.tco.throughput else []
    found: dict[str, str] = {}
    if mine != (of["gpu"], of["gpus"]):
        whose = f"tco={request.tco.name} gives its figures for {of['gpus']}×{of['gpu']}"
        keys = (*OWN_OF_A_SERVER, *points, *(() if "power" in typed else POWER_OF_A_SERVER))
        found |= dict.fromkeys(keys, whose)
    if power.gpu is not None and (power.gpu, power.gpus) != mine:
        whose = f"power={power.name} gives its watts for {power.gpus}×{power.gpu}"
        found |= {key: found.get(key, whose) for key in POWER_OF_A_SERVER}
    for question in written:
        other = _at(question.data, "tco.server")
        if not isinstance(other, Mapping) or not {"gpu", "gpus"} <= other.keys():
            continue
        if (other["gpu"], other["gpus"]) == mine:
            continue
        its = f"{other['gpus']}×{other['gpu']}"
        whose = f"tco={question.name} has the same ones, word for word, for {its}"
        for key in _copied_of(data, question, points, typed):
            found.setdefault(key, whose)
    return {key: whose for key, whose in found.items() if not _is_typed(key, typed)}


def of_this_server(
    request: TcoRequest, elsewhere: Mapping[str, str], typed: frozenset[str], *, measured: bool
) -> TcoRequest:
    """The question with nothing in it that belongs to another server.

    InputError names what the answer needs and is another's; what only a way beside it needs is
    taken out, so that this way says so. `measured`: a Run says throughput and power.
    """
    tco, server = request.tco, request.tco.server
    own = [k for k in elsewhere if k in OWN_OF_A_SERVER]
    power = [k for k in elsewhere if k in POWER_OF_A_SERVER and _at(request, k) is not None]
    needed = [] if measured or "tco.throughput" in typed else [k for k in elsewhere if k == POINTS]
    if tco.basis == "own":
        needed += own
        needed += [] if measured else [k for k in power if k != "power.host_adder_w"]
    if needed:
        whose = "; ".join(dict.fromkeys(elsewhere[key] for key in needed))
        rent = "" if POINTS in needed else " Or ask what renting it costs: tco.basis=on_demand."
        raise InputError(
            f"tco.server is {server.gpus}×{server.gpu}, but {whose}: "
            f"type {', '.join(needed)} of this server, too.{rent}"
        )
    unknown: dict[str, Any] = {key.partition(".")[2]: None for key in power}
    return replace(
        request,
        tco=replace(tco, own=None if own else tco.own),
        power=replace(request.power, **unknown),
    )


@dataclass(frozen=True, kw_only=True)
class Written:
    """A question as its file has it; `shipped` with bench."""

    name: str
    data: Any
    shipped: bool


def read_questions(shipped: Path, own: Sequence[Path]) -> Iterator[Written]:
    """Every question that can be read: one that was chosen was read before."""
    from bench.config.yaml_file import load

    for folder in (shipped, *own):
        for file in sorted((folder / "tco").glob("*.yaml")):
            with suppress(InputError):
                data = load(file)
                data = data if _at(data, "tco") else {"tco": data}
                yield Written(name=file.stem, data=data, shipped=folder == shipped)


def _is_typed(key: str, typed: frozenset[str]) -> bool:
    return any(t == key or t.startswith(f"{key}.") for t in typed)


def _at(value: Any, key: str) -> Any:
    """What stands under a dotted key of plain data or of a request; None where nothing does."""
    for name in filter(None, key.split(".")):
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value


def _copied_of(
    data: Mapping[str, Any], question: Written, points: Sequence[str], typed: frozenset[str]
) -> list[str]:
    """The figures that were copied from a question. Between two of one's own, what one server costs
    is copied where all of it is, and a flat fee alone is not."""
    own = [k for k in OWN_OF_A_SERVER if _copied(data, question.data, k)]
    said = [k for k in OWN_OF_A_SERVER if _says(data, k) and not _is_typed(k, typed)]
    if not question.shipped and (not set(said) <= set(own) or own == [FEE]):
        own = []
    return [*own, *(k for k in points if _copied(data, question.data, k))]


def _says(data: Mapping[str, Any], key: str) -> bool:
    figure = _at(data, key)
    return bool(figure.get("value") if isinstance(figure, Mapping) else figure)


def _copied(data: Mapping[str, Any], file: Any, key: str) -> bool:
    """Whether a figure stands in that file as it stands here, with its source. A figure of 0 says
    nothing of a server."""
    mine, theirs = _at(data, key), _at(file, key)
    if key == POINTS:
        source = _at(data, "tco.throughput.source") == _at(file, "tco.throughput.source")
        return bool(mine) and source and mine == theirs
    if not isinstance(mine, dict) or not isinstance(theirs, dict) or not mine.get("value"):
        return False
    return "source" in theirs and theirs.items() <= mine.items()
