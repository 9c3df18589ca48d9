"""Whether a model fits, by arithmetic alone: memory per GPU against what the GPU has.

Weights and KV cache are counted from the architecture and the quantisation's layout; activations
and engine overheads are the sourced constants of `bench.sizing.overheads`. Pure: no IO, no torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from bench.sizing import offload
from bench.sizing.bound import Work, held, machine, output_bound, user_bound
from bench.sizing.engine_rules import PINNED
from bench.sizing.formats import Served
from bench.sizing.geometry import Geometry
from bench.sizing.headroom import (
    context_needed,
    cuda_memory_gib,
    has_checkpoint,
    is_cpu,
    served,
    typical,
    vllm_of,
)
from bench.sizing.network import across_nodes
from bench.sizing.overheads import GIB
from bench.sizing.precision import precision_of
from bench.sizing.report import Alternative, FitReport
from bench.sizing.roofline import decode_expectation, prefill_expectation
from bench.sizing.room import Room, room_of, uses_mtp
from bench.sizing.sharding import (
    STORED_BYTES,
    Layout,
    checkpoint_bytes,
    download_bytes,
    layout_of,
    undivided,
)
from bench.values.codec import encode
from bench.values.engine_flags import flags_of, without
from bench.values.errors import InputError
from bench.values.override_text import engine_args, pasted
from bench.values.spec import RunSpec, VllmSpec


def fit(
    spec: RunSpec,
    *,
    host_memory_bytes: int | None = None,
    geometry: Geometry | None = None,
    remedies: bool = True,
) -> FitReport:
    """The FitReport of a run, without alternatives (`bench.sizing.alternatives` looks for those).

    `host_memory_bytes` bounds a host without GPUs; None leaves its memory unchecked. For engines
    other than vLLM the numbers are what vLLM would need. A setting named beside a reason was tried
    first: with it the run fits. `remedies` False tries none.
    """
    if not spec.model.config:
        raise InputError(
            f"model.config of {spec.model.name} is empty: nothing to count. Give model.path=DIR "
            "with a config.json, or use fit.force=true to run without a fit."
        )
    s = served(spec, geometry)
    where = layout_of(spec)
    room = room_of(spec, s, where, host_memory_bytes)
    cache = _cache(spec, room, where)

    def helps(**settings: Any) -> bool:
        if not remedies:
            return False
        changed = dataclasses.replace(spec, engine=dataclasses.replace(vllm_of(spec), **settings))
        memory = host_memory_bytes
        return fit(changed, host_memory_bytes=memory, geometry=geometry, remedies=False).fits

    reasons = _reasons(spec, s, where, room, cache, helps)
    target = max(spec.load.concurrency, default=1)
    batch = min(target, cache.at_once) if not reasons else target
    fullest = max(room.stages, key=lambda r: r.stage.weights_bytes)
    tightest = min(room.stages, key=lambda r: r.kv_bytes)
    needed = context_needed(spec)
    report = FitReport(
        model=spec.model.name,
        quant=spec.quant.name,
        gpu=spec.gpu.name,
        gpus=spec.gpus,
        fits=not reasons,
        reasons=reasons,
        weights_gib_per_gpu=fullest.stage.weights_bytes / GIB,
        kv_gib_per_gpu=max(0.0, tightest.kv_bytes) / GIB,
        kv_gib_low_per_gpu=max(0.0, tightest.kv_low_bytes) / GIB,
        kv_gib_high_per_gpu=max(0.0, tightest.kv_high_bytes) / GIB,
        other_gib_per_gpu=tightest.other_bytes / GIB,
        budget_gib_per_gpu=None if room.budget is None else room.budget / GIB,
        kv_needed_gib_per_gpu=room.request_bytes(needed) / GIB,
        context_needed_tokens=needed,
        max_context_tokens=min(cache.longest, spec.model.max_context_tokens),
        max_context_tokens_low=min(cache.surely, spec.model.max_context_tokens),
        max_context_tokens_if_no_layer_forgets=min(cache.unforgetting, cache.longest),
        max_concurrency=cache.at_once,
        kv_tokens=cache.tokens,
        kv_tokens_low=cache.tokens_low,
        kv_tokens_high=cache.tokens_high,
        kv_concurrency=cache.concurrency,
        context_started_tokens=cache.started,
        fits_with_margin=not reasons and room.longest(cache.started, "kv_low_bytes") >= needed,
        vllm_version=spec.fit.vllm_version or PINNED,
        **_plans(spec, s, batch, room.chunk_tokens),
        total_params=s.geometry.total_params,
        active_params=s.geometry.active_params,
        weights_gb=_stored_gb(room, where),
        kv_bytes_per_token=s.geometry.kv_bytes_per_token(s.kv_bytes, index=True),
        kv_gb_needed=s.geometry.kv_bytes(needed, s.kv_bytes) / 1e9,
        kv_gb_if_no_layer_forgets=s.geometry.kv_bytes(needed, s.kv_bytes, windowed=False) / 1e9,
        layout=where,
        weight_format=s.fmt,
        overheads=tightest.overheads,
        **_rents(spec),
        notes=_notes(spec, s, where, target=target, cache=cache, fits=not reasons),
    )
    if not offload.asked(spec):
        return report
    gpu_gib = cuda_memory_gib(spec.gpu) * spec.gpus
    laid = offload.offload(spec, s.geometry, gpu_gib=gpu_gib, cache_tokens=target * needed)
    return _offloaded(report, laid, spec)


def _offloaded(report: FitReport, laid: offload.Offload, spec: RunSpec) -> FitReport:
    """The same run as llama.cpp lays it out. Plans of rates are left out: they are for GPUs."""
    full, needed = spec.model.max_context_tokens, report.context_needed_tokens
    tokens = full if laid.room_tokens is None else laid.room_tokens
    longest = min(tokens, full)
    took = laid.gpu_weights_gib + laid.gpu_cache_gib
    beyond = tuple(r for r in report.reasons if "exceed the model's context" in r)
    reasons = beyond if laid.fits else (
        *beyond,
        f"llama.cpp's weights and cache of {took:.1f} GiB exceed the {laid.gpu_gib:.1f} GiB of the "
        f"GPUs: set engine.gpu_layers={laid.most_layers} or less, or engine.cpu_moe_layers higher",
    )  # fmt: skip
    words = offload.notes_of(laid, host_is_given=spec.fit.host_gb_per_s is not None)
    of_vllm = ("assumed: this GGUF", "counted for vLLM", "only ", "the model's full context")
    own = [n for n in report.notes if not n.startswith(of_vllm)]
    return dataclasses.replace(
        report,
        fits=not reasons,
        fits_with_margin=False,
        reasons=reasons,
        weights_gib_per_gpu=laid.gpu_weights_gib / spec.gpus,
        kv_gib_per_gpu=max(0.0, laid.gpu_gib - laid.gpu_weights_gib) / spec.gpus,
        kv_gib_low_per_gpu=None,
        kv_gib_high_per_gpu=None,
        other_gib_per_gpu=0.0,
        overheads=(),
        budget_gib_per_gpu=laid.gpu_gib / spec.gpus,
        max_context_tokens=longest,
        max_context_tokens_low=longest,
        max_context_tokens_if_no_layer_forgets=longest,
        max_concurrency=tokens // needed,
        kv_tokens=tokens,
        kv_tokens_low=None,
        kv_tokens_high=None,
        kv_concurrency=None,
        context_started_tokens=None,
        plan_tokens_per_s_batch1=None,
        plan_tokens_per_s=None,
        decode_batch1=None,
        decode=None,
        prefill=None,
        bound_tokens_per_s_per_user=laid.bound_tokens_per_s_per_user,
        offload=encode(laid),
        notes=(*words, *own),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Cache:
    """What the cache's blocks come to. `longest` request that starts, as vLLM checks it, `surely`
    the one at the low end of the prediction; `started` the context that the engine would be given;
    the rest as in `FitReport`."""

    longest: int
    surely: int
    unforgetting: int
    started: int
    at_once: int
    tokens: int
    tokens_low: int
    tokens_high: int
    concurrency: float


def _cache(spec: RunSpec, room: Room, where: Layout) -> _Cache:
    needed = context_needed(spec)
    most = max(needed, spec.model.max_context_tokens)
    longest = room.longest(most)
    typed = flags_of(spec).max_model_len
    started = typed if typed is not None and typed > 0 else max(needed, longest)
    per_request = room.plan.request_blocks(needed)
    usable = max(0, room.blocks() - 1)  # vLLM's pool holds one block back for itself
    return _Cache(
        longest=longest,
        surely=min(longest, room.longest(most, "kv_low_bytes")),
        unforgetting=room.longest_if_full(most),
        started=started,
        at_once=where.dp * (usable // per_request if per_request else 0),
        tokens=room.logged_tokens(started),
        tokens_low=room.logged_tokens(started, "kv_low_bytes"),
        tokens_high=room.logged_tokens(started, "kv_high_bytes"),
        concurrency=room.plan.concurrency(room.blocks(), started),
    )


def held_at_once(spec: RunSpec, least: float, most: float) -> float:
    """How many requests one replica's cache holds, each grown evenly from `least` to `most` tokens:
    infinite where a request takes no memory of its own.

    What a request holds need not grow with it (windows, chunks, states): it is asked at nine
    lengths."""
    room = room_of(spec, served(spec), layout_of(spec), None)
    lengths = (least + (most - least) * part / 8 for part in range(9))
    mean = sum(room.plan.request_blocks(math.ceil(n)) for n in lengths) / 9
    return max(0, room.blocks() - 1) / mean if mean else math.inf


def _stored_gb(room: Room, where: Layout) -> float:
    """The checkpoint's bytes over all GPUs, what loading adds to each left out."""
    stored = (r.stage.weights_bytes - r.stage.added_bytes for r in room.stages)
    return sum(stored) * where.tp * where.dp / 1e9


