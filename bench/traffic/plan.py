"""From load and workload to load points and their requests: pure, seeded, before the run."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np

from bench.traffic.schedule import Arrival, arrivals_ns, ramp_ns
from bench.traffic.trace_file import reading, trace_extent, trace_rows
from bench.traffic.workload import TracePrompts, generate
from bench.traffic.workload_file import check, is_trace
from bench.values.errors import InputError
from bench.values.prompt_text import ONE_EACH, TextLength
from bench.values.record import LoadPoint, PlannedRequest
from bench.values.server import Server
from bench.values.spec import MOST_REQUESTS, LoadSpec, RunSpec, WorkloadSpec

WARM_UP_INDEX = 1_000_000
"""Load points from here on are warm-up: their prompts are their own, their records are dropped."""

SETTLE_S = {"truth": 0.4}
DEFAULT_SETTLE_S = 8.0
"""How long a closed-loop load point lasts at least, unless the load says: long against the noise
of a shared machine. The truth server follows a schedule and has none."""

OPEN_S = {"truth": 2.0}
DEFAULT_OPEN_S = 20.0
_OPEN_REQUESTS_LONG = 6
"""How long an open loop sends, unless the load says, and as a multiple of the shortest request: a
server fills up for one request's time before it can be steady."""

_SPARE = 1.3

_MOST_PROMPT_TOKENS = 400_000_000
"""Of one load point: at a few bytes each they fill some GB of the client's memory."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one load point sends: all of `requests`, or until `duration_s` but `at_least` so many.

    `at_least` counts requests and is all of them when `duration_s` is None. `connections` are
    opened before an open loop starts; None leaves it to the slots of a closed one.
    """

    requests: tuple[PlannedRequest, ...]
    at_least: int
    duration_s: float | None = None
    connections: int | None = None


def load_points(load: LoadSpec) -> list[LoadPoint]:
    """Every load point of a list of concurrencies or rates, repeats outermost."""
    settings: list[LoadPoint] = []
    rates = load.rate_per_s
    if load.mode == "closed":
        settings = [
            LoadPoint(index=i, repeat=0, mode="closed", concurrency=c)
            for i, c in enumerate(load.concurrency)
        ]
    elif load.mode == "ramp":
        settings = [
            LoadPoint(index=0, repeat=0, mode="ramp", rate_per_s=rates[0], rate_to_per_s=rates[1])
        ]
    elif load.mode == "open":
        settings = [
            LoadPoint(index=i, repeat=0, mode="open", rate_per_s=r, trace=load.arrival == "trace")
            for i, r in enumerate(rates or (None,))
        ]
    return [replace(p, repeat=r) for r in range(load.repeats) for p in settings]


def warm_ups(load: LoadSpec) -> list[LoadPoint]:
    """One load point per concurrency to be measured, so that each finds its batch size warm."""
    if not load.warmup_requests:
        return []
    levels = sorted(set(load.concurrency)) if load.mode == "closed" else [load.warmup_requests]
    return [
        LoadPoint(index=WARM_UP_INDEX + i, repeat=0, mode="closed", concurrency=c)
        for i, c in enumerate(levels)
    ]


def least_count(spec: RunSpec, point: LoadPoint, fastest_s: float | None) -> int:
    """How many requests a load point sends at least in one repeat."""
    load = spec.load
    if point.index >= WARM_UP_INDEX:
        return max(load.warmup_requests, point.concurrency or 1)
    if load.requests is not None:
        return load.requests
    if point.mode == "closed":
        assert point.concurrency is not None
        return max(load.min_requests, load.requests_per_slot * point.concurrency)
    assert point.rate_per_s is not None
    mean_per_s = (point.rate_per_s + (point.rate_to_per_s or point.rate_per_s)) / 2
    return max(load.min_requests, math.ceil(mean_per_s * open_s(spec, fastest_s)))


def open_s(spec: RunSpec, fastest_s: float | None) -> float:
    """How long an open loop sends in seconds, before `min_requests` stretches it."""
    if spec.load.duration_s is not None:
        return spec.load.duration_s
    usual = OPEN_S.get(spec.engine.kind, DEFAULT_OPEN_S)
    return max(usual, _OPEN_REQUESTS_LONG * (fastest_s or 0.0))


def plan(spec: RunSpec, server: Server, point: LoadPoint, fastest_s: float | None = None) -> Plan:
    """The requests of one load point; the same for every variant and engine, new every repeat.

    `fastest_s` is the shortest request seen while warming up at this load: it says how many
    requests a closed loop needs in stock to last its time, and an open one how many connections.
    """
    if point.mode == "closed":
        return _closed(spec, server, point, fastest_s)
    requests = _arriving(spec, server, point, fastest_s)
    last_s = (requests[-1].arrival_ns or 0) / 1e9
    rate_per_s = len(requests) / last_s if last_s > 0 else len(requests)
    in_flight = math.ceil(2 * rate_per_s * (fastest_s or 0.0)) + 8
    connections = min(len(requests), in_flight, spec.load.max_in_flight or in_flight)
    return Plan(requests=requests, at_least=len(requests), connections=connections)


