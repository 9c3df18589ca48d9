"""Drive one load point with as many worker processes as it needs, on one clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np

from bench.nodes.joined import Node
from bench.traffic import far, forks
from bench.traffic.limits import STREAMS_PER_WORKER, ensure_streams, workers_for
from bench.traffic.schedule import sessions, split
from bench.traffic.worker import COUNTERS, UnreachedError, WorkerPlan, WorkerResult, serve_pipe
from bench.values.clock import now_ns
from bench.values.ending import undisturbed
from bench.values.errors import BenchError
from bench.values.record import LoadPoint, PlannedRequest, PointData
from bench.values.server import Server

_START_MARGIN_NS = 20_000_000
_POLL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class LoadProgress:
    """Requests finished and in flight so far, over all workers."""

    finished: int
    in_flight: int
    total: int


def send_load(
    server: Server,
    point: LoadPoint,
    requests: tuple[PlannedRequest, ...],
    *,
    timeout_s: float,
    workers: int | None = None,
    connections: int | None = None,
    duration_s: float | None = None,
    at_least: int = 0,
    max_in_flight: int | None = None,
    on_progress: Callable[[LoadProgress], None] | None = None,
    nodes: Sequence[Node] = (),
) -> PointData:
    """Send `requests` at `point` and return all that was observed. Workers take turns over this
    machine and `nodes`.

    In a closed loop `duration_s` ends the sending then, once `at_least` requests were sent; those
    left over were never part of the load.
    `connections` are opened beforehand (default: the slots of a closed loop, else none).
    `max_in_flight` holds an open loop's requests back beyond that many.
    Raises BenchError when a worker cannot connect or dies; InputError when the machine's limits
    forbid that many streams.
    """
    slots = point.concurrency if point.mode == "closed" else None
    most = min(len(requests), STREAMS_PER_WORKER, max_in_flight or len(requests))
    streams = slots or max(connections or 0, most)
    machines = 1 + len(nodes)
    workers = max(workers_for(streams, workers), min(machines, streams))
    work = sessions(requests)
    shares = split(work, slots, min(workers, max_in_flight or workers))
    least_sessions = -(-at_least * len(work) // len(requests))
    ensure_streams(-(-streams // machines), -(-len(shares) // machines))
    context = forks.context()
    running: list[tuple[BaseProcess, Connection]] = []
    afar: list[far.FarWorker] = []
    process: BaseProcess
    try:
        counters = context.RawArray("q", COUNTERS * len(shares))
        for number, (share, share_slots) in enumerate(shares):
            plan = WorkerPlan(
                worker=number,
                server=server,
                sessions=share,
                slots=share_slots,
                connections=share_slots or (connections or 0) // len(shares),
                timeout_s=timeout_s,
                duration_ns=int((duration_s or 0.0) * 1e9),
                at_least=-(-least_sessions // len(shares)),
                max_in_flight=((max_in_flight or 0) + number) // len(shares),
            )
            if number % machines:
                afar.append(far.start(nodes[number % machines - 1], plan))
                continue
            ours, theirs = context.Pipe()
            process = context.Process(target=serve_pipe, args=(theirs, plan, counters), daemon=True)
            # A signal in the middle of a start would leave a child without its orders.
            with undisturbed(), forks.imports_from_no_working_folder():
                process.start()
                running.append((process, ours))
            theirs.close()
        here = [pipe for _, pipe in running]
        for pipe in (*here, *(f.pipe for f in afar)):
            _receive(pipe, str)
        start_ns = now_ns() + _START_MARGIN_NS
        for pipe in here:
            pipe.send(start_ns)
        for worker in afar:
            worker.pipe.send(worker.starts_at(start_ns))
        pipes = (*here, *(f.pipe for f in afar))
        found = _gather(pipes, counters, len(requests), on_progress)
        clocks = {node: node.ask_clock() for node in {f.node for f in afar}}
        results = [found[p] for p in here]
        results += [f.on_heads_clock(found[f.pipe], clocks[f.node]) for f in afar]
    except OSError as error:
        raise BenchError(
            f"no load worker can be started ({error.strerror or error}): they need shared memory "
            "(/dev/shm), a temporary folder of a short name (TMPDIR), descriptors and processes."
        ) from error
    finally:
        for node in {f.node for f in afar}:
            node.end_started()
        for worker in afar:
            worker.pipe.close()
        for process, pipe in running:
            process.terminate()
            process.join()
            pipe.close()  # last: one that lived would complain of it
    return merge(point, start_ns, results)


def _receive(pipe: Connection, kind: type | tuple[type, ...]) -> Any:
    """The next message of a worker; its error text, or its silent death, becomes a BenchError."""
    try:
        message = pipe.recv()
    except (EOFError, ConnectionError):
        raise BenchError(
            "A load worker died. Was it killed, or is the machine out of memory?"
        ) from None
    if isinstance(message, UnreachedError):
        raise BenchError(str(message))
    if not isinstance(message, kind) or (kind is str and message != "ready"):
        raise BenchError(f"The load generator failed: {message}")
    return message


def _gather(
    pipes: Sequence[Connection],
    counters: Any,
    total: int,
    on_progress: Callable[[LoadProgress], None] | None,
) -> Mapping[Connection, WorkerResult]:
    results: dict[Connection, WorkerResult] = {}
    open_pipes = list(pipes)
    reported = time.monotonic()
    while open_pipes:
        for pipe in wait(open_pipes, timeout=_POLL_S):
            assert isinstance(pipe, Connection)
            message = _receive(pipe, (WorkerResult, dict))
            if isinstance(message, dict):
                far.counted(counters, message)
                continue
            results[pipe] = message
            open_pipes.remove(pipe)
        if on_progress is not None and time.monotonic() - reported >= _POLL_S:
            reported = time.monotonic()
            on_progress(
                LoadProgress(
                    finished=sum(counters[0::COUNTERS]),
                    in_flight=sum(counters[1::COUNTERS]),
                    total=total,
                )
            )
    return results


def merge(point: LoadPoint, start_ns: int, results: list[WorkerResult]) -> PointData:
    """One PointData from the workers' columns, chunk offsets shifted to the common arrays."""
    columns: dict[str, list[Any]] = {name: [] for name in results[0].requests}
    delays = [r.chunk_delay_ns for r in results if r.chunk_delay_ns is not None]
    shift = 0
    for result in results:
        for name, values in result.requests.items():
            columns[name].append(values + shift if name == "first_chunk" else values)
        shift += len(result.chunk_ns)
    return PointData(
        point=point,
        start_ns=start_ns,
        requests={name: np.concatenate(parts) for name, parts in columns.items()},
        chunk_ns=np.concatenate([r.chunk_ns for r in results]),
        chunk_tokens=np.concatenate([r.chunk_tokens for r in results]),
        chunk_delay_ns=np.concatenate(delays) if len(delays) == len(results) else None,
        errors={i: text for r in results for i, text in r.errors.items()},
        workers=tuple(r.report for r in results),
    )