def _plans(spec: RunSpec, s: Served, batch: int, chunk_tokens: int) -> dict[str, Any]:
    """Batch 1 at empty context, and the workload's own. Expectations, not bounds."""
    prompt, answer = typical(spec.workload.input_tokens), typical(spec.workload.output_tokens)
    prompt += spec.workload.shared_prefix_tokens
    batch1 = decode_expectation(s, spec.gpu, spec.gpus, batch=1, context_tokens=0)
    many = decode_expectation(
        s, spec.gpu, spec.gpus, batch=max(batch, 1), context_tokens=prompt + answer / 2
    )
    return {
        "decode_batch1": batch1,
        "decode": many,
        "prefill": prefill_expectation(
            s, spec.gpu, spec.gpus, input_tokens=prompt, chunk_tokens=chunk_tokens
        ),
        "plan_tokens_per_s_batch1": None if batch1 is None else batch1.tokens_per_s,
        "plan_tokens_per_s": None if many is None else many.tokens_per_s,
        "plan_concurrency": max(batch, 1),
        **_bounds(spec, s, prompt, answer),
    }


def _bounds(spec: RunSpec, s: Served, prompt: float, answer: float) -> dict[str, Any]:
    """What nothing can exceed at these lengths, speculation left out; None where not known."""
    wanted = precision_of(spec.quant.name, spec.model, s.fmt)
    m = None if wanted is None else machine(spec.gpu, spec.gpus, wanted)
    if wanted is None or m is None:
        return {}
    h = held(s.geometry, wanted, 8 * s.kv_bytes)
    shared = spec.workload.shared_prefix_tokens > 0
    work = Work(input_tokens=prompt, output_tokens=answer, fresh_prompt=0.0 if shared else 1.0)
    return {
        "bound_tokens_per_s": output_bound(m, h, work).lowest,
        "bound_tokens_per_s_per_user": user_bound(m, h, work).lowest,
    }


