"""TensorRT-LLM's `trtllm-serve` (PyTorch backend) as a guarded subprocess, with a YAML of ours.

Written from the source and documentation of 1.2.1 and tried with a stand-in process alone: its
wheel comes from NVIDIA's own index and needs a GPU. Its /metrics hands out each iteration's
statistics once: whoever reads them takes them from every other reader, so the watch of the gauges
is the only one, and the counters come from /prometheus/metrics.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.engines.checkpoint import checkpoint, needs_gpu
from bench.engines.launch import Launch, claim_port, launched, program
from bench.models.weights import Weights
from bench.values.json_text import json_text
from bench.values.server import ProgressCallback, Server
from bench.values.spec import RunSpec, TrtllmSpec

CONFIG = "trtllm.yaml"
_REMEDY = "Use its container (nvcr.io/nvidia/tensorrt-llm/release)"


def argv(
    spec: RunSpec, weights: Weights, port: int, config: Path, start: Sequence[str]
) -> tuple[str, ...]:
    """The command that serves `weights` on 127.0.0.1:`port` as `config` says."""
    engine = _engine(spec)
    words = [*start, str(weights.location), "--host", "127.0.0.1", "--port", str(port)]
    words += ["--backend", "pytorch", "--tp_size", str(max(1, spec.gpus))]
    if weights.revision is not None:
        words += ["--revision", weights.revision]
    values = {
        "--max_batch_size": engine.max_batch_size,
        "--max_num_tokens": engine.max_num_tokens,
        "--max_seq_len": engine.max_seq_len,
        "--kv_cache_free_gpu_memory_fraction": engine.free_fraction,
    }
    for flag, value in values.items():
        if value is not None:
            words += [flag, str(value)]
    if engine.chunked_prefill:
        words.append("--enable_chunked_prefill")
    return (*words, "--config", str(config), *engine.args)


def config_of(spec: RunSpec, weights: Weights) -> str:
    """The YAML beside the command, as JSON, which YAML is a superset of.

    Statistics are off by default on this backend; without `return_perf_metrics` there are no
    Prometheus counters.
    """
    engine = _engine(spec)
    cache: dict[str, Any] = {"enable_block_reuse": engine.prefix_cache}
    if engine.kv_cache_dtype is not None:
        cache["dtype"] = engine.kv_cache_dtype
    found: dict[str, Any] = {
        "enable_iter_perf_stats": True,
        "return_perf_metrics": True,
        "stream_interval": 1,
        "kv_cache_config": cache,
    }
    if not engine.cuda_graphs:
        found["cuda_graph_config"] = None
    if weights.source == "dummy":
        found["load_format"] = "dummy"
    return json_text(found, indent=1) + "\n"


def conditions(spec: RunSpec) -> dict[str, Any]:
    """What it serves under, in the words of `bench.values.serving`, as far as it is known."""
    engine = _engine(spec)
    return {
        "weights": None if spec.quant.name == "none" else spec.quant.name,
        "kv_type": engine.kv_cache_dtype,
        "batch_limit": engine.max_batch_size,
        "step_tokens": engine.max_num_tokens,
        "context": engine.max_seq_len,
        "prefix_cache": "on" if engine.prefix_cache else "off",
        "chunked_prefill": "on" if engine.chunked_prefill else "off",
        "graphs": "on" if engine.cuda_graphs else "off",
        "speculation": "off",
        "temperature": 0.0,
        "sampling": "off (greedy)",
    }


def _engine(spec: RunSpec) -> TrtllmSpec:
    if not isinstance(spec.engine, TrtllmSpec):
        raise TypeError(f"not a run of TensorRT-LLM: {spec.engine.kind}")
    return spec.engine


class TrtllmEngine:
    """Serves a model with TensorRT-LLM; see `bench.values.server.Engine`."""

    def serve(
        self, spec: RunSpec, run_dir: Path, progress: ProgressCallback
    ) -> AbstractContextManager[Server]:
        return _serve(spec, run_dir, progress)


@contextlib.contextmanager
def _serve(spec: RunSpec, run_dir: Path, progress: ProgressCallback) -> Iterator[Server]:
    engine = _engine(spec)
    needs_gpu(spec, "TensorRT-LLM", engine.command)
    start = program(engine, ("trtllm-serve",), _REMEDY)
    weights = checkpoint(spec, run_dir, dummies=True)
    local = [str(weights.location)] if str(weights.location).startswith("/") else []
    port = claim_port(engine.port)
    config = (run_dir / CONFIG).absolute()
    config.write_text(config_of(spec, weights))
    launch = Launch(
        command=argv(spec, weights, port, config, start),
        port=port,
        model=str(weights.location),  # it serves under the name of its first word
        timeout_s=engine.start_timeout_s,
        env={
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            **({"HF_HUB_OFFLINE": "1"} if weights.is_local else {}),
            **engine.env,
        },
        wanted={"metrics": False},  # a look at /metrics would take from the one who reads it
        folders=[str(run_dir.absolute()), *local],
        counters="/prometheus/metrics",
        gauges="/metrics",
    )
    with launched("trtllm", launch, spec, run_dir, progress) as server:
        yield replace(
            server,
            model_path=weights.location if weights.is_local else None,
            conditions=conditions(spec),
        )
