"""Expectations: what reading memory and multiplying take at published limits. No bounds.

Decode reads every active weight and the sequences' KV cache once per step, so a step takes at
least bytes / bandwidth; both decode and prefill take at least flops / peak. All GPUs together
count with their full published bandwidth and dense peak, weights that ranks hold twice are read
once, and nothing else costs time. They use an engine's defaults and evenly routed experts, so that
an honest measurement may exceed them; what none may exceed is `bench.sizing.bound`. Expectations
are `modelled`, in tokens/s.

Speculative decoding (MTP, draft models) yields several tokens per step and may exceed them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.sizing.formats import Served, WeightFormat
from bench.sizing.geometry import Matrix
from bench.values.spec import GpuSpec


def expert_coverage(experts: int, top_k: int, batch: float) -> float:
    """Expected share of experts that at least one of `batch` tokens is routed to.

    Uniform, independent routing: 1 − (1 − k/E)^batch. Real routers are less even, so that fewer
    are touched.
    """
    if experts == 0:
        return 0.0
    return float(1 - (1 - top_k / experts) ** batch)


def weight_read_bytes(served: Served, batch: float, coverage: float | None = None) -> float:
    """Weight bytes one step over `batch` tokens must read; `coverage` replaces the expected one.

    The embedding is looked up, not read whole, unless it also serves as the output head.
    """
    g = served.geometry
    if coverage is None:
        coverage = expert_coverage(g.experts, g.experts_per_token, batch)
    total = 0.0
    for matrix, repeats in g.text_matrices():
        if g.looked_up(matrix):
            row = served.fmt.bytes(matrix, 1, matrix.cols, served.native_bytes)
            total += row * batch
            continue
        total += _copies_read(matrix, coverage) * repeats * _one(served, matrix)
    return total


def _one(served: Served, matrix: Matrix) -> float:
    return served.fmt.bytes(matrix, matrix.rows, matrix.cols, served.native_bytes)


def _copies_read(matrix: Matrix, coverage: float) -> float:
    return matrix.count * coverage if matrix.role == "routed_expert" else matrix.count


def decode_read_bytes(
    served: Served, batch: float, context_tokens: float, coverage: float | None = None
) -> float:
    """Bytes one decode step of `batch` sequences with `context_tokens` each must read."""
    kv = served.geometry.kv_read_bytes(context_tokens, served.kv_bytes)
    return weight_read_bytes(served, batch, coverage) + batch * kv


def _read_again(served: Served, busy: float) -> float:
    """Bytes that data-parallel engines read beyond the first: everything but routed experts, which
    are shared out over all of them (`bench.sizing.sharding`)."""
    return (busy - 1) * weight_read_bytes(served, 0, 0.0)


def decode_flops(served: Served, context_tokens: float) -> float:
    """Floating-point operations per generated token: two per active weight, plus attention."""
    g = served.geometry
    attended = sum(
        b.context_flop_dims * _attended(b.kv.window, b.kv.selected, context_tokens) * n
        for b, n in g.layers()
    )
    return 2.0 * g.matmul_params + 2.0 * attended


def prefill_flops(served: Served, input_tokens: float) -> float:
    """Operations per prompt token; the head runs once per prompt, causality halves the context."""
    g = served.geometry
    head = g.hidden * g.vocab
    attended = sum(
        b.attention_dims * _attended(b.kv.window, b.kv.selected, input_tokens / 2) * n
        for b, n in g.layers()
    )
    body = 2.0 * (g.matmul_params - head) + 2.0 * head / max(input_tokens, 1.0)
    return body + 2.0 * attended


def _attended(window: int | None, selected: int | None, tokens: float) -> float:
    return min([tokens, *(x for x in (window, selected) if x is not None)])


def peak_flops(gpu: GpuSpec, fmt: WeightFormat) -> float | None:
    """Dense peak of one GPU in flop/s for the format's activations; None where none is published.

    Weight-only formats multiply in 16 bits, and so does FP8 on a GPU without FP8 units.
    """
    tflops = gpu.bf16_tflops
    if fmt.activation_bits == 8:
        tflops = (gpu.int8_tops if fmt.integer else gpu.fp8_tflops) or tflops
    return None if tflops is None else tflops * 1e12


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A plan of tokens/s over all GPUs at one batch size, and what sets it.

    `bandwidth_tokens_per_s` expects evenly routed experts; `hard_tokens_per_s` assumes that all
    tokens share the same experts and have no context: nothing may exceed it.
    """

    batch: float
    context_tokens: float
    bandwidth_tokens_per_s: float
    compute_tokens_per_s: float | None
    hard_tokens_per_s: float
    expert_coverage: float | None
    read_gb_per_step: float
    arose: Literal["modelled"] = "modelled"

    @property
    def tokens_per_s(self) -> float:
        return min(self.bandwidth_tokens_per_s, self.compute_tokens_per_s or float("inf"))

    @property
    def bound(self) -> Literal["bandwidth", "compute"]:
        return "bandwidth" if self.tokens_per_s == self.bandwidth_tokens_per_s else "compute"


