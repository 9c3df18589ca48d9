"""A small slice of the truth grid: figures of simulated servers against truths from elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import truth_cells
import truth_grid as grid
from simulated_engine import THINK_MS, Engine, Work, observed, serve

from bench.measure.metrics import output_rate, request_rate, steady_parts
from bench.values.record import LoadPoint
from bench.values.spec import SloSpec


def test_the_simulated_engine_by_hand() -> None:
    """Two requests of 100 and 60 prompt tokens, 3 tokens each; steps of 10 ms + 1 ms a prompt
    token, 80 at a time. Step 1: 80 of the first: 90 ms. Step 2: its last 20 and all 60
    of the second: both first tokens at 180. Then two tokens each, 10 ms apart: ends at 200."""
    engine = Engine(step_ms=10, decode_ms=0, prefill_ms=1, budget=80)
    work = Work(
        prompts=np.array([100, 60]),
        outputs=np.array([3, 3]),
        lost=np.zeros(2, dtype=bool),
        arrivals_ms=np.zeros(2),
    )
    done = serve(engine, work, np.random.default_rng(0))
    assert done.ttft_ms == pytest.approx([180, 180])
    assert done.e2e_ms == pytest.approx([200, 200])
    assert done.tpot_ms == pytest.approx([10, 10])


@pytest.mark.parametrize(
    "name", ["16 in flight, equal lengths, 8 waves", "open loop, 20/s for 20 s"]
)
def test_figures_are_near_their_truths(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truth_cells, "TRUTH_REQUESTS", 12_000)
    (cell,) = (c for c in truth_cells.cells() if c.name == name)
    found = grid.scores(cell, 6)
    for metric in ("output_tokens_per_s", "requests_per_s", "ttft_p50_ms", "tpot_p50_ms"):
        score = found[6, metric]
        bias, error = score.bias
        assert abs(bias) <= grid.BIAS_LIMIT + 3 * error + 0.005, metric
        assert sum(score.covered) >= len(score.covered) - 2, metric
        assert not found[1, metric].covered, "no interval below three repeats"


def test_the_gpu_default_keeps_littles_law() -> None:
    """256 in flight, 1k/1k, chunked prefill: what was once +10 % in tokens/s and -25 % in req/s."""
    (cell,) = (c for c in truth_cells.cells() if c.name == "256 in flight, 1k/1k, 4 waves")
    done = truth_cells.one_repeat(cell, np.random.default_rng(5))
    load = LoadPoint(index=0, repeat=0, mode="closed", concurrency=256)
    (part,) = steady_parts([observed(done, load)], SloSpec(ttft_ms=1e9, tpot_ms=1e9), 0)
    # The second and the third wave, however bench's window may lie: still settling, so within 1 %.
    cycle_s = (float(done.e2e_ms[256:768].mean()) + THINK_MS) / 1e3
    assert request_rate(part) == pytest.approx(256 / cycle_s, rel=0.01)
    assert output_rate(part) == pytest.approx(256 * 1024 / cycle_s, rel=0.01)
