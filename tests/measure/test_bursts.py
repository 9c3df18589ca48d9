"""A buffer between server and client: found, and never blamed on the client."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from point_support import Shot, point

from bench.derive import measure_point
from bench.traffic.again import cause_outside
from bench.values.record import Anchor, Run
from bench.values.spec import RunSpec

EVERY = 10
"""Chunks that the buffer hands on at once, 50 ms apart: the server made one each 5 ms."""


def shots(together: int) -> list[Shot]:
    """Forty answers of 50 tokens, 30 ms to the first, through a buffer of so many chunks."""
    made = [30 + 5 * k for k in range(50)]
    held = [made[min(49, k // together * together + together - 1)] for k in range(50)]
    return [
        Shot(sent=300.0 * n, chunks=[300.0 * n + t for t in held], end=300.0 * n + 275)
        for n in range(40)
    ]


@pytest.mark.parametrize("together", [EVERY, 50])
def test_what_a_buffer_moves_is_not_the_clients(
    together: int, run_spec: Callable[..., RunSpec]
) -> None:
    data = point(shots(together), chunk_delay_ns=np.full(2000, 10_000, dtype=np.int64))
    run = Run(
        spec=run_spec(engine="endpoint", load={"concurrency": [1], "repeats": 1}),
        anchor=Anchor(monotonic_ns=0, wall_iso="2026-11-26T00:00:00"),
    )
    found = {f.code: f for f in measure_point(run, [data]).findings}
    assert found["bursts"].severity == "fail"
    assert "something between buffers" in found["bursts"].text
    assert found["client_bound"].severity == "pass", found["client_bound"].text
    assert cause_outside(run.spec, data) is None  # nor is it measured again for it


def test_the_rate_behind_a_buffer_stays(run_spec: Callable[..., RunSpec]) -> None:
    data = point(shots(EVERY), chunk_delay_ns=np.full(2000, 10_000, dtype=np.int64))
    run = Run(
        spec=run_spec(engine="endpoint", load={"concurrency": [1], "repeats": 1}),
        anchor=Anchor(monotonic_ns=0, wall_iso="2026-11-26T00:00:00"),
    )
    metrics = measure_point(run, [data]).metrics
    assert metrics["output_tokens_per_s"].value == pytest.approx(50 / 0.300, rel=0.01)
    for name in ("ttft_p50_ms", "itl_p50_ms", "tpot_p50_ms"):
        assert metrics[name].value is None
