"""`transformers serve` as a guarded subprocess, with continuous batching.

Tried with transformers 5.19 on a CPU. It takes prompts of text alone, always sends usage, publishes
no metrics, and ends its streams without [DONE].
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.engines.asked import at_once, longest
from bench.engines.checkpoint import checkpoint
from bench.engines.launch import Launch, claim_port, launched, program
from bench.models.weights import Weights
from bench.values.cores import available, split
from bench.values.json_text import json_text
from bench.values.server import ProgressCallback, Server
from bench.values.spec import RunSpec, TransformersSpec
from bench.values.vllm_defaults import cpu_batch_limits

_REMEDY = "Install it: pip install 'transformers[serving]' accelerate"
# No token has this id. The request's own generation config is the one way that holds with and
# without continuous batching; the first request's sampling is kept for all with it.
ENDLESS = {"eos_token_id": -1, "pad_token_id": 0, "do_sample": False}


BLOCK_TOKENS = 256
"""Tokens of a block of its cache, since 5.17 (a `page`)."""


def argv(spec: RunSpec, weights: Weights, port: int, start: Sequence[str]) -> tuple[str, ...]:
    """The command that serves `weights` on 127.0.0.1:`port`; `start` are its first words."""
    engine = _engine(spec)
    words = [*start, "serve", str(weights.location)]
    words += ["--host", "127.0.0.1", "--port", str(port)]
    words += ["--device", "cpu" if spec.gpus == 0 else "cuda" if spec.gpus == 1 else "auto"]
    words += ["--dtype", dtype(spec), "--log-level", "warning"]
    if engine.continuous_batching:
        words.append("--continuous-batching")
        if (step := step_tokens(spec)) is not None:
            words += ["--cb-max-batch-tokens", str(step)]
        if (blocks := kv_blocks(spec)) is not None:
            words += ["--cb-num-blocks", str(blocks)]
    if engine.attention is not None:
        words += ["--attn-implementation", engine.attention]
    return (*words, *engine.args)


def dtype(spec: RunSpec) -> str:
    """float32 on a CPU, where it is the fast one for vLLM, too; the checkpoint's own on GPUs."""
    return _engine(spec).dtype or ("float32" if spec.gpus == 0 else "auto")


def step_tokens(spec: RunSpec) -> int | None:
    """Most tokens of one step: as set; on a CPU as vLLM's there; None leaves it to the engine."""
    return _engine(spec).max_batch_tokens or (None if spec.gpus else cpu_batch_limits(1)[0])


def kv_blocks(spec: RunSpec) -> int | None:
    """Blocks of the KV cache: as set; on a CPU what the run asks for, where its own choice is most
    of the host's memory (16 GiB of 24 were filled with zeros, and the kernel killed it)."""
    if spec.gpus or _engine(spec).kv_blocks is not None:
        return _engine(spec).kv_blocks
    return math.ceil(at_once(spec) * longest(spec) / BLOCK_TOKENS)


def threads(spec: RunSpec) -> str | None:
    """OpenMP's threads on a CPU: as set outside, else one for each core that it has."""
    if spec.gpus:
        return None
    set_outside = _engine(spec).env.get("OMP_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS")
    return set_outside or str(len(split(spec.load.own_cores)[0] or available()))


def conditions(spec: RunSpec) -> dict[str, Any]:
    """What it serves under, in the words of `bench.values.serving`, as far as it is known."""
    engine = _engine(spec)
    kind = dtype(spec)
    # A version of somebody else's may have blocks of another size.
    here = engine.continuous_batching and not (engine.command or engine.container)
    blocks, own_threads = kv_blocks(spec), threads(spec)
    return {
        "weights": kind if spec.quant.name == "none" else spec.quant.name,
        "kv_type": None if kind == "auto" else kind,
        "kv_tokens": blocks * BLOCK_TOKENS if here and blocks else None,
        "batch_limit": None if engine.continuous_batching else 1,
        "step_tokens": step_tokens(spec) if engine.continuous_batching else None,
        "prefix_cache": None if engine.continuous_batching else "off",
        "graphs": "off" if spec.gpus == 0 else None,
        "speculation": "off",
        "temperature": 0.0,
        "sampling": "off (greedy)",
        "threads": int(own_threads) if own_threads and own_threads.isdigit() else None,
    }


def _engine(spec: RunSpec) -> TransformersSpec:
    if not isinstance(spec.engine, TransformersSpec):
        raise TypeError(f"not a run of transformers serve: {spec.engine.kind}")
    return spec.engine


class TransformersEngine:
    """Serves a model with transformers itself; see `bench.values.server.Engine`."""

    def serve(
        self, spec: RunSpec, run_dir: Path, progress: ProgressCallback
    ) -> AbstractContextManager[Server]:
        return _serve(spec, run_dir, progress)


@contextlib.contextmanager
def _serve(spec: RunSpec, run_dir: Path, progress: ProgressCallback) -> Iterator[Server]:
    engine = _engine(spec)
    weights = checkpoint(spec, run_dir, dummies=False)
    start = program(engine, ("transformers",), _REMEDY)
    port, own_threads = claim_port(engine.port), threads(spec)
    launch = Launch(
        command=argv(spec, weights, port, start),
        port=port,
        model=str(weights.location),  # the server is pinned to the words of its command
        timeout_s=engine.start_timeout_s,
        env={
            **({"OMP_NUM_THREADS": own_threads} if own_threads else {}),
            **({"HF_HUB_OFFLINE": "1"} if weights.is_local else {}),
            **engine.env,
        },
        wanted={
            "api": "completions",
            "prompt": "text",
            "endless": True,
            "extra_body": {"generation_config": json_text(ENDLESS)},
            "metrics": False,
        },
        folders=[str(weights.location)] if weights.is_local else [],
    )
    with launched("transformers", launch, spec, run_dir, progress) as server:
        yield replace(
            server,
            engine_version=_version() if not (engine.command or engine.container) else None,
            model_path=weights.location if weights.is_local else None,
            conditions=conditions(spec),
        )


def _version() -> str | None:
    try:
        return version("transformers")
    except PackageNotFoundError:
        return None
