"""One load-generating process: build bytes, fire, then parse what came back into columns.

Runs `serve_pipe` in a child process. Messages from the parent: a `WorkerPlan`, then the start time;
to the parent: "ready", then a `WorkerResult`, or an error text.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import signal
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import uvloop

from bench.load.client import Client, Shot
from bench.load.limits import take_descriptors
from bench.load.wire import arrivals_ns
from bench.values.clock import now_ns
from bench.values.outside import plain
from bench.values.record import (
    ANSWER_COLUMNS,
    FINISHES,
    OK,
    OUTCOMES,
    REQUEST_COLUMNS,
    TOKENS_AROSE,
    Int64,
    PlannedRequest,
    WorkerReport,
)
from bench.values.server import Server
from bench.web import http, sse
from bench.web.ask import request_body
from bench.web.tls import context_of

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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    take_descriptors()
    if plan.server.client_cores:
        os.sched_setaffinity(0, plan.server.client_cores)
    try:
        pipe.send(uvloop.run(_run(pipe, plan, counters)))
    except OSError as error:
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
    await client.connect(plan.connections)
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
    payload = json.dumps(body, separators=(",", ":")).encode()
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
    delays = date_by_arrival(shots, client.offsets_ns)
    rows: list[tuple[int, ...]] = []
    chunk_ns: list[int] = []
    chunk_delay_ns: list[int] = []
    chunk_tokens: list[int] = []
    errors: dict[int, str] = {}
    found = [parse_shot(shot, planned[shot.index].output_tokens) for shot in shots]
    answers = judged(found, [planned[shot.index].output_tokens for shot in shots], server)
    for shot, parsed, delay_ns in zip(shots, answers, delays or [[]] * len(shots), strict=True):
        request = planned[shot.index]
        rows.append(
            (
                shot.index,
                shot.session,
                worker,
                shot.scheduled_ns,
                shot.sent_ns,
                shot.stamps[0] if shot.stamps else 0,
                shot.end_ns,
                parsed.status,
                OUTCOMES.index(parsed.outcome),
                request.input_tokens,
                request.output_tokens,
                parsed.prompt_tokens,
                parsed.completion_tokens,
                len(chunk_ns),
                len(parsed.chunk_reads),
                TOKENS_AROSE.index(parsed.tokens_arose),
                parsed.first_answer,
                parsed.cached_tokens,
                parsed.hidden_tokens,
                finish_code(parsed.finish),
            )
        )
        chunk_ns.extend([shot.stamps[read] for read in parsed.chunk_reads])
        if delays is not None:
            chunk_delay_ns.extend([delay_ns[read] for read in parsed.chunk_reads])
        chunk_tokens.extend(parsed.chunk_tokens)
        if parsed.error:
            errors[shot.index] = plain(parsed.error)
        shot.reads.clear()
        shot.stamps.clear()
        shot.arrived.clear()
    table = np.array(rows, dtype=np.int64).reshape(len(rows), len(COLUMNS))
    return WorkerResult(
        requests={name: table[:, i].copy() for i, name in enumerate(COLUMNS)},
        chunk_ns=np.array(chunk_ns, dtype=np.int64),
        chunk_tokens=np.array(chunk_tokens, dtype=np.int64),
        chunk_delay_ns=None if delays is None else np.array(chunk_delay_ns, dtype=np.int64),
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


def date_by_arrival(shots: list[Shot], offsets_ns: list[tuple[int, int]]) -> list[list[int]] | None:
    """Put the kernel's stamps of arrival in the place of the client's; how late those were, in ns.

    One list per shot, one delay per read. None, and nothing changed, where the kernel gives none.
    """
    seen = np.array([stamp for shot in shots for stamp in shot.stamps], dtype=np.int64)
    raw = [stamp for shot in shots for stamp in shot.arrived]
    found = arrivals_ns(raw, seen, offsets_ns)
    if found is None:
        return None
    delays: list[list[int]] = []
    at = 0
    for shot in shots:
        until = at + len(shot.stamps)
        arrived = found[at:until].tolist()
        if shot.stamps and shot.end_ns == shot.stamps[-1]:
            shot.end_ns = arrived[-1]
        delays.append((seen[at:until] - found[at:until]).tolist())
        shot.stamps[:] = arrived
        at = until
    return delays


@dataclass(frozen=True, kw_only=True)
class ParsedShot:
    """One response, parsed: the read that brought each token-bearing chunk, and its tokens.

    Token counts of -1 were not given by the server.
    """

    outcome: str
    status: int = 0
    prompt_tokens: int = -1
    completion_tokens: int = -1
    chunk_reads: list[int] = field(default_factory=list)
    chunk_tokens: list[int] = field(default_factory=list)
    tokens_arose: str = "unknown"
    error: str = ""
    done: bool = False
    finish: str = ""
    first_answer: int = -1
    cached_tokens: int = -1
    hidden_tokens: int = -1


def parse_shot(shot: Shot, requested: int = 0) -> ParsedShot:
    """Decide how a request ended and when its tokens arrived, from its stamped reads."""
    data = b"".join(shot.reads)
    try:
        found = http.frame(data, closed=True)
        if found is None:
            return ParsedShot(outcome=shot.outcome or "connection", error=shot.error)
        status = found.head.status
        if status != 200 and not shot.outcome:
            text = plain(f"HTTP {status}: {found.body(data)[:300].decode(errors='replace')}")
            return ParsedShot(outcome="http_error", status=status, error=text)
        packed = found.head.headers.get(b"content-encoding", b"identity").lower()
        if packed not in (b"", b"identity"):
            text = f"the stream is compressed (Content-Encoding: {packed.decode(errors='replace')})"
            return ParsedShot(outcome=shot.outcome or "malformed", status=status, error=text)
        body = found.body(data)
        tokens = sse.tokens(sse.read_body(body, ended=found.complete))
    except http.MalformedError as error:
        return ParsedShot(outcome=shot.outcome or "malformed", error=str(error))
    reads = http.reads_of(tokens.last_byte, found.spans, [len(r) for r in shot.reads])
    counts, arose = token_counts(tokens, requested)
    outcome, text = shot.outcome, shot.error
    if outcome == "connection" and tokens.done:  # all was said; only the framing was not closed
        outcome, text = "", ""
    if not outcome and tokens.error:
        outcome, text = "server_error", tokens.error
    elif not outcome and not found.complete and not tokens.done:
        outcome, text = "connection", "the response is cut short"
    elif not outcome and not counts:
        came = body[:120].decode(errors="replace")
        outcome, text = "no_tokens", f"the response carried no token: {came!r}"
    return ParsedShot(
        outcome=outcome or OUTCOMES[OK],
        status=status,
        prompt_tokens=-1 if tokens.prompt is None else tokens.prompt,
        completion_tokens=-1 if tokens.completion is None else tokens.completion,
        chunk_reads=reads.tolist(),
        chunk_tokens=counts,
        tokens_arose=arose,
        error=text,
        done=tokens.done,
        finish=tokens.finish,
        first_answer=tokens.first_answer,
        cached_tokens=-1 if tokens.cached is None else tokens.cached,
        hidden_tokens=-1 if tokens.hidden is None else tokens.hidden,
    )


def token_counts(tokens: sse.Tokens, requested: int = 0) -> tuple[list[int], str]:
    """Tokens of each chunk, and how that is known (`TOKENS_AROSE`).

    A usage above the `requested` tokens is believed only where as many pieces were streamed.
    """
    chunks = len(tokens.last_byte)
    if requested and (tokens.completion or 0) > requested and tokens.completion != chunks:
        return [1] * chunks, "unknown"
    if tokens.counts is not None:
        return tokens.counts.tolist(), "usage_per_chunk"
    if tokens.completion == chunks:
        return [1] * chunks, "one_per_chunk"
    if chunks == 0 or tokens.completion is None or tokens.completion < chunks:
        return [1] * chunks, "unknown"
    # The server bundled tokens without saying where: spread them evenly, remainder to the last.
    each, extra = divmod(tokens.completion, chunks)
    return [each + (i >= chunks - extra) for i in range(chunks)], "allocated"


def finish_code(reason: str) -> int:
    """The record's code for a finish_reason: -1 where none was given."""
    if not reason:
        return -1
    return FINISHES.index(reason) if reason in FINISHES else FINISHES.index("other")


