"""Whether a model fits, by arithmetic alone: memory per GPU against what the GPU has.

Weights and KV cache are counted from the architecture and the quantisation's layout; activations
and engine overheads are the sourced constants of `bench.fit.overheads`. Pure: no IO, no torch.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from bench.fit.formats import Served
from bench.fit.geometry import Geometry
from bench.fit.headroom import (
    Room,
    context_needed,
    has_checkpoint,
    is_cpu,
    room_of,
    served,
    typical,
    vllm_of,
)
from bench.fit.overheads import GIB
from bench.fit.report import Alternative, FitReport
from bench.fit.roofline import decode_ceiling, prefill_ceiling
from bench.fit.sharding import Layout, Stage, layout, option, stages, undivided
from bench.values.errors import InputError
from bench.values.spec import RunSpec, VllmSpec


def fit(
    spec: RunSpec, *, host_memory_bytes: int | None = None, geometry: Geometry | None = None
) -> FitReport:
    """The FitReport of a run, without alternatives (`bench.fit.alternatives` looks for those).

    `host_memory_bytes` bounds a host without GPUs; None leaves its memory unchecked. For engines
    other than vLLM the numbers are what vLLM would need.
    """
    if not spec.model.config:
        raise InputError(
            f"model.config of {spec.model.name} is empty: nothing to count. Give model.path=DIR "
            "with a config.json, or use fit.force=true to run without a fit."
        )
    s = served(spec, geometry)
    where = layout(0 if is_cpu(spec) else spec.gpus, vllm_of(spec))
    room = room_of(spec, s, where, host_memory_bytes)
    parts = list(stages(s, where))
    fullest = max(parts, key=lambda p: p.weights_bytes)
    needed = context_needed(spec)
    blocks = math.ceil(needed / room.block) * room.block
    spaces = [(p, max(0.0, room.kv_space(p.weights_bytes))) for p in parts]
    longest = min(p.longest(space, room.block) for p, space in spaces)
    unforgetting = min(p.longest(space, room.block, windowed=False) for p, space in spaces)
    at_once = min(int(space // p.kv_bytes(blocks)) for p, space in spaces)
    target = max(spec.load.concurrency, default=1)
    reasons = _reasons(spec, s, where, room, parts, longest)
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
        kv_needed_gib_per_gpu=max(p.kv_bytes(blocks) for p in parts) / GIB,
        context_needed_tokens=needed,
        max_context_tokens=min(longest, spec.model.max_context_tokens),
        max_context_tokens_if_no_layer_forgets=min(unforgetting, spec.model.max_context_tokens),
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
        notes=_notes(spec, s, where, target=target, at_once=at_once, longest=longest),
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
    room: Room,
    parts: list[Stage],
    longest: int,
) -> tuple[str, ...]:
    """Why it cannot run, each with its arithmetic; empty when it can."""
    found = list(undivided(s.geometry, s.fmt, where))
    needed = context_needed(spec)
    per = "on this host" if is_cpu(spec) else "per GPU"
    weights, other = max(p.weights_bytes for p in parts) / GIB, room.other / GIB
    budget = None if room.budget is None else room.budget / GIB
    kv = (room.kv_fixed or 0.0) / GIB
    if budget is not None and weights + other + kv > budget:
        beside = f" and {kv:.1f} of KV cache" if kv else ""
        lower = ": lower engine.cpu_kv_cache_gib" if kv and weights + other < budget else ""
        found.append(
            f"weights {weights:.1f} GiB and {other:.1f} of overhead{beside} {per} exceed "
            f"the {budget:.1f} GiB that may be used{lower}"
        )
    elif longest < needed:
        took = max(p.kv_bytes(needed) for p in parts) / GIB
        more = f": set engine.cpu_kv_cache_gib={math.ceil(took)}" if room.kv_fixed else ""
        found.append(
            f"a request of {needed:,} tokens takes {took:.1f} GiB of KV cache {per}; "
            f"what is left holds {longest:,} tokens{more}"
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


def _notes(
    spec: RunSpec, s: Served, where: Layout, *, target: int, at_once: int, longest: int
) -> tuple[str, ...]:
    """What does not forbid the run but bears on reading the numbers."""
    found = list(s.geometry.notes)
    if not has_checkpoint(spec.model, spec.quant.name):
        found.append(f"no published checkpoint of {spec.model.name} is listed for this quant")
    if 0 < at_once < target:
        found.append(f"only {at_once} of {target} concurrent requests hold their cache at once")
    fp8 = s.fmt.activation_bits == 8 and not s.fmt.integer
    if fp8 and spec.gpu.fp8_tflops is None and not is_cpu(spec):
        found.append("no FP8 units: the weights stay 8-bit and multiply in 16 bits")
    full = spec.model.max_context_tokens
    if context_needed(spec) <= longest < full:
        found.append(
            f"the model's full context of {full:,} tokens does not fit: start the engine with "
            f"engine.max_model_len={longest} or less"
        )
    if where.pp > 1:
        found.append(f"planned as {where.pp} pipeline stages of {where.tp} GPUs, and started so")
    if s.geometry.has_windows:
        found.append("layers with a window forget past it, as vLLM's hybrid KV cache does")
    if spec.gpu.unverified_fields:
        found.append(f"unverified in {spec.gpu.name}: {', '.join(spec.gpu.unverified_fields)}")
    if not isinstance(spec.engine, VllmSpec):
        found.append(f"counted for vLLM; engine {spec.engine.kind} was not modelled")
    return tuple(found)


def suggested_max_model_len(spec: RunSpec, report: FitReport) -> int | None:
    """The context to start the engine with; None leaves it to the engine.

    vLLM refuses to start when one request of the model's full context does not fit its cache, so
    a run whose workload needs less has to be given the longest context that does.
    """
    engine = vllm_of(spec)
    if engine.max_model_len is not None or option(engine, "--max-model-len") is not None:
        return None
    if not report.fits or report.max_context_tokens >= spec.model.max_context_tokens:
        return None
    return report.max_context_tokens


def with_alternatives(report: FitReport, found: tuple[Alternative, ...]) -> FitReport:
    """The report with its alternatives filled in."""
    return dataclasses.replace(report, alternatives=found)
