"""From published rows as they were found to rows of evidence: names, layouts, what was assumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.predict.evidence import Row
from bench.predict.terms import Deployment, cost, named, smallest_replica
from bench.sizing.bound import Work
from bench.sizing.geometry import Geometry
from bench.values.spec import GpuSpec, ModelSpec

GPU_NAMES = {
    "gb200-sxm": "gb200",
    "gh200-sxm": "gh200",
    "mi300x-oam": "mi300x",
    "mi325x-oam": "mi325x",
}
ASSUMED_INPUT = {
    "llama-2-70b": 294.0,  # MLPerf's OpenOrca subset: prompts about as long as answers
    "llama-3.1-70b": 294.0,
    "mixtral-8x7b": 350.0,
    "lm-arena-chat": 100.0,
    "gpqa": 300.0,
}
"""Mean prompt tokens of the data sets whose rows do not state them: assumed, and small beside the
answers of most; no prediction is asked about them."""
OTHER_INPUT = 300.0
MODES = {
    "MLPerf Server": "server",
    "MLPerf Interactive": "interactive",
    "static batch": "static",
}
MOST_SEQUENCES = 2048.0
"""What a replica is taken to admit where no row says it (TensorRT-LLM's default max_batch_size)."""


def engine_of(word: str) -> str:
    """vllm, tensorrt-llm or other."""
    plain = word.casefold()
    if "tensorrt" in plain:
        return "tensorrt-llm"
    return "vllm" if "vllm" in plain else "other"


def row_of(
    data: Mapping[str, Any], model: ModelSpec, geometry: Geometry, gpus: Mapping[str, GpuSpec]
) -> Row:
    """One published row with its terms.

    TensorRT-LLM's tables and ML.ENERGY run one replica over the GPUs they name; MLPerf's entries
    are taken to divide them into the smallest replicas with room for a cache.
    """
    name = "-".join(w for w in (data["gpu"], data["form_factor"]) if w)
    gpu = gpus[GPU_NAMES.get(name, name)]
    wanted = named(data["quant"], model)
    count = data["gpus"]
    each = count
    if data["family"] == "mlperf":
        each = smallest_replica(geometry, wanted, gpu, min(count, 8))
    stated = data["input_tokens"] or data.get("assumed_input_tokens")
    by_name = ASSUMED_INPUT.get(data.get("task") or data["model"], OTHER_INPUT)
    prompt = stated or by_name
    replicas = max(1, count // each)
    told = data["concurrency"] is not None
    c = cost(
        geometry,
        wanted,
        Deployment(
            gpu=gpu,
            per_replica=each,
            replicas=replicas,
            sequences=float("inf") if told else MOST_SEQUENCES,
        ),
        Work(
            input_tokens=prompt,
            output_tokens=data["output_tokens"],
            concurrency=data["concurrency"],
        ),
        data["kv_bits"],
    )
    return Row(
        id=data["id"],
        source=f"{data['repo']} {data['path']}",
        date=data["date"],
        collection=data["family"],
        engine=engine_of(data["engine"]),
        version=data["version"],
        model=data["model"],
        quant=data["quant"],
        gpu=gpu.name,
        gpus=count,
        replicas=replicas,
        mode=MODES.get(data["batch_mode"], "throughput"),
        input_tokens=stated,
        assumed_input=None if stated else prompt,
        output_tokens=float(data["output_tokens"]),
        concurrency=data["concurrency"],
        batch=c.batch,
        tokens_per_s=float(data["value"]),
        terms=c.terms,
        itl_ms=data.get("median_itl_ms"),
        watts=data.get("avg_power_watts"),
    )