def _rents(spec: RunSpec) -> dict[str, Any]:
    """The listed rents of all GPUs together, in $/h."""
    tiers = zip(("low", "high", "reserved", "spot"), spec.gpu.price.tiers, strict=True)
    return {f"usd_per_h_{k}": None if usd is None else usd * spec.gpus for k, usd in tiers}


def _reasons(
    spec: RunSpec, s: Served, where: Layout, room: Room, cache: _Cache, helps: Callable[..., bool]
) -> tuple[str, ...]:
    """Why it cannot run, each with its arithmetic and the setting that mends it, where one does;
    empty when it can."""
    found = list(undivided(s.geometry, s.fmt, where))
    needed = context_needed(spec)
    crowded = _crowded(spec, room, needed, helps)
    if crowded:
        found.append(crowded)
    elif cache.longest < needed:
        per = "on this host" if is_cpu(spec) else "per GPU"
        took = room.request_bytes(needed) / GIB
        more = f": set {key}" if (key := _roomier(spec, took, helps)) else ""
        least = (
            ""
            if cache.surely == cache.longest
            else f", {cache.surely:,} at the low end of the band"
        )
        found.append(
            f"a request of {needed:,} tokens takes {took:.1f} GiB of KV cache {per}; "
            f"what is left holds {cache.longest:,} tokens{least}{more}"
        )
    blocks = room.blocks()
    if room.slots is not None and 0 < blocks < room.slots:
        slots = ("--max-num-seqs", str(_rounded(blocks)))
        args = (*without(vllm_of(spec).args, slots[:1]), *slots)
        more = f": set {pasted(engine_args(args))}" if helps(args=args) else ""
        found.append(
            f"each of {room.slots:,} sequence slots needs a block of recurrent state, and the "
            f"cache has {blocks:,}{more}"
        )
    if needed > spec.model.max_context_tokens:
        found.append(
            f"{needed:,} tokens exceed the model's context of {spec.model.max_context_tokens:,}: "
            "ask for fewer with workload.input_tokens and workload.output_tokens"
        )
    capability = float(spec.gpu.compute_capability or "inf")
    sparse = any(b.kv.selected and b.kv.kind == "mla" for b in s.geometry.blocks)
    if sparse and capability < 9.0 and not is_cpu(spec):
        found.append(
            "vLLM's sparse attention kernels need compute capability 9.0 (H100) or newer, "
            f"{spec.gpu.name} has {spec.gpu.compute_capability}"
        )
    return tuple(found)


