"""Shapes of stored records, held against what the engines' own logs and metrics are read as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.engines import log_facts
from bench.meters.engine_stats import parse
from bench.values.codec import encode
from bench.values.errors import InputError
from bench.values.record_shapes import check_point, check_shapes

DATA = Path(__file__).parents[1] / "data"
LOGS = {
    "vllm": DATA / "engine_logs" / "cpu_eager.log",
    **{kind: DATA / "stand_ins" / f"{kind}.log" for kind in ("llamacpp", "sglang", "trtllm")},
}


@pytest.mark.parametrize("kind", LOGS)
def test_what_an_engines_log_says_can_be_stored_and_read(kind: str) -> None:
    """`lines` are the lines themselves: every run of an engine with a log has some."""
    facts: dict[str, Any] = encode(log_facts(kind, LOGS[kind].read_text()))
    assert facts["lines"]
    check_shapes({"engine_facts": facts}, "run.json")
    with pytest.raises(InputError, match=r"engine_facts\.lines\[0\] is of another shape"):
        check_shapes({"engine_facts": {**facts, "lines": [1]}}, "run.json")
    with pytest.raises(InputError, match="of another shape"):
        check_shapes({"engine_facts": {**facts, "lines": 3}}, "run.json")


def test_counters_with_their_configuration_can_be_stored_and_read() -> None:
    """vLLM publishes a block size and others as the labels of one gauge."""
    told = parse(
        "vllm:generation_tokens_total 5\n# TYPE vllm:cache_config_info gauge\n"
        'vllm:cache_config_info{block_size="128",num_gpu_blocks="2048"} 1\n'
    )
    assert told is not None
    assert told["cache_config_info"]["block_size"] == "128"
    point = {"start_ns": 1, "errors": {}, "engine_before": told, "engine_after": None}
    check_point(point, "point.json")
    with pytest.raises(InputError, match="engine_before"):
        check_point({**point, "engine_before": {"a": [1]}}, "point.json")
