"""What a run may use of memory: the budget, what every stage leaves for the cache, and its plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.sizing.engine_rules import EngineRules, rules_of
from bench.sizing.formats import Served
from bench.sizing.geometry import Geometry
from bench.sizing.headroom import cuda_memory_gib, gpu_memory_gib, is_cpu, vllm_of
from bench.sizing.kv_layers import block_tokens, kv_dtype, layer_caches
from bench.sizing.kv_plan import Demand, KvPlan, plan
from bench.sizing.loaded import loaded_stages
from bench.sizing.overheads import (
    GIB,
    Batch,
    Overhead,
    Part,
    band,
    cpu_overheads,
    gpu_overheads,
)
from bench.sizing.sharding import Layout, Stage, checkpoint_bytes, stages
from bench.values.engine_flags import EngineFlags, flags_of
from bench.values.errors import InputError
from bench.values.spec import RunSpec
from bench.values.vllm_defaults import batch_limits


@dataclass(frozen=True, kw_only=True)
class StageRoom:
    """One pipeline stage's fullest rank: what it holds, and bytes that are left for the cache.

    `kv_low_bytes` and `kv_high_bytes` are the same at the ends of the overheads' band.
    """

    stage: Stage
    overheads: tuple[Overhead, ...]
    kv_bytes: float
    kv_low_bytes: float
    kv_high_bytes: float

    @property
    def other_bytes(self) -> float:
        return sum(o.gib for o in self.overheads) * GIB


@dataclass(frozen=True, kw_only=True)
class Room:
    """Bytes a rank may use, what every stage leaves for the cache, and how requests take of it.

    `budget` None is a host whose memory is not known. `full` is the plan if no layer forgot.
    `slots` is how many sequences run at once where each must have a block of its own.
    """

    budget: float | None
    stages: tuple[StageRoom, ...]
    plan: KvPlan
    full: KvPlan
    rules: EngineRules
    chunk_tokens: int
    kv_fixed: float | None = None
    graphs_beside_gib: float = 0.0
    slots: int | None = None

    def blocks(self, of: str = "kv_bytes") -> int:
        """Blocks of the shared pool: what the tightest stage holds (`of` kv_low_bytes, …)."""
        return self._blocks(self.plan, of)

    def longest(self, most: int, of: str = "kv_bytes") -> int:
        """The longest request, up to `most` tokens, with which the engine starts."""
        return self.plan.longest(self._blocks(self.plan, of) - self._held_back, most)

    def longest_if_full(self, most: int) -> int:
        """The same if no layer forgot."""
        return self.full.longest(self._blocks(self.full, "kv_bytes") - self._held_back, most)

    def request_bytes(self, tokens: int) -> int:
        """Bytes that one request may hold on the rank where they are most."""
        sizes = (self.plan.block_bytes(r.stage.start, r.stage.stop) for r in self.stages)
        return self.plan.request_blocks(tokens) * max(sizes, default=0)

    def logged_tokens(self, context_tokens: int, of: str = "kv_bytes") -> int:
        """The cache's tokens as this version logs them when started with `context_tokens`."""
        blocks = self._blocks(self.plan, of)
        if not self.plan.groups:
            return 0
        if self.rules.tokens_by_concurrency:
            return int(self.plan.concurrency(blocks, context_tokens) * context_tokens)
        shortest = min(c.block for g in self.plan.groups for c in g.caches)
        return blocks // len(self.plan.groups) * shortest

    @property
    def _held_back(self) -> int:
        return 1 if self.rules.null_block else 0

    def _blocks(self, kv: KvPlan, of: str) -> int:
        found = []
        for room in self.stages:
            size = kv.block_bytes(room.stage.start, room.stage.stop)
            if size:
                found.append(int(max(0.0, getattr(room, of)) // size))
        return min(found, default=0)


def room_of(spec: RunSpec, s: Served, where: Layout, host_memory_bytes: int | None) -> Room:
    """What the run may use of memory, stage by stage."""
    flags, rules = flags_of(spec), rules_of(spec.fit.vllm_version)
    if is_cpu(spec):
        return _host_room(spec, s, list(stages(s, where)), rules, host_memory_bytes)
    drafts = uses_mtp(flags, s.geometry)
    twice = rules.layer_twice
    loaded = list(loaded_stages(s, where, spec.model.config, drafts=drafts, layer_twice=twice))
    batch = _batch(spec, flags, s, rules)
    memory = cuda_memory_gib(spec.gpu)
    budget = memory * GIB * flags.gpu_memory_utilization
    rooms, beside = [], 0.0
    for stage in loaded:
        part = Part(
            tp=where.tp,
            pp=where.pp,
            layers=stage.stop - stage.start,
            first=stage.start == 0,
            last=stage is loaded[-1],
            nvlink=bool(spec.gpu.nvlink_gb_s),
        )
        found = gpu_overheads(
            s.geometry, rules, batch, part, graphs=flags.graphs, vision=_vision(spec, s)
        )
        if not rules.graphs_in_budget:
            # The least of it: more is a guess that would refuse what starts.
            beside = max([beside, *(o.low_gib or 0.0 for o in found if o.name == "CUDA graphs")])
            found = tuple(o for o in found if o.name != "CUDA graphs")
        fixed = flags.kv_cache_memory_bytes
        rooms.append(_stage_room(stage, found, budget if fixed is None else None, fixed))
    kv, full = _plans(spec, s, flags, rules, tp=where.tp, steps=where.pp, tokens=batch.tokens)
    recurrent = any(b.kv.states for b in s.geometry.blocks)
    needs_slots = rules.slot_per_state and recurrent and flags.graphs
    return Room(
        budget=budget,
        stages=tuple(rooms),
        plan=kv,
        full=full,
        rules=rules,
        chunk_tokens=batch.tokens,
        kv_fixed=flags.kv_cache_memory_bytes,
        graphs_beside_gib=beside,
        slots=batch.slots if needs_slots else None,
    )


def _stage_room(
    stage: Stage, overheads: tuple[Overhead, ...], budget: float | None, fixed: float | None
) -> StageRoom:
    other = sum(o.gib for o in overheads) * GIB
    left = fixed if fixed is not None else (budget or 0.0) - other - stage.weights_bytes
    below, above = (0.0, 0.0) if fixed is not None else band(overheads)
    return StageRoom(
        stage=stage,
        overheads=overheads,
        kv_bytes=left,
        kv_low_bytes=left - above * GIB,
        kv_high_bytes=left + below * GIB,
    )


def _batch(spec: RunSpec, flags: EngineFlags, s: Served, rules: EngineRules) -> Batch:
    tokens, slots = batch_limits(gpu_memory_gib(spec.gpu), spec.gpu.name)
    if flags.performance_mode == "throughput":
        tokens, slots = 2 * tokens, 2 * slots
    context = flags.max_model_len or 0
    if tokens < context <= rules.whole_context:
        tokens = context
    return Batch(
        tokens=flags.max_num_batched_tokens or tokens,
        slots=flags.max_num_seqs or slots,
        native_bytes=s.native_bytes,
    )


def _vision(spec: RunSpec, s: Served) -> Mapping[str, Any] | None:
    found = spec.model.config.get("vision_config")
    if not isinstance(found, Mapping) or not s.geometry.vision:
        return None
    return {"model_type": spec.model.config.get("model_type"), **found}


def uses_mtp(flags: EngineFlags, geometry: Geometry) -> bool:
    """Whether speculative decoding takes the checkpoint's own draft layers.

    InputError for drafts of other kinds that hold memory: their size is not known here.
    """
    if not flags.speculative:
        return False
    method = str(flags.speculative.get("method") or "")
    if method in ("ngram", "ngram_gpu", "suffix"):
        return False
    if method.endswith("mtp") and not flags.speculative.get("model"):
        if geometry.mtp:
            return True
        raise InputError(
            "engine.args: this model's config has no MTP layers that are known here to speculate "
            "with. Use fit.force=true to run without a fit."
        )
    raise InputError(
        f"engine.args: the memory of a draft model (method {method or 'not given'!r}) is not "
        "counted here; counted are mtp and ngram. Use fit.force=true to run without a fit."
    )


def _plans(
    spec: RunSpec,
    s: Served,
    flags: EngineFlags,
    rules: EngineRules,
    *,
    tp: int,
    steps: int,
    tokens: int,
) -> tuple[KvPlan, KvPlan]:
    """The cache's plan as vLLM makes it, and the one where no layer forgets."""
    on_cpu = is_cpu(spec)
    dtype = kv_dtype(flags, spec.model, spec.quant)
    block = block_tokens(s.geometry, flags, on_cpu=on_cpu)
    caches = layer_caches(s.geometry, flags, dtype, tp=tp, native=s.native_bytes, block=block)
    if uses_mtp(flags, s.geometry):
        attending = [own for own in caches if any(c.kind != "state" for c in own)]
        caches = (*caches, attending[-1])
    # Async scheduling, vLLM's default, has one batch more under way than there are stages.
    ahead = rules.steps_in_flight - 1 if flags.async_scheduling is not False else 0
    cached = rules.state_blocks if flags.prefix_caching is not False else 1
    demand = Demand(
        in_flight_tokens=(steps + ahead) * tokens,
        state_blocks=cached + flags.speculative_tokens,
    )
    chunked = any(b.kv.kind == "chunked" for b in s.geometry.blocks)
    # Off by default for chunked attention, and on every platform but GPUs.
    allowed = vllm_of(spec).env.get("VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE") == "1"
    hybrid = not (flags.hybrid_manager_off or (chunked and not allowed) or on_cpu)
    packed = any(b.kv.side for b in s.geometry.blocks)
    return (
        plan(caches, demand, hybrid=hybrid, packed=packed),
        plan(caches, demand, hybrid=False, packed=packed),
    )


def _host_room(
    spec: RunSpec,
    s: Served,
    held: list[Stage],
    rules: EngineRules,
    host_memory_bytes: int | None,
) -> Room:
    flags = flags_of(spec)
    overheads = cpu_overheads(
        s.geometry,
        weights_bytes=checkpoint_bytes(s.geometry, s.fmt, s.native_bytes),
        native_bytes=s.native_bytes,
    )
    fixed = float(vllm_of(spec).cpu_kv_cache_gib * GIB)
    kv, full = _plans(spec, s, flags, rules, tp=1, steps=1, tokens=2048)
    return Room(
        budget=None if host_memory_bytes is None else float(host_memory_bytes),
        stages=tuple(_stage_room(stage, overheads, None, fixed) for stage in held),
        plan=kv,
        full=full,
        rules=rules,
        chunk_tokens=2048,
        kv_fixed=fixed,
    )
