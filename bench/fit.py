"""Whether a model fits, by arithmetic alone: memory per GPU against what the GPU has.

Weights and KV cache are counted from the architecture and the quantisation's layout; activations
and engine overheads are the sourced constants of `bench.overheads`. Pure: no IO, no torch.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from bench.architecture import from_config
from bench.codec import encode
from bench.errors import InputError
from bench.formats import WeightFormat, weight_format
from bench.geometry import Geometry
from bench.overheads import GIB, Overhead, batch_limits, cpu_overheads, gpu_overheads
from bench.roofline import Ceiling, Served, decode_ceiling, prefill_ceiling
from bench.sharding import Layout, Stage, layout, option, stages, undivided
from bench.spec import GpuSpec, LengthSpec, ModelSpec, RunSpec, VllmSpec

# Tokens per KV block: vLLM's default on GPUs, on a CPU, and its CPU kernel for MLA.
GPU_BLOCK, CPU_BLOCK, CPU_MLA_BLOCK = 16, 128, 16
_DTYPE_BYTES = {"float32": 4.0, "float": 4.0, "bfloat16": 2.0, "float16": 2.0, "half": 2.0}


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A change that would fit. `overrides` is what to type; `kind` says what it changes."""

    kind: Literal["quant", "gpus", "gpu", "context", "sibling"]
    text: str
    overrides: tuple[str, ...]
    model: str
    quant: str
    gpu: str
    gpus: int
    weights_gib_per_gpu: float
    max_context_tokens: int
    usd_per_h_low: float | None = None
    usd_per_h_high: float | None = None


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """What one model, quantisation and set of GPUs comes to. Sizes in GiB, rates in tokens/s.

    `kv_gib_per_gpu` is the space left for the cache (an engine fills it all);
    `kv_needed_gib_per_gpu` what one request of `context_needed_tokens` takes. With several
    pipeline stages the fullest one is shown. `kv_bytes_per_token` is for one token over all GPUs
    while every layer keeps it, and `kv_gb_if_no_layer_forgets` the needed context without windows.
    Ceilings are physical bounds (`bench.roofline`), also given for what does not fit. None means
    not known. `arose` is modelled: nothing here was measured.
    """

    model: str
    quant: str
    gpu: str
    gpus: int
    fits: bool
    reasons: tuple[str, ...]
    weights_gib_per_gpu: float
    kv_gib_per_gpu: float
    other_gib_per_gpu: float
    budget_gib_per_gpu: float | None
    kv_needed_gib_per_gpu: float
    context_needed_tokens: int
    max_context_tokens: int
    max_concurrency: int
    kv_tokens: int
    ceiling_tokens_per_s_batch1: float | None
    ceiling_tokens_per_s: float | None
    ceiling_concurrency: int
    decode_batch1: Ceiling | None
    decode: Ceiling | None
    prefill: Ceiling | None
    total_params: int
    active_params: int
    weights_gb: float
    kv_bytes_per_token: int
    kv_gb_needed: float
    kv_gb_if_no_layer_forgets: float
    layout: Layout
    weight_format: WeightFormat
    overheads: tuple[Overhead, ...]
    usd_per_h_low: float | None
    usd_per_h_high: float | None
    notes: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    arose: Literal["modelled"] = "modelled"

    def to_json(self) -> dict[str, Any]:
        """Plain data with the keys that scripts rely on, this class's field names."""
        return dict(encode(self))


def context_needed(spec: RunSpec) -> int:
    """Tokens one request of the workload can reach, or the engine's own limit if one is set."""
    typed = option(_vllm(spec), "--max-model-len")
    if typed is not None and typed.isdigit():
        return int(typed)
    if _vllm(spec).max_model_len is not None:
        return int(_vllm(spec).max_model_len or 0)
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


def _vllm(spec: RunSpec) -> VllmSpec:
    return spec.engine if isinstance(spec.engine, VllmSpec) else VllmSpec()


def native_bytes(geometry: Geometry, engine: VllmSpec) -> float:
    """Bytes per unquantised weight: the engine's dtype, else the model's.

    vLLM serves float32 checkpoints in 16 bits unless it is told otherwise.
    """
    name = option(engine, "--dtype") or engine.dtype or "auto"
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
    native = native_bytes(g, _vllm(spec))
    return Served(
        geometry=g,
        fmt=weight_format(spec.model, spec.quant),
        native_bytes=native,
        kv_bytes=kv_dtype_bytes(_vllm(spec), native),
    )


def gpu_memory_gib(gpu: GpuSpec) -> float:
    """What NVML reports for one GPU, else the sold size in decimal gigabytes (the lower reading)."""
    if gpu.memory_gib is not None:
        return gpu.memory_gib
    if gpu.memory_gb is not None:
        return gpu.memory_gb * 1e9 / GIB
    raise InputError(f"gpu.memory_gib of {gpu.name} is not given: set gpu.memory_gib=GIB.")


