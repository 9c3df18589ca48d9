"""The shapes of what run.json holds as free mappings, checked before anything reads them.

Each is written by one place and read by many, which take their keys as given. A file that was cut,
edited or written by another version is refused here, by its place. Keys that are not named may
hold anything.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, TypedDict, Union

from bench.values.errors import InputError

MOST = 2**63
"""Whole numbers from here on fit no column and no clock."""


class ClientErrors(TypedDict):
    """The load generator's own errors, ms."""

    ttft_error_p50_ms: float
    ttft_error_p99_ms: float
    itl_error_p50_ms: float
    itl_error_p99_ms: float


class Calibration(ClientErrors, total=False):
    """The same at the busiest load, and at others by index."""

    by_load: Mapping[str, ClientErrors]


class Standing(TypedDict):
    """One load of a search."""

    rung: int
    load: float
    repeats: int
    verdict: str
    criterion: str
    requests: int
    seen: Mapping[str, float | None]


class Search(TypedDict):
    """A search for the highest load that holds."""

    objective: str
    over: str
    criteria: str
    resolution: float
    complete: bool
    found: float | None
    found_index: int | None
    not_holding: float | None
    monotone: bool
    tried: list[Standing]
    order: list[int]
    requests: int
    grid_requests: int


class Image(TypedDict, total=False):
    """The image that a server's container is of."""

    program: str
    name: str
    id: str | None
    digest: str | None


class Served(TypedDict, total=False):
    """What is stored of a server."""

    image: Image | None

    served_model: str | None
    answers_as: str | None
    models: list[str] | None
    left_out: list[str] | None
    pid: int | None
    client_cores: list[int]
    argv: list[str] | None
    listener_pids: list[int] | None
    node_pids: list[int] | None
    version: str | None
    engine_version: str | None
    serves: str | None
    told: list[str] | None
    base_url: str | None


class Facts(TypedDict, total=False):
    """What the engine's log said."""

    quantisation_kernels: list[str] | None
    lines: list[str] | None


class Writer(TypedDict, total=False):
    """The process that wrote the record."""

    pid: int
    boot: str | None


class Point(TypedDict):
    """What point.json holds besides its load and its workers."""

    start_ns: int
    errors: Mapping[str, str]
    engine_before: Mapping[str, float | Mapping[str, str] | None] | None
    engine_after: Mapping[str, float | Mapping[str, str] | None] | None


class StoredPoint(Point, total=False):
    """The same, with what later versions added."""

    discarded: str | None
    launch: int


SHAPES: Mapping[str, Any] = {
    "calibration": Calibration | None,
    "load_search": Search | None,
    "server": Served | None,
    "engine_facts": Facts | None,
    "writer": Writer | None,
}
"""By key of run.json."""


def check_shapes(record: Mapping[str, Any], path: str) -> None:
    """InputError that names the first place of a stored run that is of another shape."""
    for key, shape in SHAPES.items():
        where = _misfit(shape, record.get(key), f"{path}.{key}")
        if where is not None:
            raise InputError(f"{where} is of another shape than this program writes.")
    search = record.get("load_search")
    if search is not None and not _adds_up(search):
        raise InputError(f"{path}.load_search does not add up.")


def check_point(meta: Any, path: str) -> None:
    """InputError that names the first place of a point.json that is of another shape."""
    where = _misfit(StoredPoint, meta, path)
    if where is not None:
        raise InputError(f"{where} is of another shape than this program writes.")


def _adds_up(search: Mapping[str, Any]) -> bool:
    """Whether every load in its order was tried and, at its end, it says where the limit lies."""
    found, failing, tried = search["found"], search["not_holding"], search["tried"]
    if not set(search["order"]) <= {s["rung"] for s in tried}:
        return False
    if not search["complete"]:
        return True
    if found is None:
        return failing is not None
    above = failing is None or any(s["load"] >= failing for s in tried)
    return bool(found > 0 and search["grid_requests"] > 0 and above)


def _misfit(kind: Any, data: Any, path: str) -> str | None:
    """The first place below `path` that does not fit; None when all of it does."""
    origin, of = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        if data is None:
            return None
        found = [_misfit(one, data, path) for one in of if one is not types.NoneType]
        return None if None in found else found[0]
    if typing.is_typeddict(kind):
        if not isinstance(data, Mapping) or not kind.__required_keys__ <= data.keys():
            return path
        known = _hints(kind)
        parts = [(known[k], v, f"{path}.{k}") for k, v in data.items() if k in known]
    elif origin is list:
        if not isinstance(data, list):
            return path
        parts = [(of[0], v, f"{path}[{i}]") for i, v in enumerate(data)]
    elif origin is not None:
        if not isinstance(data, Mapping):
            return path
        parts = [(of[1], v, f"{path}.{k}") for k, v in data.items()]
    else:
        return None if _is_scalar(kind, data) else path
    return next((where for part in parts if (where := _misfit(*part)) is not None), None)


@functools.cache
def _hints(kind: type) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _is_scalar(kind: type, data: Any) -> bool:
    """Whether it is one: a whole number is a number, true is none, and none is without end."""
    if kind in (int, float):
        number = (int, float) if kind is float else int
        return (
            isinstance(data, number)
            and not isinstance(data, bool)
            and abs(data) < 1e300
            and (isinstance(data, float) or abs(data) < MOST)
        )
    return isinstance(data, kind)
