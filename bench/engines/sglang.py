"""SGLang as a guarded subprocess.

Written from the source and documentation of 0.5.23 and tried with a stand-in process alone: it
needs CUDA 13. Its /health generates a token and sleeps a second, so readiness is shown by a real
answer and /health is never asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.engines.checkpoint import checkpoint, needs_gpu
from bench.engines.exchange import Target, json_of, optional
from bench.engines.launch import Launch, claim_port, launched, program
from bench.models.weights import Weights
from bench.values.server import ProgressCallback, Server
from bench.values.spec import RunSpec, SglangSpec

_REMEDY = "Install it: pip install sglang, in an environment with CUDA 13"


def argv(spec: RunSpec, weights: Weights, port: int, start: Sequence[str]) -> tuple[str, ...]:
    """The command that serves `weights` on 127.0.0.1:`port`; `start` are its first words."""
    engine = _engine(spec)
    words = [*start, "serve", "--model-path", str(weights.location)]
    words += ["--served-model-name", spec.model.name, "--host", "127.0.0.1", "--port", str(port)]
    if weights.revision is not None:
        words += ["--revision", weights.revision]
    if weights.source == "dummy":
        words += ["--load-format", "dummy"]
    words += ["--random-seed", str(spec.seed), "--tp-size", str(max(1, spec.gpus))]
    values = {
        "--dtype": engine.dtype,
        "--kv-cache-dtype": engine.kv_cache_dtype,
        "--mem-fraction-static": engine.mem_fraction,
        "--max-running-requests": engine.max_running_requests,
        "--chunked-prefill-size": engine.chunked_prefill_tokens,
        "--context-length": engine.context,
    }
    for flag, value in values.items():
        if value is not None:
            words += [flag, str(value)]
    if not engine.prefix_cache:
        words.append("--disable-radix-cache")
    # Its own default joins tokens of some steps in one chunk where it is busy; a log line per
    # request would cost the server time.
    words += ["--stream-interval", "1", "--log-level-http", "warning"]
    return (*words, "--enable-metrics", "--enable-cache-report", *engine.args)


def conditions(spec: RunSpec, info: dict[str, Any]) -> dict[str, Any]:
    """What it serves under, in the words of `bench.values.serving`; `info` is its /server_info."""
    engine = _engine(spec)
    kv = info.get("kv_cache_dtype") or engine.kv_cache_dtype
    chunk = info.get("chunked_prefill_size")
    return {
        "weights": spec.quant.name if spec.quant.name != "none" else info.get("dtype"),
        "kv_type": None if kv == "auto" else kv,
        "kv_tokens": info.get("max_total_num_tokens"),
        "batch_limit": info.get("max_running_requests"),
        "context": info.get("context_length"),
        "prefix_cache": "on" if engine.prefix_cache else "off",
        "chunked_prefill": None if chunk is None else "on" if chunk > 0 else "off",
        "speculation": None if not info else "on" if info.get("speculative_algorithm") else "off",
        "temperature": 0.0,
        "sampling": "off (greedy)",
    }


def _engine(spec: RunSpec) -> SglangSpec:
    if not isinstance(spec.engine, SglangSpec):
        raise TypeError(f"not a run of SGLang: {spec.engine.kind}")
    return spec.engine


class SglangEngine:
    """Serves a model with SGLang; see `bench.values.server.Engine`."""

    def serve(
        self, spec: RunSpec, run_dir: Path, progress: ProgressCallback
    ) -> AbstractContextManager[Server]:
        return _serve(spec, run_dir, progress)


@contextlib.contextmanager
def _serve(spec: RunSpec, run_dir: Path, progress: ProgressCallback) -> Iterator[Server]:
    engine = _engine(spec)
    needs_gpu(spec, "SGLang", engine.command)
    start = program(engine, ("sglang",), _REMEDY)
    weights = checkpoint(spec, run_dir, dummies=True)
    port = claim_port(engine.port)
    launch = Launch(
        command=argv(spec, weights, port, start),
        port=port,
        model=spec.model.name,
        timeout_s=engine.start_timeout_s,
        env={
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            **({"HF_HUB_OFFLINE": "1"} if weights.is_local else {}),
            **engine.env,
        },
        folders=[str(weights.location)] if str(weights.location).startswith("/") else [],
    )
    with launched("sglang", launch, spec, run_dir, progress) as server:
        target = Target(base_url=server.base_url, timeout_s=engine.start_timeout_s)
        info = json_of(optional(target, f"{target.root_url}/server_info"))
        version = info.get("version")
        yield replace(
            server,
            engine_version=version if isinstance(version, str) else None,
            model_path=weights.location if weights.is_local else None,
            conditions=conditions(spec, info),
        )
