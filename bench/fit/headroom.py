"""What a run asks of memory and what it may use: lengths, data types, budget, overheads."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.fit.architecture import from_config
from bench.fit.formats import Served, by_layer, for_gpu
from bench.fit.geometry import Geometry
from bench.fit.overheads import GIB, Overhead, batch_limits, cpu_overheads, gpu_overheads
from bench.fit.quantisations import weight_format
from bench.fit.sharding import Layout, checkpoint_bytes, option
from bench.values.errors import InputError
from bench.values.spec import GpuSpec, LengthSpec, ModelSpec, RunSpec, VllmSpec

# Tokens per KV block: vLLM's default on GPUs, on a CPU, and its CPU kernel for MLA.
GPU_BLOCK, CPU_BLOCK, CPU_MLA_BLOCK = 16, 128, 16
_DTYPE_BYTES = {"float32": 4.0, "float": 4.0, "bfloat16": 2.0, "float16": 2.0, "half": 2.0}


def context_needed(spec: RunSpec) -> int:
    """Tokens one request of the workload can reach, or the engine's own limit if one is set."""
    typed = option(vllm_of(spec), "--max-model-len")
    if typed is not None and typed.isdigit():
        return int(typed)
    if vllm_of(spec).max_model_len is not None:
        return int(vllm_of(spec).max_model_len or 0)
    lengths = (spec.workload.input_tokens, spec.workload.output_tokens)
    return spec.workload.shared_prefix_tokens + sum(_longest(x) for x in lengths)


def _longest(length: int | LengthSpec) -> int:
    """The longest a length can be; an open distribution counts with about its 99th percentile."""
    if isinstance(length, int):
        return length
    if length.max is not None:
        return length.max
    if length.dist == "lognormal":
        return math.ceil((length.median or 1.0) * math.exp(2.33 * (length.sigma or 0.0)))
    return math.ceil((length.mean or 1.0) + 2.33 * (length.std or 0.0))


def typical(length: int | LengthSpec) -> float:
    """The mean of a length (the median of a lognormal one)."""
    if isinstance(length, int):
        return float(length)
    middle = length.median if length.dist == "lognormal" else length.mean
    return float(middle if middle is not None else (length.min + (length.max or length.min)) / 2)


def vllm_of(spec: RunSpec) -> VllmSpec:
    return spec.engine if isinstance(spec.engine, VllmSpec) else VllmSpec()


def native_bytes(spec: RunSpec) -> float:
    """Bytes per unquantised weight: the engine's dtype, else 16 bits.

    vLLM serves float32 checkpoints in 16 bits unless it is told otherwise; on a host without a GPU
    the adapter tells it to use float32, save where the kernel knows 16 bits only.
    """
    engine = vllm_of(spec)
    on_host = "bfloat16" if spec.quant.activation_bits == 16 else "float32"
    name = option(engine, "--dtype") or engine.dtype or (on_host if spec.gpus == 0 else "auto")
    if name == "auto":
        return 2.0
    if name not in _DTYPE_BYTES:
        raise InputError(f"engine.dtype: {name!r} is unknown. Valid: {', '.join(_DTYPE_BYTES)}.")
    return _DTYPE_BYTES[name]


def kv_dtype_bytes(engine: VllmSpec, native: float) -> float:
    """Bytes per KV element: `--kv-cache-dtype fp8…` halves 16 bits, else as the weights' dtype."""
    typed = option(engine, "--kv-cache-dtype") or "auto"
    return 1.0 if typed.startswith("fp8") else _DTYPE_BYTES.get(typed, native)


def served(spec: RunSpec, geometry: Geometry | None = None) -> Served:
    """The model of a run as the roofline wants it."""
    g = geometry or from_config(spec.model.config)
    native = native_bytes(spec)
    fmt = for_gpu(weight_format(spec.model, spec.quant), _capability(spec))
    return Served(
        geometry=by_layer(g, fmt),
        fmt=fmt,
        native_bytes=native,
        kv_bytes=kv_dtype_bytes(vllm_of(spec), native),
    )


def _capability(spec: RunSpec) -> float | None:
    """The GPU's compute capability; None where there is none or it is not known."""
    value = spec.gpu.compute_capability
    return None if is_cpu(spec) or not value else float(value)


def gpu_memory_gib(gpu: GpuSpec) -> float:
    """What NVML reports for one GPU, else the sold size in decimal gigabytes, which is lower."""
    if gpu.memory_gib is not None:
        return gpu.memory_gib
    if gpu.memory_gb is not None:
        return gpu.memory_gb * 1e9 / GIB
    raise InputError(f"gpu.memory_gib of {gpu.name} is not given: set gpu.memory_gib=GIB.")


def is_cpu(spec: RunSpec) -> bool:
    return spec.gpus == 0 or spec.gpu.kind == "cpu"


def has_checkpoint(model: ModelSpec, quant: str) -> bool:
    """Whether weights of this pair can be had: published, local or random ones."""
    return quant in model.checkpoints or model.weights not in ("hub", "bundled")


@dataclass(frozen=True, kw_only=True)
class Room:
    """Bytes a rank may use, bytes of overhead in it, and the KV block size in tokens."""

    budget: float | None
    overheads: tuple[Overhead, ...]
    block: int
    chunk_tokens: int
    kv_fixed: float | None = None

    @property
    def other(self) -> float:
        return sum(o.gib for o in self.overheads) * GIB

    def kv_space(self, weights: float) -> float:
        """Bytes left for the cache beside `weights`; negative where even those do not fit."""
        if self.kv_fixed is not None:
            return self.kv_fixed
        return 0.0 if self.budget is None else self.budget - self.other - weights


def room_of(spec: RunSpec, s: Served, where: Layout, host_memory_bytes: int | None) -> Room:
    engine = vllm_of(spec)
    if is_cpu(spec):
        return Room(
            budget=None if host_memory_bytes is None else float(host_memory_bytes),
            overheads=cpu_overheads(
                s.geometry,
                weights_bytes=checkpoint_bytes(s.geometry, s.fmt, s.native_bytes),
                native_bytes=s.native_bytes,
            ),
            block=CPU_MLA_BLOCK if s.geometry.is_mla else CPU_BLOCK,
            chunk_tokens=2048,
            kv_fixed=engine.cpu_kv_cache_gib * GIB,
        )
    memory = gpu_memory_gib(spec.gpu)
    tokens, slots = batch_limits(memory, spec.gpu.name)
    tokens = int(option(engine, "--max-num-batched-tokens") or tokens)
    overheads = gpu_overheads(
        s.geometry,
        tp=where.tp,
        gpus=spec.gpus,
        batched_tokens=tokens,
        slots=int(option(engine, "--max-num-seqs") or slots),
        eager=engine.enforce_eager or "--enforce-eager" in engine.args,
        native_bytes=s.native_bytes,
    )
    budget = memory * GIB * engine.gpu_memory_utilization
    return Room(budget=budget, overheads=overheads, block=GPU_BLOCK, chunk_tokens=tokens)
