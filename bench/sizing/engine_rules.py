"""How vLLM's versions differ in what they take beside weights and cache, and in how they count.

Every constant comes with how many logs it rests on and their spread (tests/data/evidence, read by
scripts/fit_evidence.py); what no log shows is taken from the source of the pinned version. Sizes
in GiB per GPU, coefficients in bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from bench.values.errors import InputError

PINNED = "0.32.0"
"""The version that constraints/ installs; what a fit is for when nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A constant, from `n` logs that lie between `low` and `high`; n=0: read from the source."""

    value: float
    n: int
    low: float
    high: float
    source: str


def _seen(value: float, n: int, low: float, high: float, source: str) -> Seen:
    return Seen(value=value, n=n, low=low, high=high, source=source)


@dataclass(frozen=True, kw_only=True)
class EngineRules:
    """One span of versions, from `since` to the next.

    `peak_per_logit` is the sampler's peak while memory is profiled, `kept_per_logit` what it keeps
    for good, both in bytes per vocabulary entry and sequence slot. `patch_copies` of hidden
    states are held while an image of any size is encoded, and `patch_copies_divided` over the
    ranks. `default_utilization` is the engine's own, which logs without that flag were made with.
    `context` is the CUDA context of one GPU, `communication` what comes to it with tensor
    parallelism. `graphs_in_budget` takes CUDA graphs out of the utilised share; before 0.21 they
    came on top of it.
    `tokens_by_concurrency` logs the cache's tokens as concurrency × context, else as blocks per
    group. `steps_in_flight` batches hold blocks that a window has passed. `null_block` keeps one
    block back when a context is checked. `state_blocks` is what a recurrent layer holds per request
    while prefixes are cached. `keeps_workspaces` of fused experts beyond a forward pass.
    Contexts up to `whole_context` were profiled in one piece, without chunked prefill.
    `slot_per_state` refuses more sequence slots than blocks where layers are recurrent and graphs
    are captured (vllm/config/compilation.py, 0.32.0; seen with 0.26 in vllm-project/recipes#831).
    `pads_marlin` rounds MXFP4 experts up for GPUs without FP8 units, as gpt-oss-20b's 12.88 GiB
    with 0.10 and 13.72 with 0.19 show. `layer_twice` keeps one layer's MXFP4 experts on Hopper as
    they were stored, too: gpt-oss-120b's 65.97 GiB with 0.10 and 64.38 with 0.14.
    """

    since: tuple[int, int]
    peak_per_logit: Seen
    kept_per_logit: float
    context: Seen
    communication: Seen
    patch_copies: Seen
    patch_copies_divided: float
    default_utilization: float
    graphs_in_budget: bool
    tokens_by_concurrency: bool
    steps_in_flight: int
    null_block: bool
    state_blocks: int
    keeps_workspaces: bool = True
    whole_context: int = 0
    slot_per_state: bool = False
    pads_marlin: bool = True
    layer_twice: bool = False


_PLANNER = "llm-d-planner's accuracy reports, vLLM {} on H100 (tests/data/evidence)"
_OLD = _PLANNER.format("0.11 to 0.16")
_LATER = _PLANNER.format("0.18 and 0.19")
_SORTING = _seen(38.4, 5, 38.3, 39.2, _OLD)
_STREAMING = _seen(14.9, 22, 14.7, 15.1, _LATER)
# The current runner's profile skips top-k, top-p and penalties: 16-bit logits, nothing else.
_PLAIN = _seen(2.0, 0, 1.5, 4.0, "vllm/v1/worker/gpu/sample/sampler.py, 0.32.0")
# Counts (int32) and a mask (one bit) per vocabulary entry and slot, allocated for penalties.
_PENALTIES = 4.125
# Hidden states of the largest image's 65,536 patches while it is encoded: Qwen2.5-VL-72B on A100s
# held 2.51 GiB. Later 16.2 on one RTX 5090 (Qwen3.6-35B-A3B) and 11.3 on each of two (Qwen3.8-27B,
# 1.59 GiB): 6.4 on every rank and 9.8 divided over them.
_OLD_ENCODER = _seen(16.0, 1, 12.0, 20.0, "vllm-project/vllm#16570")
_ENCODER = _seen(6.4, 2, 5.4, 8.4, "noonghunna/club-3090#612 and #1087")
_CONTEXT = _seen(0.25, 22, 0.24, 0.46, _LATER)
_COMMUNICATION = _seen(1.83, 8, 1.45, 1.95, _LATER)

_FIRST = EngineRules(
    since=(0, 0),
    peak_per_logit=_SORTING,
    kept_per_logit=0.0,
    context=_seen(0.14, 3, 0.13, 0.35, _OLD),
    communication=_seen(0.41, 3, 0.1, 0.42, _OLD),
    patch_copies=_OLD_ENCODER,
    patch_copies_divided=0.0,
    default_utilization=0.9,
    graphs_in_budget=False,
    tokens_by_concurrency=False,
    steps_in_flight=1,
    null_block=False,
    state_blocks=1,
    keeps_workspaces=False,
    whole_context=2**40,
    pads_marlin=False,
    layer_twice=True,
)
RULES = (
    _FIRST,
    replace(_FIRST, since=(0, 6), whole_context=32768),
    replace(_FIRST, since=(0, 8), whole_context=0),
    replace(_FIRST, since=(0, 11), whole_context=0, pads_marlin=True),
    # Between 0.12 and 0.13 no log tells; they are counted as 0.11, which needs more.
    replace(_FIRST, since=(0, 14), whole_context=0, pads_marlin=True, layer_twice=False),
    EngineRules(
        since=(0, 18),
        peak_per_logit=_STREAMING,
        kept_per_logit=0.0,
        context=_CONTEXT,
        communication=_COMMUNICATION,
        patch_copies=_ENCODER,
        patch_copies_divided=9.8,
        default_utilization=0.9,
        graphs_in_budget=False,
        tokens_by_concurrency=False,
        steps_in_flight=1,
        null_block=False,
        state_blocks=1,
    ),
    EngineRules(
        since=(0, 21),
        peak_per_logit=_STREAMING,
        kept_per_logit=0.0,
        context=_CONTEXT,
        communication=_COMMUNICATION,
        patch_copies=_ENCODER,
        patch_copies_divided=9.8,
        default_utilization=0.92,
        graphs_in_budget=True,
        tokens_by_concurrency=True,
        steps_in_flight=2,
        null_block=True,
        state_blocks=2,
    ),
    EngineRules(
        since=(0, 27),
        peak_per_logit=_PLAIN,
        kept_per_logit=_PENALTIES,
        context=_CONTEXT,
        communication=_COMMUNICATION,
        patch_copies=_ENCODER,
        patch_copies_divided=9.8,
        default_utilization=0.92,
        graphs_in_budget=True,
        tokens_by_concurrency=True,
        steps_in_flight=2,
        null_block=True,
        state_blocks=2,
        slot_per_state=True,
    ),
)


def rules_of(version: str | None) -> EngineRules:
    """The rules of a version (`0.19.0`, `0.26.1rc1`); None is the pinned one."""
    found = re.search(r"(\d+)\.(\d+)", version or PINNED)
    if found is None:
        raise InputError(f"fit.vllm_version: {version!r} is no version; write it like {PINNED}.")
    number = (int(found[1]), int(found[2]))
    return max((r for r in RULES if r.since <= number), key=lambda r: r.since)


# Captured CUDA graphs of one rank: a floor, a part per layer, more where experts are. From the 0.19
# logs (dense: 17 rows of 8 to 80 layers, off by at most 0.25; experts: 3 rows).
GRAPHS_FLOOR_GIB = 0.35
GRAPHS_GIB_PER_LAYER = 0.0175
GRAPHS_EXPERTS_GIB = _seen(0.6, 3, 0.15, 0.75, _LATER)
GRAPHS_SPREAD_GIB = 0.25
# Without NVLink the workspaces of fused all-reduces are not allocated: what remained beside the
# context with four RTX PRO 6000 (0.27.1) and two RTX 5090 (0.26.1, from its cache's tokens).
COMMUNICATION_WITHOUT_NVLINK = _seen(
    0.6, 2, 0.3, 1.45, "blog.kubesimplify.com; vllm-project/recipes#810 (tests/data/evidence)"
)
# Communication buffers grow a little with the ranks: 2.06 to 2.11 GiB on two, 2.13 to 2.21 on four.
COMMUNICATION_GIB_PER_RANK = 0.04
# What a forward pass holds at once beside the FFN's own width, in hidden states: granite-3.1-8b
# (0.85 GiB) and the first stage of a pipeline of Llama-3.1-8B (1.05, with two more to send on).
HIDDEN_STATES_HELD = 4.2
HIDDEN_STATES_SENT = 2.0
# Of a recurrent layer's projections, copies that are held at once: Kimi Linear with 64,000 tokens a
# batch kept 2.3 GiB for its cache on two RTX 3090.
RECURRENT_COPIES = _seen(2.0, 1, 1.0, 3.0, "vllm-project/vllm#28228")
# Beside the experts' workspaces, what routing and sorting hold: 0.05 and 0.13 GiB in two logs.
EXPERT_SORTING_GIB = _seen(0.1, 2, 0.05, 0.15, _LATER)
# Encoder outputs that wait for their prompt, in hidden states of a full batch: 1.3 to 2.6 in four
# logs (Gemma 3, Mistral Small 3.1 twice, Granite Vision).
ENCODER_HIDDEN_STATES = _seen(2.0, 4, 1.3, 4.0, _LATER)
# Encoders of any resolution are profiled with the largest image.
LARGEST_IMAGE_PATCHES = 65536
# NVML's total less what CUDA reports, where a GPU's own is not listed: 0.42 (RTX 3090) to 0.8 (A100
# 80 GB), twelve products.
CUDA_RESERVED_GIB = _seen(0.5, 12, 0.42, 0.8, "torch's and NVML's totals in public logs")
