"""What a token costs a machine, term by term: the regressors of the time model.

Every term is in seconds per output token at the hardware's published limits, of one replica; a
coefficient says how many times longer it takes in practice. Nothing here is fitted.

    t = a·prefill + b·weights + x·experts + k·cache + c·decode + d·all-reduce
        + e·steps + g·expert steps + f·tokens
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.sizing.bound import (
    Held,
    Work,
    answer_flops,
    held,
    kv_bytes_kept,
    kv_bytes_read,
    prompt_flops,
)
from bench.sizing.geometry import Geometry
from bench.sizing.precision import PRECISIONS, Precision, precision
from bench.sizing.roofline import expert_coverage
from bench.values.spec import GpuSpec, ModelSpec

TERMS = (
    *("prefill", "weights", "experts", "cache", "decode"),
    *("all_reduce", "steps", "expert_steps", "tokens"),
)
PHYSICAL = 5
"""The first so many cannot be faster than the published limit: their coefficient is at least 1."""
STEP_S = 10e-6
"""The unit of `steps`: seconds per layer and step (launching a layer's kernels)."""
TOKEN_S = 10e-6
"""The unit of `tokens`: seconds per token of one replica (sampling, detokenising, scheduling)."""
MEMORY_SHARE = 0.9
"""Of a GPU's memory, what engines take for weights and cache by default (vLLM, TensorRT-LLM)."""
PCIE_LINK_GB_S = 50.0
"""One direction of PCIe 5.0 × 16 as collectives reach it, where GPUs have no link of their own."""
CPU_GB_S, CPU_TFLOPS = 20.0, 0.2
"""What stands for a processor's limits, which no data sheet gives: units that own runs scale."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """`replicas` of `per_replica` GPUs each; `sequences` the most that one replica runs at once,
    by its memory, too, where `memory_counted` says so."""

    gpu: GpuSpec
    per_replica: int = 1
    replicas: int = 1
    sequences: float = math.inf
    memory_counted: bool = False


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A token's terms (s, in the order of TERMS), the sequences of one replica in flight, and the
    seconds of one whole prompt at the published peak and of one layer pass over the weights."""

    terms: tuple[float, ...]
    batch: float
    prompt_s: float
    layers: int


def units_peak(gpu: GpuSpec, wanted: Precision) -> float:
    """Operations/s that engines reach for with weights of this precision, one GPU.

    Weights alone in 4 or 8 bits multiply in 16 bits; FP8 and FP4 where the GPU has such units, the
    next larger ones where not.
    """
    if gpu.bf16_tflops is None:
        return CPU_TFLOPS * 1e12
    sixteen = gpu.bf16_tflops
    eight = gpu.fp8_tflops or sixteen
    name = wanted.name
    if name in ("fp8", "fp8-dynamic", "e4m3", "mxfp8", "mxfp4a8"):
        return eight * 1e12
    if name in ("int8", "w8a8", "smoothquant"):
        return (gpu.int8_tops or sixteen) * 1e12
    if name == "nvfp4" or (name in ("mxfp4", "fp4") and gpu.fp4_tflops):
        return (gpu.fp4_tflops or eight) * 1e12
    return sixteen * 1e12


def split_weights(geometry: Geometry, wanted: Precision) -> tuple[float, float, float]:
    """Bytes of what every step reads, of all routed experts, and of everything in memory.

    The embedding that is only looked up, the output head and the norms stay in 16 bits.
    """
    dense = experts = kept = 0.0
    small, native = wanted.weight_bits / 8, max(2.0, wanted.weight_bits / 8)
    for matrix, repeats in geometry.text_matrices():
        size = matrix.params * repeats * (small if matrix.quantisable else native)
        kept += size
        if geometry.looked_up(matrix):
            continue
        if matrix.role == "routed_expert":
            experts += size
        else:
            dense += size
    return dense, experts, kept


def smallest_replica(geometry: Geometry, wanted: Precision, gpu: GpuSpec, gpus: int) -> int:
    """The fewest GPUs (a power of two) whose memory holds the weights with as much room again for
    the cache: how those who tune for throughput divide a node."""
    _, _, kept = split_weights(geometry, wanted)
    each = (gpu.memory_gb or 0.0) * 1e9 * MEMORY_SHARE
    per = 1
    while per < gpus and per * each * 0.6 < kept:
        per *= 2
    return min(per, gpus)


def cost(
    geometry: Geometry, wanted: Precision, where: Deployment, work: Work, kv_bits: float
) -> Cost:
    """A token's terms in one replica of a deployment; `work.concurrency` is of all replicas."""
    h = held(geometry, wanted, kv_bits)
    prompt, answer = max(work.input_tokens or 1.0, 1.0), max(work.output_tokens or 1.0, 1.0)
    n = max(where.per_replica, 1)
    gpu = where.gpu
    bandwidth = (gpu.bandwidth_gb_s or CPU_GB_S) * 1e9 * n
    top = units_peak(gpu, wanted) * n
    attention_top = (gpu.bf16_tflops or CPU_TFLOPS) * 1e12 * n
    batch = batch_of(h, where, work, wanted)
    dense, experts, _ = split_weights(geometry, wanted)
    coverage = expert_coverage(geometry.experts, geometry.experts_per_token, batch)
    first = prompt_flops(geometry, prompt, work.fresh_prompt)
    rest = answer_flops(geometry, prompt, answer)
    prompt_s = first.weights / top + first.attention / attention_top
    layers = len(geometry.sequence)
    terms = (
        prompt_s / answer,
        dense / batch / bandwidth,
        experts * coverage / batch / bandwidth,
        kv_bytes_read(h, prompt, answer) / bandwidth,
        (rest.weights / top + rest.attention / attention_top) / answer,
        all_reduce_s(geometry, n, gpu) * (1 + prompt * work.fresh_prompt / answer),
        layers * STEP_S / batch,
        layers * STEP_S / batch if geometry.experts else 0.0,
        TOKEN_S,
    )
    return Cost(terms=terms, batch=batch, prompt_s=prompt_s, layers=layers)


def batch_of(h: Held, where: Deployment, work: Work, wanted: Precision) -> float:
    """Sequences of one replica in flight: what is asked, what an engine admits, what fits."""
    prompt, answer = max(work.input_tokens or 1.0, 1.0), max(work.output_tokens or 1.0, 1.0)
    asked = math.inf if work.concurrency is None else work.concurrency / where.replicas
    batch = min(asked, where.sequences)
    memory = where.gpu.memory_gb
    if memory and not where.memory_counted:
        _, _, kept = split_weights(h.geometry, wanted)
        room = memory * 1e9 * MEMORY_SHARE * where.per_replica - kept
        per_sequence = kv_bytes_kept(h, prompt + answer / 2)
        if per_sequence > 0:
            batch = min(batch, room / per_sequence)
    return max(1.0, min(batch, 4096.0))


def all_reduce_s(geometry: Geometry, gpus: int, gpu: GpuSpec) -> float:
    """Seconds that one token's activations need on the links: two all-reduces a layer, 16 bits,
    each GPU sending 2·(n - 1)/n of them over one direction of its link."""
    if gpus <= 1:
        return 0.0
    link = (gpu.nvlink_gb_s / 2 if gpu.nvlink_gb_s else PCIE_LINK_GB_S) * 1e9
    moved = 2 * len(geometry.sequence) * geometry.hidden * 2.0 * 2 * (gpus - 1) / gpus
    return moved / link


def named(word: str, model: ModelSpec) -> Precision:
    """The precision of a quantisation's name; 16 bits for one that is not known."""
    return precision(word, model) or PRECISIONS["bfloat16"]
