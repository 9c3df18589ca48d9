"""A batching engine with chunked prefill, simulated step by step: what truth_grid.py measures.

Each step takes one token of every running request and as much of the waiting prompts as its token
budget leaves (first come, first served). It lasts base + a share per token, times noise. The first
token of a request comes with the step that ends its prompt. Nothing here knows how bench measures.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.values.record import OUTCOMES, REQUEST_COLUMNS, LoadPoint, PointData, WorkerReport

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

THINK_MS = 0.05
"""From the end of an answer until its slot sends the next request."""
_STRETCH = 12
"""So many steps without news are made at once."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What a step costs, how many tokens and requests it takes, and how much its length varies."""

    step_ms: float = 8.0
    decode_ms: float = 0.02
    prefill_ms: float = 0.02
    budget: int = 2048
    slots: int = 100_000
    noise: float = 0.0
    """Standard deviation of a step's logarithm."""
    drift: float = 0.0
    """By how much slower each step is after a second, as a share."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Requests in order: lengths, which of them are never answered, and when they arrive (ms)."""

    prompts: Ints
    outputs: Ints
    lost: npt.NDArray[np.bool_]
    arrivals_ms: Floats | None = None
    deadline_ms: float = 10_000.0


@dataclass(eq=False)
class Served:
    """What came of each request: sent, the step of its first token, its end; steps' ends (ms)."""

    work: Work
    sent_ms: Floats
    first_step: Ints
    end_ms: Floats
    steps_ms: Floats
    concurrency: int | None = None

    @property
    def ok(self) -> npt.NDArray[np.bool_]:
        """Requests that were answered."""
        return self.first_step >= 0

    @property
    def ttft_ms(self) -> Floats:
        """Until the first token; a lost request counts with its deadline."""
        first = self.steps_ms[np.maximum(self.first_step, 0)] - self.sent_ms
        return np.where(self.ok, first, self.work.deadline_ms)

    @property
    def e2e_ms(self) -> Floats:
        """Until the end; the client gives a lost request up at its deadline."""
        return self.end_ms - self.sent_ms

    @property
    def tpot_ms(self) -> Floats:
        """Mean gap of its tokens."""
        last = self.steps_ms[np.maximum(self.first_step, 0) + self.work.outputs - 1]
        gap = (last - self.sent_ms - self.ttft_ms) / np.maximum(self.work.outputs - 1, 1)
        return np.where(self.ok, gap, self.work.deadline_ms)


@dataclass
class _State:
    rng: np.random.Generator
    due: list[tuple[float, int]]
    left: list[int]
    now_ms: float = 0.0
    step: int = 0
    ends: list[float] = field(default_factory=list)
    running: list[tuple[int, int]] = field(default_factory=list)
    waiting: deque[int] = field(default_factory=deque)
    noise: list[float] = field(default_factory=list)


def serve(
    engine: Engine,
    work: Work,
    rng: np.random.Generator,
    *,
    concurrency: int | None = None,
    level: float = 1.0,
) -> Served:
    """Answer all requests: as they arrive, or `concurrency` at a time, the next when one ends."""
    count = len(work.prompts)
    outputs, lost = work.outputs.tolist(), work.lost.tolist()
    sent, end, first = np.zeros(count), np.zeros(count), np.full(count, -1, dtype=np.int64)
    if concurrency is None:
        assert work.arrivals_ms is not None
        due, following = [(t, i) for i, t in enumerate(work.arrivals_ms.tolist())], count
    else:
        following = min(concurrency, count)
        due = [(0.02 * i, i) for i in range(following)]
    s = _State(rng=rng, due=due, left=work.prompts.tolist())
    give_up: list[tuple[float, int]] = []

    def ended(i: int, at_ms: float) -> None:
        nonlocal following
        end[i] = at_ms
        if concurrency is not None and following < count:
            heapq.heappush(s.due, (at_ms + THINK_MS, following))
            following += 1

    while s.due or s.running or s.waiting or give_up:
        while give_up and give_up[0][0] <= s.now_ms:
            at_ms, i = heapq.heappop(give_up)
            ended(i, at_ms)
        while s.due and s.due[0][0] <= s.now_ms:
            at_ms, i = heapq.heappop(s.due)
            sent[i] = at_ms
            if lost[i]:
                heapq.heappush(give_up, (at_ms + work.deadline_ms, i))
            else:
                s.waiting.append(i)
        if not s.running and not s.waiting:
            news = [q[0][0] for q in (s.due, give_up) if q]
            if news:
                s.now_ms = max(s.now_ms, min(news))
            continue
        if not s.waiting and s.running[0][0] - s.step > _STRETCH:
            _stretch(engine, s, give_up, level)
        else:
            for i in _step(engine, s, level):
                first[i] = s.step - 1
                heapq.heappush(s.running, (s.step - 2 + outputs[i], i))
        while s.running and s.running[0][0] < s.step:
            ended(heapq.heappop(s.running)[1], s.now_ms)
    return Served(work, sent, first, end, np.array(s.ends), concurrency)


