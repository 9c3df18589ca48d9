"""llama.cpp's server as a guarded subprocess, of a GGUF file.

Tried with build 11549 (the wheel of xllamacpp) on a CPU. What its defaults would do to a
measurement is set: as many slots as requests in flight, no cache of prompts, no sampling.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.engines import llama_wheel
from bench.engines.asked import at_once, longest
from bench.engines.exchange import Target, json_of, optional
from bench.engines.launch import Launch, claim_port, launched, log_text, program
from bench.models.gguf_file import checkpoint_folder, converted, gguf_of
from bench.models.llama_tools import ready
from bench.values.cores import available, split
from bench.values.interpreter import installed
from bench.values.server import Progress, ProgressCallback, Server
from bench.values.spec import LlamacppSpec, RunSpec

_SAMPLING = {"top_k": 1, "min_p": 0.0, "top_p": 1.0}
_STEP = re.compile(r"llama_context: n_batch\s+= (\d+)")
_REMEDY = "Build llama.cpp"
_IN_IMAGE = "/app/llama-server"
"""Where llama.cpp's own images have it, which is on no PATH."""


def argv(
    spec: RunSpec, file: Path, port: int, threads: int, start: Sequence[str]
) -> tuple[str, ...]:
    """The command that serves `file` on 127.0.0.1:`port`; `start` are its first words."""
    engine = _engine(spec)
    words = [*start, "-m", str(file), "--alias", spec.model.name]
    words += ["--host", "127.0.0.1", "--port", str(port), "--offline", "--no-ui", "--metrics"]
    words += ["--seed", str(spec.seed), "-t", str(engine.threads or threads)]
    words += ["-np", str(slots(spec)), "-c", str(slots(spec) * context(spec))]
    if not engine.prompt_cache:
        words += ["--no-cache-prompt", "-cram", "0"]
    kind = kv_type(spec)
    words += ["-ctk", kind, "-ctv", kind]
    if engine.batch_tokens is not None:
        words += ["-b", str(engine.batch_tokens)]
    layers = engine.gpu_layers if engine.gpu_layers is not None else 999
    words += ["-ngl", str(layers if spec.gpus else 0)]
    if spec.gpus and engine.cpu_moe_layers:
        words += ["--n-cpu-moe", str(engine.cpu_moe_layers)]
    # Level 4 tells what memory the model, the cache and the graph take; no line per request.
    return (*words, "-lv", "4", *engine.args)


def slots(spec: RunSpec) -> int:
    """As set, or as many as are ever in flight: what does not get a slot waits. Its own default,
    4, would measure the queue."""
    return _engine(spec).slots or at_once(spec)


def context(spec: RunSpec) -> int:
    """Tokens of a slot, as set or as the run asks."""
    return _engine(spec).context or longest(spec)


def kv_type(spec: RunSpec) -> str:
    """As set; f32 on a CPU as vLLM's there, f16 on GPUs."""
    return _engine(spec).kv_type or ("f32" if spec.gpus == 0 else "f16")


def conditions(spec: RunSpec, props: dict[str, Any], threads: int, log: str = "") -> dict[str, Any]:
    """What it serves under, in the words of `bench.values.serving`: by /props or its `log` where
    those tell."""
    said = _STEP.search(log)
    engine = _engine(spec)
    number = props.get("total_slots")
    each = (props.get("default_generation_settings") or {}).get("n_ctx")
    return {
        "weights": props.get("model_ftype"),
        "kv_type": kv_type(spec),
        "kv_tokens": number * each if isinstance(number, int) and isinstance(each, int) else None,
        "batch_limit": number,
        "step_tokens": int(said[1]) if said else engine.batch_tokens,
        "context": each,
        "prefix_cache": "on" if engine.prompt_cache else "off",
        "chunked_prefill": "on",
        "graphs": "off" if spec.gpus == 0 else None,
        "speculation": None if engine.args else "off",  # words of one's own may ask for it
        "temperature": 0.0,
        "sampling": "off (greedy)",
        "threads": engine.threads or threads,
    }


def _engine(spec: RunSpec) -> LlamacppSpec:
    if not isinstance(spec.engine, LlamacppSpec):
        raise TypeError(f"not a run of llama.cpp: {spec.engine.kind}")
    return spec.engine


class LlamacppEngine:
    """Serves a GGUF file with llama.cpp; see `bench.values.server.Engine`."""

    def serve(
        self, spec: RunSpec, run_dir: Path, progress: ProgressCallback
    ) -> AbstractContextManager[Server]:
        return _serve(spec, run_dir, progress)


@contextlib.contextmanager
def _serve(spec: RunSpec, run_dir: Path, progress: ProgressCallback) -> Iterator[Server]:
    engine = _engine(spec)
    start, more = _program(engine, progress)
    file, source = gguf_of(spec), None
    if file is None:
        progress(Progress(phase="writing the checkpoint as GGUF", elapsed_s=0.0))
        file = converted(spec, ready(progress))
        source = str(checkpoint_folder(spec.model, spec.quant))  # its tokenizer is there
    port = claim_port(engine.port)
    cores, _ = split(spec.load.own_cores)
    threads = len(cores or available())
    launch = Launch(
        command=argv(spec, file, port, threads, start),
        port=port,
        model=spec.model.name,
        timeout_s=engine.start_timeout_s,
        env={**more, **({} if spec.gpus else {"CUDA_VISIBLE_DEVICES": ""}), **engine.env},
        wanted={"api": "completions", "extra_body": _SAMPLING},
        folders=[str(file.parent)],
    )
    with launched("llamacpp", launch, spec, run_dir, progress) as server:
        target = Target(base_url=server.base_url, timeout_s=engine.start_timeout_s)
        props = json_of(optional(target, f"{target.root_url}/props"))
        yield replace(
            server,
            engine_version=_version(props, more),
            model_path=source,
            conditions=conditions(spec, props, threads, log_text(server)),
        )


def _program(
    engine: LlamacppSpec, progress: ProgressCallback
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The first words, and what the environment needs for them: the wheel where nothing is built
    here. It computes on the processor alone."""
    if engine.command or engine.container or installed("llama-server"):
        return program(engine, ("llama-server",), _REMEDY, _IN_IMAGE), {}
    folder = ready(progress)
    return (sys.executable, llama_wheel.__file__), {"PYTHONPATH": str(folder)}


def _version(props: dict[str, Any], wheel: dict[str, str]) -> str | None:
    """The build as it says itself; the wheel's own build does not know its number."""
    said = props.get("build_info")
    if wheel:
        from bench.models.llama_tools import WHEEL

        return " ".join(WHEEL)
    return said if isinstance(said, str) else None
