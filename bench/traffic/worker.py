"""One load-generating process: build bytes, fire, then parse what came back into columns.

Runs `serve_pipe` in a child process. Messages from the parent: a `WorkerPlan`, then the start time;
to the parent: "ready", then a `WorkerResult`, or an error text.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import signal
from dataclasses import dataclass, field, replace
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import uvloop

from bench.traffic.answers import finish_code, judged, parse_shots
from bench.traffic.client import Client, Shot
from bench.traffic.limits import take_descriptors
from bench.values.clock import now_ns
from bench.values.outside import plain
from bench.values.record import (
    ANSWER_COLUMNS,
    OUTCOMES,
    REQUEST_COLUMNS,
    TOKENS_AROSE,
    Int64,
    PlannedRequest,
    WorkerReport,
)
from bench.values.server import Server
from bench.web.ask import request_body
from bench.web.stamps import arrivals_ns
from bench.web.tls import context_of


class UnreachedError(Exception):
    """The server, not this program, is why a load could not begin."""


COUNTERS = 4
"""Shared progress counters per worker: finished, in flight, reads, failed."""

_PR_SET_PDEATHSIG = 1

COLUMNS = (*REQUEST_COLUMNS, *ANSWER_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class WorkerPlan:
    """What one worker is to do. `slots` above 0 is a closed loop; else arrivals are followed.

    `duration_ns` above 0 ends a closed loop's sending then, after at least `at_least` sessions.
    """

    worker: int
    server: Server
    sessions: list[list[PlannedRequest]]
    slots: int
    connections: int
    timeout_s: float
    duration_ns: int = 0
    at_least: int = 0
    max_in_flight: int = 0


@dataclass(frozen=True, kw_only=True)
class WorkerResult:
    """Columns as in `PointData`, for this worker's requests."""

    requests: dict[str, Int64]
    chunk_ns: Int64
    chunk_tokens: Int64
    chunk_delay_ns: Int64 | None
    errors: dict[int, str] = field(default_factory=dict)
    report: WorkerReport