def is_cpu(spec: RunSpec) -> bool:
    return spec.gpus == 0 or spec.gpu.kind == "cpu"


@dataclass(frozen=True, kw_only=True)
class _Room:
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
        return math.inf if self.budget is None else self.budget - self.other - weights


def _room(spec: RunSpec, s: Served, where: Layout, host_memory_bytes: int | None) -> _Room:
    engine = _vllm(spec)
    if is_cpu(spec):
        return _Room(
            budget=None if host_memory_bytes is None else float(host_memory_bytes),
            overheads=cpu_overheads(),
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
    return _Room(budget=budget, overheads=overheads, block=GPU_BLOCK, chunk_tokens=tokens)


def _kv_of(s: Served, where: Layout, stage: Stage, tokens: int, *, windowed: bool = True) -> float:
    """Bytes one sequence of `tokens` takes on one rank of a stage."""
    return s.geometry.kv_bytes(
        tokens, s.kv_bytes, tp=where.tp, windowed=windowed, layers=(stage.start, stage.stop)
    )


def _longest_context(s: Served, where: Layout, stage: Stage, space: float, block: int) -> int:
    """The longest single sequence, in whole blocks, whose cache fits in `space` bytes."""
    low, high = 0, 2**40 // block
    if math.isinf(space):
        return high * block
    while low < high:
        middle = (low + high + 1) // 2
        if _kv_of(s, where, stage, middle * block) <= space:
            low = middle
        else:
            high = middle - 1
    return low * block


def fit(
    spec: RunSpec, *, host_memory_bytes: int | None = None, geometry: Geometry | None = None
) -> FitReport:
    """The FitReport of a run, without alternatives (`bench.alternatives` looks for those).

    `host_memory_bytes` bounds a host without GPUs; None leaves its memory unchecked. For engines
    other than vLLM the numbers are what vLLM would need.
    """
    if not spec.model.config:
        raise InputError(
            f"model.config of {spec.model.name} is empty: nothing to count. Give model.path=DIR "
            "with a config.json, or use fit.force=true to run without a fit."
        )
    s = served(spec, geometry)
    where = layout(0 if is_cpu(spec) else spec.gpus, _vllm(spec))
    room = _room(spec, s, where, host_memory_bytes)
    parts = list(stages(s.geometry, s.fmt, where, s.native_bytes))
    fullest = max(parts, key=lambda p: p.weights_bytes)
    needed = context_needed(spec)
    blocks = math.ceil(needed / room.block) * room.block
    spaces = [(p, max(0.0, room.kv_space(p.weights_bytes))) for p in parts]
    longest = min(_longest_context(s, where, p, space, room.block) for p, space in spaces)
    at_once = min(int(space // _kv_of(s, where, p, blocks)) for p, space in spaces)
    target = max(spec.load.concurrency, default=1)
    reasons = _reasons(spec, s, where, room, fullest, needed, longest)
    batch = min(target, at_once) if not reasons else target
    return FitReport(
        model=spec.model.name,
        quant=spec.quant.name,
        gpu=spec.gpu.name,
        gpus=spec.gpus,
        fits=not reasons,
        reasons=reasons,
        weights_gib_per_gpu=fullest.weights_bytes / GIB,
        kv_gib_per_gpu=min(space for _, space in spaces) / GIB,
        other_gib_per_gpu=room.other / GIB,
        budget_gib_per_gpu=None if room.budget is None else room.budget / GIB,
        kv_needed_gib_per_gpu=max(_kv_of(s, where, p, blocks) for p in parts) / GIB,
        context_needed_tokens=needed,
        max_context_tokens=min(longest, spec.model.max_context_tokens),
        max_concurrency=at_once,
        kv_tokens=longest,
        **_ceilings(spec, s, batch, room.chunk_tokens),
        total_params=s.geometry.total_params,
        active_params=s.geometry.active_params,
        weights_gb=sum(p.weights_bytes for p in parts) * where.tp / 1e9,
        kv_bytes_per_token=s.geometry.kv_bytes_per_token(s.kv_bytes, index=True),
        kv_gb_needed=s.geometry.kv_bytes(needed, s.kv_bytes) / 1e9,
        kv_gb_if_no_layer_forgets=s.geometry.kv_bytes(needed, s.kv_bytes, windowed=False) / 1e9,
        layout=where,
        weight_format=s.fmt,
        overheads=room.overheads,
        usd_per_h_low=_times(spec.gpu.price.low_usd_per_gpu_h, spec.gpus),
        usd_per_h_high=_times(spec.gpu.price.high_usd_per_gpu_h, spec.gpus),
        notes=_notes(spec, s, target, at_once),
    )


def _ceilings(spec: RunSpec, s: Served, batch: int, chunk_tokens: int) -> dict[str, Any]:
    """Batch 1 at empty context (the bound a claim is held against), and the workload's own."""
    prompt, answer = typical(spec.workload.input_tokens), typical(spec.workload.output_tokens)
    prompt += spec.workload.shared_prefix_tokens
    batch1 = decode_ceiling(s, spec.gpu, spec.gpus, batch=1, context_tokens=0)
    many = decode_ceiling(
        s, spec.gpu, spec.gpus, batch=max(batch, 1), context_tokens=prompt + answer / 2
    )
    return {
        "decode_batch1": batch1,
        "decode": many,
        "prefill": prefill_ceiling(
            s, spec.gpu, spec.gpus, input_tokens=prompt, chunk_tokens=chunk_tokens
        ),
        "ceiling_tokens_per_s_batch1": None if batch1 is None else batch1.tokens_per_s,
        "ceiling_tokens_per_s": None if many is None else many.tokens_per_s,
        "ceiling_concurrency": max(batch, 1),
    }


def _times(price: float | None, gpus: int) -> float | None:
    return None if price is None else price * gpus


def _reasons(
    spec: RunSpec,
    s: Served,
    where: Layout,
    room: _Room,
    fullest: Stage,
    needed: int,
    longest: int,
) -> tuple[str, ...]:
    """Why it cannot run, each with its arithmetic; empty when it can."""
    found = list(undivided(s.geometry, s.fmt, where))
    per = "on this host" if is_cpu(spec) else "per GPU"
    weights, other = fullest.weights_bytes / GIB, room.other / GIB
    budget = None if room.budget is None else room.budget / GIB
    kv = (room.kv_fixed or 0.0) / GIB
    if budget is not None and weights + other + kv > budget:
        beside = f" and {kv:.1f} of KV cache" if kv else ""
        found.append(
            f"weights {weights:.1f} GiB and {other:.1f} of overhead{beside} {per} exceed "
            f"the {budget:.1f} GiB that may be used"
        )
    elif longest < needed:
        took = max(_kv_of(s, where, p, needed) for p in stages(*_args(s, where))) / GIB
        found.append(
            f"a request of {needed:,} tokens takes {took:.1f} GiB of KV cache {per}; "
            f"what is left holds {longest:,} tokens"
        )
    if needed > spec.model.max_context_tokens:
        found.append(
            f"{needed:,} tokens exceed the model's context of {spec.model.max_context_tokens:,}"
        )
    capability = float(spec.gpu.compute_capability or "inf")
    if any(b.kv.selected for b in s.geometry.blocks) and capability < 9.0 and not is_cpu(spec):
        found.append(
            "vLLM's sparse attention kernels need compute capability 9.0 (H100) or newer, "
            f"{spec.gpu.name} has {spec.gpu.compute_capability}"
        )
    return tuple(found)


def _args(s: Served, where: Layout) -> tuple[Geometry, WeightFormat, Layout, float]:
    return s.geometry, s.fmt, where, s.native_bytes


def _notes(spec: RunSpec, s: Served, target: int, at_once: int) -> tuple[str, ...]:
    """What does not forbid the run but bears on reading the numbers."""
    found = list(s.geometry.notes)
    if not has_checkpoint(spec.model, spec.quant.name):
        found.append(f"no published checkpoint of {spec.model.name} is listed for this quant")
    if 0 < at_once < target:
        found.append(f"only {at_once} of {target} concurrent requests hold their cache at once")
    if s.fmt.activation_bits == 8 and not s.fmt.integer and spec.gpu.fp8_tflops is None:
        if not is_cpu(spec):
            found.append("no FP8 units: the weights stay 8-bit and multiply in 16 bits")
    if s.geometry.has_windows:
        found.append("layers with a window forget past it, as vLLM's hybrid KV cache does")
    if spec.gpu.unverified_fields:
        found.append(f"unverified in {spec.gpu.name}: {', '.join(spec.gpu.unverified_fields)}")
    if not isinstance(spec.engine, VllmSpec):
        found.append(f"counted for vLLM; engine {spec.engine.kind} was not modelled")
    return tuple(found)


def has_checkpoint(model: ModelSpec, quant: str) -> bool:
    """Whether weights of this pair can be had: published, local or random ones."""
    return quant in model.checkpoints or model.weights not in ("hub", "bundled")


def with_alternatives(report: FitReport, found: tuple[Alternative, ...]) -> FitReport:
    """The report with its alternatives filled in."""
    return dataclasses.replace(report, alternatives=found)
