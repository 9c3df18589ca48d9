"""What a run asks of memory: lengths and data types, and what its GPU has."""

from __future__ import annotations

import math
from dataclasses import replace

from bench.sizing.declared import geometry_of
from bench.sizing.engine_rules import CUDA_RESERVED_GIB, rules_of
from bench.sizing.formats import Served, by_layer, for_gpu
from bench.sizing.geometry import Geometry
from bench.sizing.kv_layers import PACKED_LATENT_BYTES, element_bytes, kv_dtype
from bench.sizing.overheads import GIB
from bench.sizing.precision import FP8_UNITS, precision
from bench.sizing.quantisations import weight_format
from bench.sizing.sharding import download_bytes
from bench.values.engine_flags import flags_of
from bench.values.errors import InputError, choices
from bench.values.spec import EndpointSpec, GpuSpec, LengthSpec, ModelSpec, RunSpec, VllmSpec

_DTYPE_BYTES = {"float32": 4.0, "float": 4.0, "bfloat16": 2.0, "float16": 2.0, "half": 2.0}


def context_needed(spec: RunSpec) -> int:
    """Tokens one request of the workload can reach, or the engine's own limit if one is set."""
    typed = flags_of(spec).max_model_len
    if typed is not None and typed > 0:
        return typed
    lengths = (spec.workload.input_tokens, spec.workload.output_tokens)
    return spec.workload.shared_prefix_tokens + sum(longest_of(x) for x in lengths)


def longest_of(length: int | LengthSpec) -> int:
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
    on_host = "bfloat16" if spec.quant.activation_bits == 16 else "float32"
    name = flags_of(spec).dtype or (on_host if spec.gpus == 0 else "auto")
    if name == "auto":
        return 2.0
    if name not in _DTYPE_BYTES:
        raise InputError(f"engine.dtype: {name!r} is unknown.{choices(name, [*_DTYPE_BYTES])}")
    return _DTYPE_BYTES[name]


def served(spec: RunSpec, geometry: Geometry | None = None) -> Served:
    """The model of a run as the roofline wants it."""
    g = geometry or geometry_of(spec.model)
    flags, native = flags_of(spec), native_bytes(spec)
    if flags.language_model_only:
        g = replace(g, vision=())
    dtype, bits = kv_dtype(flags, spec.model, spec.quant), None
    if isinstance(spec.engine, EndpointSpec) and spec.engine.kv_cache_dtype is not None:
        told = precision(spec.engine.kv_cache_dtype)  # of a server that somebody else started
        if told is not None:
            dtype, bits = "fp8" if told.units == FP8_UNITS else told.name, told.weight_bits
    if dtype == "fp8" and any(b.kv.selected and b.kv.kind == "mla" for b in g.blocks):
        dtype = "fp8_ds_mla"
    latent = max((b.kv.elements for b in g.blocks), default=0)
    packed = PACKED_LATENT_BYTES.get(dtype)
    fmt = for_gpu(
        weight_format(spec.model, spec.quant, flags.quantization),
        _capability(spec),
        pads_marlin=rules_of(spec.fit.vllm_version).pads_marlin,
    )
    plain = element_bytes(dtype, native) if bits is None else bits / 8
    per_element = packed / latent if packed and latent else plain
    return Served(geometry=by_layer(g, fmt), fmt=fmt, native_bytes=native, kv_bytes=per_element)


def to_fetch_bytes(spec: RunSpec) -> int | None:
    """What fetching the checkpoint of a run takes; None for a model whose config is not known.

    Not what an engine loads: that may upcast it (a processor computes in float32), or leave parts
    out."""
    if not spec.model.config:
        return None
    fmt = weight_format(spec.model, spec.quant)
    return round(download_bytes(by_layer(geometry_of(spec.model), fmt), fmt))


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


def cuda_memory_gib(gpu: GpuSpec) -> float:
    """What CUDA reports as one GPU's total: engines take their share of this, not of NVML's."""
    reserved = gpu.cuda_reserved_gib
    return gpu_memory_gib(gpu) - (CUDA_RESERVED_GIB.value if reserved is None else reserved)


def is_cpu(spec: RunSpec) -> bool:
    return spec.gpus == 0 or spec.gpu.kind == "cpu"


def has_checkpoint(model: ModelSpec, quant: str) -> bool:
    """Whether weights of this pair can be had: published, local or random ones."""
    return quant in model.checkpoints or model.weights not in ("hub", "bundled")