def _step(engine: Engine, s: _State, level: float) -> list[int]:
    """One step; returns the requests whose prompts it ended."""
    room = max(engine.budget - len(s.running), 1)
    free = engine.slots - len(s.running)
    taken = 0
    begun: list[int] = []
    while s.waiting and taken < room and len(begun) < free:
        i = s.waiting[0]
        piece = min(s.left[i], room - taken)
        s.left[i] -= piece
        taken += piece
        if s.left[i]:
            break
        begun.append(s.waiting.popleft())
    took = engine.step_ms + engine.decode_ms * len(s.running) + engine.prefill_ms * taken
    if not s.noise:
        s.noise = np.exp(s.rng.normal(0, engine.noise, 4096)).tolist() if engine.noise else [1.0]
    s.now_ms += took * level * s.noise.pop() * (1 + engine.drift * s.now_ms / 1e3)
    s.ends.append(s.now_ms)
    s.step += 1
    return begun


def _stretch(engine: Engine, s: _State, give_up: list[tuple[float, int]], level: float) -> None:
    """Steps in which nothing begins or ends, until the next arrival or end."""
    count = s.running[0][0] - s.step
    took = (engine.step_ms + engine.decode_ms * len(s.running)) * level
    took *= 1 + engine.drift * s.now_ms / 1e3
    noise = np.exp(s.rng.normal(0, engine.noise, count)) if engine.noise else np.ones(count)
    ends = s.now_ms + np.cumsum(took * noise)
    news = min((q[0][0] for q in (s.due, give_up) if q), default=np.inf)
    ends = ends[: int(np.searchsorted(ends, news)) + 1]
    s.ends += ends.tolist()
    s.now_ms = s.ends[-1]
    s.step += len(ends)


def observed(served: Served, point: LoadPoint) -> PointData:
    """The records that bench's client would have kept of it."""
    work, ok = served.work, served.ok
    tokens = np.where(ok, work.outputs, 0)
    first_chunk = np.concatenate([[0], np.cumsum(tokens)[:-1]])
    within = np.arange(int(tokens.sum())) - np.repeat(first_chunk, tokens)
    stamps = served.steps_ms[np.repeat(served.first_step, tokens) + within]
    sent_ns = np.rint(served.sent_ms * 1e6).astype(np.int64) + 1
    first_ns = np.zeros(len(ok), dtype=np.int64)
    chunk_ns = np.rint(stamps * 1e6).astype(np.int64) + 1
    first_ns[ok] = chunk_ns[first_chunk[ok]]
    end_ns = np.rint(served.end_ms * 1e6).astype(np.int64) + 1
    columns: dict[str, Any] = dict.fromkeys(REQUEST_COLUMNS, 0) | {
        "index": np.arange(len(ok)),
        "session": -1,
        "scheduled_ns": sent_ns,
        "sent_ns": sent_ns,
        "first_read_ns": first_ns,
        "end_ns": end_ns,
        "status": np.where(ok, 200, 0),
        "outcome": np.where(ok, 0, OUTCOMES.index("timeout")),
        "input_tokens": work.prompts,
        "requested_tokens": work.outputs,
        "usage_prompt_tokens": np.where(ok, work.prompts, -1),
        "usage_completion_tokens": np.where(ok, work.outputs, -1),
        "first_chunk": first_chunk,
        "chunks": tokens,
    }
    requests = {k: np.broadcast_to(v, len(ok)).astype(np.int64) for k, v in columns.items()}
    calm = WorkerReport(
        requests=len(ok),
        cpu_s=0.1,
        parse_cpu_s=0.05,
        wall_s=float(served.end_ms.max()) / 1e3,
        loop_lag_ns=(1000,),
        reconnects=0,
        run_delay_s=0.0,
        wakeups=100,
    )
    return PointData(
        point=point,
        start_ns=0,
        requests=requests,
        chunk_ns=chunk_ns,
        chunk_tokens=np.ones(len(chunk_ns), dtype=np.int64),
        workers=(calm,),
    )


if __name__ == "__main__":
    print(__doc__)
