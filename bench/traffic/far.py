"""Load workers on other machines: the same worker, its plan and its result over a connection.

A latency is the difference of two stamps of one machine and needs no other clock. When requests
begin, and what falls into a window that all share, does: stamps are put on the head's clock by what
is measured of it right before and right after each load point.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

from bench.measure.client_error import ERROR_FLOOR_MS
from bench.nodes.joined import Node
from bench.traffic.worker import WorkerPlan, WorkerResult, serve_pipe
from bench.values.clock import now_ns
from bench.values.errors import BenchError
from bench.values.node_clock import Offset, on_heads_clock

_STAMPS = ("scheduled_ns", "sent_ns", "first_read_ns", "end_ns")
_TELL_EVERY_NS = 200_000_000


class _Told:
    """The worker's counters, sent to the head now and then."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._values: dict[int, int] = {}
        self._sent_ns = 0

    def __setitem__(self, place: int, value: int) -> None:
        self._values[place] = value
        if len(self._values) > 1 and now_ns() - self._sent_ns > _TELL_EVERY_NS:
            self._sent_ns = now_ns()
            self._connection.send(self._values)


def work(connection: Connection, plan: WorkerPlan) -> None:
    """Entry point on the node: what a local worker does."""
    serve_pipe(connection, plan, _Told(connection))


@dataclass(frozen=True, kw_only=True)
class FarWorker:
    """A worker on another machine, and that machine's clock before the load."""

    node: Node
    pipe: Connection
    before: Offset

    def starts_at(self, start_ns: int) -> int:
        """The head's moment on the node's clock."""
        return start_ns + self.before.offset_ns

    def on_heads_clock(self, result: WorkerResult, after: Offset) -> WorkerResult:
        """Its result with every stamp on the head's clock, and how well that is known."""
        offsets = (self.before, after)
        requests = {
            name: on_heads_clock(values, offsets) if name in _STAMPS else values
            for name, values in result.requests.items()
        }
        error_ns = max(o.error_ns for o in offsets)
        report = replace(result.report, node=self.node.host, clock_error_ns=error_ns)
        return replace(
            result,
            requests=requests,
            chunk_ns=on_heads_clock(result.chunk_ns, offsets),
            report=report,
        )


def prepare() -> None:
    """On the node: workers are forked from a process that has imported what they need."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["bench.traffic.far"])


def start(node: Node, plan: WorkerPlan) -> FarWorker:
    """A worker on a node; BenchError where its clock is not known as well as the load needs."""
    before = node.ask_clock()
    error_ms = before.error_ns / 1e6
    if error_ms > ERROR_FLOOR_MS:
        raise BenchError(
            f"nodes.load: the clock of {node.host} is known to ± {error_ms:.2f} ms, and this "
            f"client keeps time to {ERROR_FLOOR_MS:g} ms: send the load from one machine, or over "
            "a network with shorter ways."
        )
    node.ask(prepare)
    # No cores of its own there: nothing else of the run computes on a client's machine.
    plan = replace(plan, server=replace(plan.server, client_cores=()))
    return FarWorker(node=node, pipe=node.start(work, plan), before=before)


def counted(counters: Any, message: dict[int, int]) -> None:
    """Put what a far worker told into the head's counters."""
    for place, value in message.items():
        counters[place] = value