def serve_pipe(pipe: Connection, plan: WorkerPlan, counters: Any) -> None:
    """Entry point of the child process; never lives longer than its parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the parent decides what they mean
    take_descriptors()
    if plan.server.client_cores:
        os.sched_setaffinity(0, plan.server.client_cores)
    try:
        pipe.send(uvloop.run(_run(pipe, plan, counters)))
    except UnreachedError as error:
        with contextlib.suppress(OSError):
            pipe.send(error)
    except OSError as error:
        with contextlib.suppress(OSError):  # the parent may be what is gone
            pipe.send(f"worker {plan.worker}: {error}")
    except EOFError:
        os._exit(1)


async def _run(pipe: Connection, plan: WorkerPlan, counters: Any) -> WorkerResult:
    shots = [_session(plan.server, session) for session in plan.sessions]
    url = urlsplit(plan.server.base_url)
    tls = url.scheme == "https"
    base = plan.worker * COUNTERS

    def publish(client: Client) -> None:
        counters[base] = len(client.finished_shots)
        counters[base + 1] = client.in_flight

    client = Client(
        url.hostname or "127.0.0.1",
        url.port or (443 if tls else 80),
        timeout_s=plan.timeout_s,
        tls=context_of(plan.server.tls_verify, plan.server.ca_file) if tls else None,
        ends_at_done=plan.server.hangs_after_done,
        on_sweep=publish,
    )
    try:
        await client.connect(plan.connections)
    except ConnectionError as error:
        raise UnreachedError(
            f"the server at {plan.server.base_url} takes no connections any more "
            f"({error.strerror or error}): it is gone, or lets in fewer than {plan.connections}."
        ) from error
    gc.collect()
    gc.freeze()
    gc.disable()  # millions of live stamps would make every collection a pause
    pipe.send("ready")
    start_ns: int = pipe.recv()
    cpu, waited = _cpu_s(), _schedstat()
    if plan.slots:
        until_ns = start_ns + plan.duration_ns if plan.duration_ns else 0
        await client.closed(shots, plan.slots, start_ns, until_ns=until_ns, at_least=plan.at_least)
    else:
        for shot in shots:
            shot.arrival_ns += start_ns
        await client.open(shots, max_in_flight=plan.max_in_flight)
    wall_s = (now_ns() - start_ns) / 1e9
    cpu_s = _cpu_s() - cpu
    delay = tuple(b - a for a, b in zip(waited, _schedstat(), strict=True))
    publish(client)
    planned = {r.index: r for session in plan.sessions for r in session}
    result = collect(client, planned, plan.worker, cpu_s, wall_s, plan.server)
    if not delay:
        return result
    report = replace(result.report, run_delay_s=delay[0] / 1e9, wakeups=delay[1])
    return replace(result, report=report)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _schedstat() -> tuple[int, ...]:
    """(ns this thread waited for a core while runnable, times it ran); () if not counted."""
    try:
        _, waited_ns, runs = map(int, Path("/proc/thread-self/schedstat").read_text().split())
    except (OSError, ValueError):
        return ()
    return waited_ns, runs


def request_bytes(server: Server, request: PlannedRequest) -> bytes:
    """The whole HTTP request for `request` in the shape that `server` takes."""
    body = request_body(server, request.prompt, request.output_tokens)
    payload = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
    url = urlsplit(server.base_url)
    path = url.path.rstrip("/") + ("/chat/completions" if server.api == "chat" else "/completions")
    headers = {
        "Host": url.netloc,
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
        "X-Request-Id": f"bench-{request.index}",
        **server.headers,
        "Content-Length": str(len(payload)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + payload


def _session(server: Server, session: list[PlannedRequest]) -> Shot:
    """The shots of one session, linked in order; returns the first."""
    first: Shot | None = None
    for request in reversed(session):
        first = Shot(
            index=request.index,
            session=request.session,
            body=request_bytes(server, request),
            gap_ns=request.gap_ns,
            arrival_ns=request.arrival_ns or 0,
            next=first,
        )
    assert first is not None
    return first


def collect(
    client: Client,
    planned: dict[int, PlannedRequest],
    worker: int,
    cpu_s: float,
    wall_s: float,
    server: Server,
) -> WorkerResult:
    """Parse every finished shot into columns; frees the raw bytes as it goes."""
    parse_start_s = _cpu_s()
    shots = sorted(client.finished_shots, key=lambda s: s.index)
    dated = date_by_arrival(shots, client.offsets_ns)
    rows: list[tuple[int, ...]] = []
    chunk_ns: list[Int64] = []
    chunk_delay_ns: list[Int64] = []
    chunks = 0
    errors: dict[int, str] = {}
    requested = [planned[shot.index].output_tokens for shot in shots]
    answers = judged(parse_shots(shots, requested), requested, server)
    for shot, parsed, (arrived_ns, delay_ns) in zip(shots, answers, dated, strict=True):
        request = planned[shot.index]
        rows.append(
            (
                shot.index,
                shot.session,
                worker,
                shot.scheduled_ns,
                shot.sent_ns,
                int(arrived_ns[0]) if len(arrived_ns) else 0,
                shot.end_ns,
                parsed.status,
                OUTCOMES.index(parsed.outcome),
                request.input_tokens,
                request.output_tokens,
                parsed.prompt_tokens,
                parsed.completion_tokens,
                chunks,
                len(parsed.chunk_reads),
                TOKENS_AROSE.index(parsed.tokens_arose),
                parsed.first_answer,
                parsed.cached_tokens,
                parsed.hidden_tokens,
                finish_code(parsed.finish),
                request.shared_tokens,
            )
        )
        chunks += len(parsed.chunk_reads)
        chunk_ns.append(arrived_ns[parsed.chunk_reads])
        if delay_ns is not None:
            chunk_delay_ns.append(delay_ns[parsed.chunk_reads])
        if parsed.error:
            errors[shot.index] = plain(parsed.error)
        shot.reads.clear()
        shot.stamps.clear()
        shot.arrived.clear()
    table = np.array(rows, dtype=np.int64).reshape(len(rows), len(COLUMNS))
    return WorkerResult(
        requests={name: table[:, i].copy() for i, name in enumerate(COLUMNS)},
        chunk_ns=joined(chunk_ns),
        chunk_tokens=joined([parsed.chunk_tokens for parsed in answers]),
        chunk_delay_ns=joined(chunk_delay_ns) if len(chunk_delay_ns) == len(chunk_ns) else None,
        errors=errors,
        report=WorkerReport(
            requests=len(rows),
            cpu_s=cpu_s,
            parse_cpu_s=_cpu_s() - parse_start_s,
            wall_s=wall_s,
            loop_lag_ns=tuple(client.loop_lag_ns),
            reconnects=client.reconnects,
        ),
    )


def joined(parts: list[Int64]) -> Int64:
    """One array of them all; empty of none."""
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def date_by_arrival(
    shots: list[Shot], offsets_ns: list[tuple[int, int]]
) -> list[tuple[Int64, Int64 | None]]:
    """When each read of each shot arrived by the kernel, and how much later the client looked, ns.

    Ends that fell on a read move with it. Where the kernel gave no stamps, the client's own and
    None.
    """
    seen = np.array(list(chain.from_iterable(s.stamps for s in shots)), dtype=np.int64)
    raw = list(chain.from_iterable(s.arrived for s in shots))
    found = arrivals_ns(raw, seen, offsets_ns)
    result: list[tuple[Int64, Int64 | None]] = []
    at = 0
    for shot in shots:
        until = at + len(shot.stamps)
        if found is None:
            result.append((seen[at:until], None))
        else:
            # Bytes are used in order: none before the last one of those ahead of it. The kernel may
            # put packets together, and then the stamps of long answers go back by a little.
            arrived = np.maximum.accumulate(found[at:until])
            if shot.stamps and shot.end_ns == shot.stamps[-1]:
                shot.end_ns = int(arrived[-1])
            result.append((arrived, seen[at:until] - arrived))
        at = until
    return result
