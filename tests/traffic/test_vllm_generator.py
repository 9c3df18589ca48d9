"""vLLM's own benchmark as a load generator: its detailed result read into our records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.traffic.vllm_generator import argv, observed
from bench.values.errors import InputError
from bench.values.record import LoadPoint
from bench.values.server import Server
from bench.values.spec import LengthSpec, SloSpec, WorkloadSpec

POINT = LoadPoint(index=0, repeat=0, mode="closed", concurrency=2)
SLO = SloSpec(ttft_ms=1000, tpot_ms=100)
RESULT: dict[str, Any] = {
    "start_times": [10.5, 10.0, 11.0],
    "ttfts": [0.1, 0.2, 0.0],
    "itls": [[0.01, 0.02], [0.05], []],
    "latencies": [0.13, 0.25, 0.0],
    "input_lens": [8, 9, 8],
    "output_lens": [3, 4, 0],
    "errors": ["", "", "connection reset"],
}


def server(**changes: Any) -> Server:
    known = {"engine": "vllm", "base_url": "http://127.0.0.1:1/v1", "served_model": "m"}
    return Server(**{**known, "model_path": "/models/m", **changes})


def test_stamps_counts_and_errors_of_a_worked_result() -> None:
    """Sent at 10.0: first at 10.2, second at 10.25 with 4 tokens in 2 chunks: spread as 2 and 2."""
    data = observed(RESULT, POINT, seed=0)
    r = data.requests
    assert r["sent_ns"].tolist() == [10_000_000_000, 10_500_000_000, 11_000_000_000]
    assert data.chunk_ns.tolist() == [
        10_200_000_000,
        10_250_000_000,
        10_600_000_000,
        10_610_000_000,
        10_630_000_000,
    ]
    assert data.chunk_tokens.tolist() == [2, 2, 1, 1, 1]
    assert r["end_ns"].tolist() == [10_250_000_000, 10_630_000_000, 11_000_000_000]
    assert (r["outcome"] == 0).tolist() == [True, True, False]
    assert data.errors == {2: "connection reset"}
    assert np.all(r["usage_prompt_tokens"] == -1)  # it does not say: not measured


def test_what_it_has_no_equivalent_for_is_refused() -> None:
    varied = WorkloadSpec(
        name="w", input_tokens=LengthSpec(dist="uniform", max=9), output_tokens=4, slo=SLO
    )
    with pytest.raises(InputError, match="fixed lengths only"):
        argv(server(), POINT, varied, 4, 0, Path("r.json"))
    fixed = WorkloadSpec(name="w", input_tokens=8, output_tokens=4, slo=SLO)
    with pytest.raises(InputError, match="tokenizer"):
        argv(server(model_path=None), POINT, fixed, 4, 0, Path("r.json"))


def test_the_command_says_lengths_concurrency_and_count() -> None:
    fixed = WorkloadSpec(name="w", input_tokens=8, output_tokens=4, slo=SLO)
    words = " ".join(argv(server(), POINT, fixed, 40, 7, Path("r.json"))[3:])
    assert "--random-input-len 8 --random-output-len 4" in words
    assert "--num-prompts 40" in words
    assert "--max-concurrency 2" in words
    assert "--base-url http://127.0.0.1:1 " in words