def _roomier(spec: RunSpec, took: float, helps: Callable[..., bool]) -> str | None:
    """The size of a host's cache that holds the request, whole GiB; None where none that small
    does, as beside weights that leave no room for it."""
    if not is_cpu(spec):
        return None
    for gib in (math.ceil(took), math.ceil(took) + 1):
        if helps(cpu_kv_cache_gib=gib):
            return f"engine.cpu_kv_cache_gib={gib}"
    return None


def _rounded(blocks: int) -> int:
    """Slots that leave a tenth of the blocks for the error of the count: a power of two."""
    return int(2 ** math.floor(math.log2(max(1.0, 0.9 * blocks))))


def _crowded(spec: RunSpec, room: Room, needed: int, helps: Callable[..., bool]) -> str | None:
    """Why weights and overheads alone do not fit on the fullest rank; None when they do."""
    if room.budget is None:
        return None
    worst = max(room.stages, key=lambda r: r.stage.weights_bytes + r.other_bytes)
    weights, other = worst.stage.weights_bytes / GIB, worst.other_bytes / GIB
    budget, kv = room.budget / GIB, (room.kv_fixed or 0.0) / GIB
    if weights + other + kv > budget:
        per = "on this host" if is_cpu(spec) else "per GPU"
        beside = f" and {kv:.1f} of KV cache" if kv else ""
        least = math.ceil(room.request_bytes(needed) / GIB) or 1
        small = [] if not is_cpu(spec) else [n for n in (least, least + 1) if n < kv]
        fitting = next((n for n in small if helps(cpu_kv_cache_gib=n)), None)
        lower = "" if fitting is None else f": set engine.cpu_kv_cache_gib={fitting}"
        return (
            f"weights {weights:.1f} GiB and {other:.1f} of overhead{beside} {per} exceed "
            f"the {budget:.1f} GiB that may be used{lower}"
        )
    if is_cpu(spec):
        return None
    outside = cuda_memory_gib(spec.gpu) - budget
    if outside < room.graphs_beside_gib:
        more = ": set engine.enforce_eager=true" if helps(enforce_eager=True) else ""
        return (
            f"CUDA graphs of {room.graphs_beside_gib:.1f} GiB come on top of the {budget:.1f} GiB "
            f"that may be used, and {outside:.1f} GiB are left{more}"
        )
    return None


