"""Load points made by hand, for tests of what is derived from them. Times in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bench.values.record import OUTCOMES, REQUEST_COLUMNS, LoadPoint, PointData, WorkerReport


@dataclass(frozen=True)
class Shot:
    """One request: when sent, when its chunks came, when it ended."""

    sent: float
    chunks: Sequence[float]
    end: float
    scheduled: float | None = None
    tokens: Sequence[int] | None = None
    outcome: str = "ok"
    usage: int | None = None  # completion tokens the server states; None: as many as came
    requested: int | None = None
    prompt: int = 8


def _ns(milliseconds: float) -> int:
    return round(milliseconds * 1e6)


def point(
    shots: Sequence[Shot],
    *,
    concurrency: int | None = 1,
    rate_per_s: float | None = None,
    repeat: int = 0,
    worker: WorkerReport | None = None,
    arose: int = 0,
    **more: Any,
) -> PointData:
    """The PointData that these requests would have left."""
    mode: Literal["closed", "open"] = "closed" if rate_per_s is None else "open"
    rows: list[tuple[int, ...]] = []
    stamps: list[int] = []
    tokens: list[int] = []
    for i, s in enumerate(shots):
        counts = list(s.tokens or [1] * len(s.chunks))
        scheduled = s.sent if s.scheduled is None else s.scheduled
        first = s.chunks[0] if s.chunks else 0
        usage = sum(counts) if s.usage is None else s.usage
        requested = sum(counts) if s.requested is None else s.requested
        rows.append(
            (
                i,
                -1,
                0,
                _ns(scheduled),
                _ns(s.sent),
                _ns(first),
                _ns(s.end),
                200,
                OUTCOMES.index(s.outcome),
                s.prompt,
                requested,
                s.prompt,
                usage,
                len(stamps),
                len(counts),
                arose,
            )
        )
        stamps += [_ns(c) for c in s.chunks]
        tokens += counts
    table = np.array(rows, dtype=np.int64).reshape(len(rows), len(REQUEST_COLUMNS))
    calm = WorkerReport(
        requests=len(rows),
        cpu_s=0.1,
        parse_cpu_s=0.1,
        wall_s=10.0,
        loop_lag_ns=(1000,),
        reconnects=0,
        run_delay_s=0.0,
        wakeups=100,
    )
    return PointData(
        point=LoadPoint(
            index=0,
            repeat=repeat,
            mode=mode,
            concurrency=concurrency if rate_per_s is None else None,
            rate_per_s=rate_per_s,
        ),
        start_ns=0,
        requests={name: table[:, i] for i, name in enumerate(REQUEST_COLUMNS)},
        chunk_ns=np.array(stamps, dtype=np.int64),
        chunk_tokens=np.array(tokens, dtype=np.int64),
        workers=(worker or calm,),
        **more,
    )


def even(
    count: int, *, ttft: float = 100, gap: float = 10, tokens: int = 5, rest: float = 10
) -> list[Shot]:
    """One slot, requests back to back: first token after `ttft`, then every `gap`."""
    took = ttft + gap * (tokens - 1) + rest
    return [
        Shot(
            sent=i * took,
            chunks=[i * took + ttft + gap * k for k in range(tokens)],
            end=(i + 1) * took,
        )
        for i in range(count)
    ]
