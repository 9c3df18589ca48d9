"""`transformers serve` as a guarded subprocess, with continuous batching.

Tried with transformers 5.19 on a CPU. It takes prompts of text alone, always sends usage, publishes
no metrics, and ends its streams without [DONE].
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.engines.checkpoint import checkpoint
from bench.engines.launch import Launch, claim_port, launched, program
from bench.models.weights import Weights
from bench.values.json_text import json_text
from bench.values.server import ProgressCallback, Server
from bench.values.spec import RunSpec, TransformersSpec

_REMEDY = "Install it: pip install 'transformers[serving]' accelerate"
# No token has this id. The request's own generation config is the one way that holds with and
# without continuous batching; the first request's sampling is kept for all with it.
ENDLESS = {"eos_token_id": -1, "pad_token_id": 0, "do_sample": False}


def argv(spec: RunSpec, weights: Weights, port: int, start: Sequence[str]) -> tuple[str, ...]:
    """The command that serves `weights` on 127.0.0.1:`port`; `start` are its first words."""
    engine = _engine(spec)
    words = [*start, "serve", str(weights.location)]
    words += ["--host", "127.0.0.1", "--port", str(port)]
    words += ["--device", "cpu" if spec.gpus == 0 else "cuda" if spec.gpus == 1 else "auto"]
    words += ["--dtype", dtype(spec), "--log-level", "warning"]
    if engine.continuous_batching:
        words.append("--continuous-batching")
        if engine.max_batch_tokens is not None:
            words += ["--cb-max-batch-tokens", str(engine.max_batch_tokens)]
        if engine.kv_blocks is not None:
            words += ["--cb-num-blocks", str(engine.kv_blocks)]
    if engine.attention is not None:
        words += ["--attn-implementation", engine.attention]
    return (*words, *engine.args)


def dtype(spec: RunSpec) -> str:
    """float32 on a CPU, where it is the fast one for vLLM, too; the checkpoint's own on GPUs."""
    return _engine(spec).dtype or ("float32" if spec.gpus == 0 else "auto")


def conditions(spec: RunSpec) -> dict[str, Any]:
    """What it serves under, in the words of `bench.values.serving`, as far as it is known."""
    engine = _engine(spec)
    kind = dtype(spec)
    return {
        "weights": kind if spec.quant.name == "none" else spec.quant.name,
        "kv_type": None if kind == "auto" else kind,
        "batch_limit": None if engine.continuous_batching else 1,
        "prefix_cache": None if engine.continuous_batching else "off",
        "graphs": "off" if spec.gpus == 0 else None,
        "speculation": "off",
        "temperature": 0.0,
        "sampling": "off (greedy)",
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
    port = claim_port(engine.port)
    launch = Launch(
        command=argv(spec, weights, port, start),
        port=port,
        model=str(weights.location),  # the server is pinned to the words of its command
        timeout_s=engine.start_timeout_s,
        env={**({"HF_HUB_OFFLINE": "1"} if weights.is_local else {}), **engine.env},
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