def judged(found: list[ParsedShot], asked: list[int], server: Server) -> list[ParsedShot]:
    """The answers, those failed that lack an end which the probe, or most of them, showed.

    A stream that a dying engine or a proxy cuts off often ends as clean HTTP.
    """
    good = [p for p in found if p.outcome == OUTCOMES[OK]]
    done = server.ends_with_done or 2 * sum(p.done for p in good) > len(good)
    reason = server.ends_with_reason or 2 * sum(bool(p.finish) for p in good) > len(good)
    counted = 2 * sum(p.completion_tokens >= 0 for p in good) > len(good)
    usage = counted or (server.usage != "none" and server.engine == "endpoint")
    result = []
    for parsed, requested in zip(found, asked, strict=True):
        why = ""
        if parsed.outcome == OUTCOMES[OK]:
            known = parsed.tokens_arose != "unknown"
            early = known and sum(parsed.chunk_tokens) < requested
            if (done or reason) and not parsed.done and not parsed.finish:
                why = "the stream ends with neither finish_reason nor [DONE], which others have"
            elif reason and not parsed.finish and early:
                why = "the answer ends early without a finish_reason, which others have"
            elif usage and parsed.completion_tokens < 0:
                why = "the answer ends without the usage that others have"
        result.append(replace(parsed, outcome="cut_short", error=why) if why else parsed)
    return result