def _weights_words(spec: RunSpec, s: Served, where: Layout) -> list[str]:
    """What the weights as loaded leave out of the checkpoint and add to it, where it has a layer
    that is loaded for speculation alone."""
    if not s.geometry.mtp or uses_mtp(flags_of(spec), s.geometry):
        return []
    stored = checkpoint_bytes(s.geometry, s.fmt, STORED_BYTES) / 1e9
    whole = download_bytes(s.geometry, s.fmt) / 1e9
    copies = ", and what each GPU holds a copy of is counted on each" if where.tp > 1 else ""
    wide = ", and in 32 bits what is not quantised" if is_cpu(spec) else ""
    return [
        f"weights are counted as loaded, without the MTP layer ({whole - stored:,.1f} of the "
        f"checkpoint's {whole:,.1f} GB), which speculation alone loads{copies}{wide}"
    ]


def _notes(
    spec: RunSpec, s: Served, where: Layout, *, target: int, cache: _Cache, fits: bool
) -> tuple[str, ...]:
    """What does not forbid the run but bears on reading the numbers."""
    found = list(s.geometry.notes)
    if s.fmt.name == "gguf":
        found.append(
            "assumed: this GGUF file's layout over the GPUs, cache and overheads as vLLM's; "
            "llama.cpp's own, host offload with them, are not modelled"
        )
    found += _weights_words(spec, s, where)
    at_once, longest = cache.at_once, cache.longest
    if not has_checkpoint(spec.model, spec.quant.name):
        found.append(f"no published checkpoint of {spec.model.name} is listed for this quant")
    if 0 < at_once < target:
        found.append(f"only {at_once} of {target} concurrent requests hold their cache at once")
    fp8 = s.fmt.activation_bits == 8 and not s.fmt.integer
    if fp8 and spec.gpu.fp8_tflops is None and not is_cpu(spec):
        found.append("no FP8 units: the weights stay 8-bit and multiply in 16 bits")
    full = spec.model.max_context_tokens
    if fits and longest < full:
        sure = cache.surely >= context_needed(spec)
        most = cache.surely if sure else longest
        within = "" if sure or cache.surely == longest else ", which is within the band"
        found.append(
            f"the model's full context of {full:,} tokens does not fit: start the engine with "
            f"engine.max_model_len={most} or less{within}"
        )
    if where.pp > 1:
        found.append(f"planned as {where.pp} pipeline stages of {where.tp} GPUs, and started so")
    found += across_nodes(spec, s.geometry, where)
    if where.dp > 1:
        found.append(f"{where.dp} replicas: cache and tokens are those of one, requests of all")
    if s.geometry.has_windows:
        forget = cache.unforgetting < cache.longest
        found.append(
            "layers with a window forget past it, as vLLM's hybrid KV cache does"
            if forget or not any(b.kv.kind == "chunked" for b in s.geometry.blocks)
            else "vLLM keeps the whole context of chunked layers unless it is told otherwise"
        )
    if spec.gpu.unverified_fields:
        found.append(f"unverified in {spec.gpu.name}: {', '.join(spec.gpu.unverified_fields)}")
    if not spec.model.verified:
        found.append(f"unverified in {spec.model.name}: its config, from public figures")
    if not isinstance(spec.engine, VllmSpec):
        found.append(f"counted for vLLM; engine {spec.engine.kind} was not modelled")
    return tuple(found)


def suggested_max_model_len(spec: RunSpec, report: FitReport) -> int | None:
    """The context to start the engine with; None leaves it to the engine.

    vLLM refuses to start when one request of the model's full context does not fit its cache, so
    a run whose workload needs less has to be given the longest context that does.
    """
    if flags_of(spec).max_model_len is not None:
        return None
    if not report.fits or report.max_context_tokens >= spec.model.max_context_tokens:
        return None
    return report.max_context_tokens


def with_alternatives(report: FitReport, found: tuple[Alternative, ...]) -> FitReport:
    """The report with its alternatives filled in."""
    return dataclasses.replace(report, alternatives=found)
