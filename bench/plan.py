"""From load and workload to load points and their requests: pure, seeded, before the run."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from bench.record import LoadPoint, PlannedRequest
from bench.schedule import arrivals_ns
from bench.server import Server
from bench.spec import LoadSpec, RunSpec
from bench.workload import generate

WARM_UP = LoadPoint(index=999, repeat=0, mode="closed", concurrency=1)


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


def request_count(load: LoadSpec, point: LoadPoint) -> int:
    """How many requests a load point sends in one repeat."""
    if point is WARM_UP:
        return load.warmup_requests
    if load.requests is not None:
        return load.requests
    if point.mode == "closed":
        assert point.concurrency is not None
        return max(load.min_requests, load.requests_per_slot * point.concurrency)
    assert point.rate_per_s is not None
    return max(load.min_requests, math.ceil(point.rate_per_s * (load.duration_s or 60.0)))


def plan(spec: RunSpec, server: Server, point: LoadPoint) -> tuple[PlannedRequest, ...]:
    """The requests of one load point; the same for every variant and engine, new every repeat."""
    count = request_count(spec.load, point)
    seed = (spec.seed, point.index, point.repeat)
    requests = tuple(
        generate(
            spec.workload,
            count,
            seed=seed,
            vocab_size=server.vocab_size,
            as_text=server.prompt == "text",
            chat=server.api == "chat",
        )
    )
    if point.mode == "closed":
        return requests
    assert point.rate_per_s is not None
    rng = np.random.default_rng((*seed, 1))
    assert spec.load.arrival != "trace"
    offsets = arrivals_ns(spec.load.arrival, point.rate_per_s, count, rng, spec.load.burstiness)
    return tuple(replace(r, arrival_ns=int(t)) for r, t in zip(requests, offsets, strict=True))
