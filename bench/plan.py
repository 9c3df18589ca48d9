"""From load and workload to load points and their requests: pure, seeded, before the run."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from bench.record import LoadPoint, PlannedRequest
from bench.schedule import arrivals_ns
from bench.server import Server
from bench.spec import LoadSpec, RunSpec
from bench.workload import generate

WARM_UP_INDEX = 1000
"""Load points from here on are warm-up: their prompts are their own, their records are dropped."""

SETTLE_S = {"truth": 0.4}
DEFAULT_SETTLE_S = 8.0
"""How long a closed-loop load point lasts at least, unless the load says: long against the noise
of a shared machine. The truth server follows a schedule and has none."""

_SPARE = 1.3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one load point sends: all of `requests`, or until `duration_s` but `at_least` so many.

    `at_least` counts requests and is all of them when `duration_s` is None.
    """

    requests: tuple[PlannedRequest, ...]
    at_least: int
    duration_s: float | None = None


def load_points(load: LoadSpec) -> list[LoadPoint]:
    """Every load point of a list of concurrencies or rates, repeats outermost."""
    settings: list[LoadPoint] = []
    if load.mode == "closed":
        settings = [
            LoadPoint(index=i, repeat=0, mode="closed", concurrency=c)
            for i, c in enumerate(load.concurrency)
        ]
    elif load.mode == "open":
        settings = [
            LoadPoint(index=i, repeat=0, mode="open", rate_per_s=r)
            for i, r in enumerate(load.rate_per_s)
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


def least_count(load: LoadSpec, point: LoadPoint) -> int:
    """How many requests a load point sends at least in one repeat."""
    if point.index >= WARM_UP_INDEX:
        return max(load.warmup_requests, point.concurrency or 1)
    if load.requests is not None:
        return load.requests
    if point.mode == "closed":
        assert point.concurrency is not None
        return max(load.min_requests, load.requests_per_slot * point.concurrency)
    assert point.rate_per_s is not None
    return max(load.min_requests, math.ceil(point.rate_per_s * (load.duration_s or 60.0)))


def plan(spec: RunSpec, server: Server, point: LoadPoint, fastest_s: float | None = None) -> Plan:
    """The requests of one load point; the same for every variant and engine, new every repeat.

    `fastest_s` is the shortest request seen while warming up at this load: it says how many
    requests a closed loop needs in stock to last its time.
    """
    least = least_count(spec.load, point)
    if point.mode != "closed":
        return Plan(requests=_arriving(spec, server, point, least), at_least=least)
    duration_s = None
    count = least
    if point.index < WARM_UP_INDEX and spec.load.requests is None and fastest_s is not None:
        assert point.concurrency is not None
        duration_s = spec.load.duration_s or SETTLE_S.get(spec.engine.kind, DEFAULT_SETTLE_S)
        rounds = _SPARE * duration_s / fastest_s
        count = max(least, math.ceil(point.concurrency * (rounds + 1)))
    requests = _requests(spec, server, point, count)
    return Plan(requests=requests, at_least=least, duration_s=duration_s)


def _requests(
    spec: RunSpec, server: Server, point: LoadPoint, count: int
) -> tuple[PlannedRequest, ...]:
    return tuple(
        generate(
            spec.workload,
            count,
            seed=(spec.seed, point.index, point.repeat),
            vocab_size=server.vocab_size,
            as_text=server.prompt == "text",
            chat=server.api == "chat",
        )
    )


def _arriving(
    spec: RunSpec, server: Server, point: LoadPoint, count: int
) -> tuple[PlannedRequest, ...]:
    assert point.rate_per_s is not None
    rng = np.random.default_rng((spec.seed, point.index, point.repeat, 1))
    offsets = arrivals_ns(spec.load.arrival, point.rate_per_s, count, rng, spec.load.burstiness)
    requests = _requests(spec, server, point, count)
    return tuple(replace(r, arrival_ns=int(t)) for r, t in zip(requests, offsets, strict=True))