def decode_expectation(
    served: Served,
    gpu: GpuSpec,
    gpus: int,
    *,
    batch: float,
    context_tokens: float,
    replicas: int = 1,
) -> Expectation | None:
    """The plan of decode; None where the GPU's bandwidth is not published (a CPU).

    `replicas` are data-parallel engines, over which the batch is spread evenly.
    """
    if gpu.bandwidth_gb_s is None or gpus < 1:
        return None
    g = served.geometry
    busy = min(replicas, max(batch, 1.0))
    bandwidth = gpu.bandwidth_gb_s * 1e9 * gpus * busy / replicas
    peak = peak_flops(gpu, served.fmt)
    read = decode_read_bytes(served, batch, context_tokens) + _read_again(served, busy)
    fewest = g.experts_per_token / g.experts if g.experts else 0.0
    whole = gpu.bandwidth_gb_s * 1e9 * gpus
    hard = batch * whole / weight_read_bytes(served, batch, fewest)
    if peak is not None:
        hard = min(hard, peak * gpus / decode_flops(served, 0))
    return Expectation(
        batch=batch,
        context_tokens=context_tokens,
        bandwidth_tokens_per_s=batch * bandwidth / read,
        compute_tokens_per_s=None
        if peak is None
        else peak * gpus / decode_flops(served, context_tokens),
        hard_tokens_per_s=hard,
        expert_coverage=expert_coverage(g.experts, g.experts_per_token, batch)
        if g.experts
        else None,
        read_gb_per_step=read / 1e9,
    )


def prefill_expectation(
    served: Served, gpu: GpuSpec, gpus: int, *, input_tokens: float, chunk_tokens: float
) -> Expectation | None:
    """The plan of prefill for `input_tokens` prompts processed `chunk_tokens` at a time."""
    if gpu.bandwidth_gb_s is None or gpus < 1:
        return None
    g = served.geometry
    bandwidth = gpu.bandwidth_gb_s * 1e9 * gpus
    peak = peak_flops(gpu, served.fmt)
    read = weight_read_bytes(served, chunk_tokens)
    fewest = g.experts_per_token / g.experts if g.experts else 0.0
    compute = None if peak is None else peak * gpus / prefill_flops(served, input_tokens)
    hard = chunk_tokens * bandwidth / weight_read_bytes(served, chunk_tokens, fewest)
    return Expectation(
        batch=chunk_tokens,
        context_tokens=input_tokens,
        bandwidth_tokens_per_s=chunk_tokens * bandwidth / read,
        compute_tokens_per_s=compute,
        hard_tokens_per_s=min(hard, compute) if compute is not None else hard,
        expert_coverage=expert_coverage(g.experts, g.experts_per_token, chunk_tokens)
        if g.experts
        else None,
        read_gb_per_step=read / 1e9,
    )


@dataclass(frozen=True, kw_only=True)
class Utilisation:
    """Achieved share of published memory bandwidth (mbu) and dense peak (mfu), 0 to 1.

    From geometry and measured token rates, hence `modelled`; None where the GPU's limit is not
    published. Above 1 is impossible and means a wrong measurement, GPU or model.
    """

    mbu: float | None
    mfu: float | None
    read_gb_per_s: float
    tflops: float
    arose: Literal["modelled"] = "modelled"


def utilisation(
    served: Served,
    gpu: GpuSpec,
    gpus: int,
    *,
    output_tokens_per_s: float,
    input_tokens_per_s: float,
    mean_batch: float,
    mean_input_tokens: float,
    mean_output_tokens: float,
    replicas: int = 1,
) -> Utilisation:
    """MBU and MFU of one load point from its measured rates (tokens/s over all GPUs).

    `mean_batch` is the mean number of sequences decoding at once, over all `replicas`. Prompt
    tokens computed from scratch count as flops; the weight reads of prefill-only steps are left
    out, so MBU is low rather than high where prompts dominate.
    """
    context = mean_input_tokens + mean_output_tokens / 2
    batch = max(mean_batch, 1.0)
    a_step = decode_read_bytes(served, batch, context)
    a_step += _read_again(served, min(replicas, batch))
    read = a_step * output_tokens_per_s / batch
    flops = output_tokens_per_s * decode_flops(served, context)
    flops += input_tokens_per_s * prefill_flops(served, mean_input_tokens)
    bandwidth = None if gpu.bandwidth_gb_s is None else gpu.bandwidth_gb_s * 1e9 * gpus
    peak = peak_flops(gpu, served.fmt)
    return Utilisation(
        mbu=read / bandwidth if bandwidth else None,
        mfu=flops / (peak * gpus) if peak and gpus else None,
        read_gb_per_s=read / 1e9,
        tflops=flops / 1e12,
    )