def _closed(spec: RunSpec, server: Server, point: LoadPoint, fastest_s: float | None) -> Plan:
    least = count = least_count(spec, point, fastest_s)
    duration_s = None
    timed = spec.load.mode == "closed" and point.index < WARM_UP_INDEX
    if timed and spec.load.requests is None and fastest_s is not None:
        assert point.concurrency is not None
        duration_s = spec.load.duration_s or SETTLE_S.get(spec.engine.kind, DEFAULT_SETTLE_S)
        rounds = _SPARE * duration_s / fastest_s
        count = max(least, min(MOST_REQUESTS, math.ceil(point.concurrency * (rounds + 1))))
    requests = _requests(spec, server, point, count)
    return Plan(requests=requests, at_least=least, duration_s=duration_s)


class _Shape(TypedDict):
    as_text: bool
    chat: bool
    text_length: TextLength


def _shape(server: Server) -> _Shape:
    """How prompts are to look and, in text, how many of the server's tokens a word is."""
    return {
        "as_text": server.prompt == "text",
        "chat": server.api == "chat",
        "text_length": server.text_length or ONE_EACH,
    }


def _seed(spec: RunSpec, server: Server, point: LoadPoint) -> tuple[int, ...]:
    nonce = (server.nonce,) if server.nonce else ()
    return spec.seed, point.index, point.repeat, *nonce


def _requests(
    spec: RunSpec, server: Server, point: LoadPoint, count: int
) -> tuple[PlannedRequest, ...]:
    drawn = generate(
        spec.workload,
        count,
        seed=_seed(spec, server, point),
        vocab_size=server.vocab_size,
        **_shape(server),
    )
    return tuple(replace(r, arrival_ns=None) for r in drawn)


def _arriving(
    spec: RunSpec, server: Server, point: LoadPoint, fastest_s: float | None
) -> tuple[PlannedRequest, ...]:
    """Requests with their arrival times, fixed before the first is sent."""
    if spec.load.arrival == "trace":
        return _traced(spec, server, point)
    assert point.rate_per_s is not None
    count = least_count(spec, point, fastest_s)
    if point.rate_to_per_s is not None:
        offsets = ramp_ns(point.rate_per_s, point.rate_to_per_s, count)
    else:
        rng = np.random.default_rng((*_seed(spec, server, point), 1))
        arrival: Arrival = spec.load.arrival
        offsets = arrivals_ns(arrival, point.rate_per_s, count, rng, spec.load.burstiness)
    requests = _requests(spec, server, point, count)
    return tuple(replace(r, arrival_ns=int(t)) for r, t in zip(requests, offsets, strict=True))


def _traced(spec: RunSpec, server: Server, point: LoadPoint) -> tuple[PlannedRequest, ...]:
    """The head of the trace, at its own pace or at the point's mean rate.

    It ends with `load.requests`, with `load.duration_s` of the replayed time, or with the file.
    """
    pace = 1.0
    if point.rate_per_s is not None:
        pace = trace_extent(spec.workload).rate_per_s / point.rate_per_s
    last_s = math.inf if spec.load.duration_s is None else spec.load.duration_s
    prompts = TracePrompts(
        spec.workload,
        _seed(spec, server, point),
        server.vocab_size,
        **_shape(server),
    )
    requests, tokens = [], 0
    rows = itertools.islice(trace_rows(spec.workload), spec.load.requests)
    for index, row in enumerate(rows):
        if row.arrival_s * pace > last_s:
            break
        tokens += row.input_tokens
        if tokens > _MOST_PROMPT_TOKENS:
            raise InputError(
                f"load.requests: the first {index:,} prompts of the trace have "
                f"{_MOST_PROMPT_TOKENS:,} tokens, which are made before the first is sent: set "
                f"load.requests={index} or load.duration_s."
            )
        drawn = prompts.request(row, index)
        requests.append(replace(drawn, arrival_ns=round(row.arrival_s * pace * 1e9)))
    return tuple(requests)


def as_read(workload: WorkloadSpec) -> WorkloadSpec:
    """The workload with what was inferred of its trace, so that the run says how it was read."""
    if workload.file is None or not is_trace(workload):
        return workload
    how = reading(workload)
    return replace(workload, time_unit=how.stamps.unit, hash_block_tokens=how.block_tokens)


def check_workload(spec: RunSpec) -> None:
    """Read a workload's file through; InputError for a bad line, or for a load it can't serve."""
    w = spec.workload
    if w.file is not None:
        check(w)
    elif w.file_format is not None:
        raise InputError(f"workload={w.name} needs requests of yours: set workload.file=FILE.jsonl")
    if spec.load.arrival != "trace" or spec.load.mode != "open":
        return
    if w.file is None or not is_trace(w):
        raise InputError(
            "load.arrival: trace needs a timestamped trace: set workload.file=FILE.jsonl "
            "workload.file_format=trace, or another load.arrival."
        )
