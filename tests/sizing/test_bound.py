"""Bounds: hand-worked sums, and published measurements that none of them may forbid."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from fit_support import catalogue

from bench.sizing.architecture import from_config
from bench.sizing.bound import (
    Held,
    Machine,
    Work,
    answer_flops,
    e2e_floor_s,
    held,
    input_bound,
    kv_bytes_kept,
    kv_bytes_read,
    machine,
    output_bound,
    prompt_flops,
    request_bound,
    ttft_floor_s,
    user_bound,
)
from bench.sizing.precision import PRECISIONS, SMALLEST_BITS, UNSAID, peak, precision

LLAMA = "deepseek-r1-distill-llama-8b"
BODY = 8_030_261_248 - 2 * 128_256 * 4096  # parameters without both embeddings
HEAD = 128_256 * 4096


def llama(quant: str = "bf16", kv_bits: float = 16) -> Held:
    g = from_config(catalogue().models[LLAMA].config)
    return held(g, PRECISIONS[quant], kv_bits)


def h100(quant: str = "bf16", gpus: int = 1) -> Machine:
    found = machine(catalogue().gpus["h100-sxm"], gpus, PRECISIONS[quant])
    assert found is not None
    return found


def test_operations_of_a_request_by_hand() -> None:
    g = llama().geometry
    # 31 of 32 layers for each of 1,000 prompt tokens, the head once.
    work = prompt_flops(g, 1000)
    assert work.weights == pytest.approx(2 * BODY * 31 / 32 * 1000 + 2 * HEAD)
    # Scores and values: 2 × 2 × 32 heads × 128, half of 1,000 × 1,000 pairs, 32 layers.
    assert work.attention == pytest.approx(4 * 32 * 128 * 1000 * 1000 / 2 * 32)
    answer = answer_flops(g, 1000, 10)
    assert answer.weights == pytest.approx(2 * (BODY + HEAD) * 10)
    assert answer.attention == pytest.approx(4 * 32 * 128 * 32 * 10 * 1005)


def test_a_reused_prefix_need_not_be_computed() -> None:
    g = llama().geometry
    assert prompt_flops(g, 1000, 0.1).weights == pytest.approx(prompt_flops(g, 100).weights)
    assert prompt_flops(g, 1000, 0.0).weights < prompt_flops(g, 2).weights


def test_the_cache_is_read_at_the_mean_context_of_the_answer() -> None:
    assert kv_bytes_read(llama(), 1000, 100) == pytest.approx(131_072 * 1050)
    assert kv_bytes_read(llama(kv_bits=8), 1000, 100) == pytest.approx(65_536 * 1050)
    assert kv_bytes_kept(llama(), 1000) == pytest.approx(131_072 * 1000)


def test_a_chunked_layer_sees_half_a_chunk_in_the_mean() -> None:
    scout = from_config(catalogue().models["llama-4-scout"].config)
    h = held(scout, PRECISIONS["bf16"], 16)
    # 36 local layers in chunks of 8,192 and 12 global ones, 4,096 bytes each.
    local, whole = 36 * 4096 * 4096, 12 * 4096 * 1e6
    assert kv_bytes_read(h, 1e6 - 8192 * 8, 8192 * 16) == pytest.approx(local + whole, rel=1e-3)


def test_one_user_is_bounded_by_reading_the_weights_alone() -> None:
    found = user_bound(h100(), llama(), Work(input_tokens=1, output_tokens=2))
    read = 2 * (BODY + HEAD) - 50e6  # what the cache on the chip kept
    assert found.reading == pytest.approx(3350e9 / read, rel=1e-4)
    four = user_bound(h100(gpus=4), llama(), Work(input_tokens=1, output_tokens=2))
    assert four.reading == pytest.approx(4 * 3350e9 / (read - 150e6), rel=1e-4)


def test_no_load_is_beyond_the_bound_of_any_load() -> None:
    """What the chip's cache holds need not be read: with the weights of `tiny` (7 MB) in it, few
    requests at once may be faster than many, and the bound of every load is at least theirs."""
    g = from_config(catalogue().models["tiny"].config)
    h = held(g, PRECISIONS["bf16"], 16)
    any_load = Work(input_tokens=1024, output_tokens=1024)
    most = output_bound(h100(), h, any_load).lowest
    assert most is not None
    for concurrency in (1, 2, 16, 64, 256, 4096):
        one = output_bound(h100(), h, replace(any_load, concurrency=concurrency)).lowest
        assert one is not None
        assert one <= most


def test_the_batch_is_what_memory_allows() -> None:
    """80 GB (85.5 by NVML) less 16 GB of weights hold 264 sequences of 2,000 tokens' mean."""
    work = Work(input_tokens=1000, output_tokens=2001)
    found = output_bound(h100(), llama(), work)
    q = 131_072 * (1000 + 2001 / 2) * 2000 / 2001
    memory = 79.647 * 1024**3
    batch = (memory - 2 * 8_030_261_248 + 2 * HEAD - 2 * (BODY + HEAD) + 2 * BODY) / q
    assert found.batch == pytest.approx(batch, rel=0.01)
    assert found.batch is not None
    step = (2 * (BODY + HEAD) + found.batch * q - 50e6) / 3350e9
    assert found.reading == pytest.approx(found.batch / step, rel=1e-6)
    fewer = output_bound(h100(), llama(), replace(work, concurrency=8))
    assert fewer.batch == 8
    assert fewer.reading is not None
    assert found.reading is not None
    assert fewer.reading < found.reading


def test_a_prompt_bounds_the_answers() -> None:
    """2,048 tokens in and 128 out: sixteen times the arithmetic of the answer alone."""
    m, h = h100("fp8"), llama("fp8", 8)
    both = output_bound(m, h, Work(input_tokens=2048, output_tokens=128)).compute
    alone = output_bound(m, h, Work(output_tokens=128)).compute
    assert both is not None
    assert alone is not None
    assert alone / both == pytest.approx(17, rel=0.1)
    reused = Work(input_tokens=2048, output_tokens=128, fresh_prompt=0.0)
    assert output_bound(m, h, reused).compute == pytest.approx(alone, rel=0.1)
    decode = Work(input_tokens=2048, output_tokens=128, phase="decode")
    assert (output_bound(m, h, decode).compute or 0) > 10 * both


def test_speculation_leaves_arithmetic_alone_as_the_bound() -> None:
    m, h = h100(), llama()
    work = Work(input_tokens=100, output_tokens=100, concurrency=1)
    free = output_bound(m, h, replace(work, tokens_per_pass=None))
    assert free.reading is None
    assert free.compute == output_bound(m, h, work).compute
    three = output_bound(m, h, replace(work, tokens_per_pass=3.0)).reading
    assert three == pytest.approx(3 * (output_bound(m, h, work).reading or 0))


def test_requests_and_prompt_tokens_follow_from_the_same_bound() -> None:
    m, h = h100("fp8"), llama("fp8", 8)
    work = Work(input_tokens=2048, output_tokens=128)
    out = output_bound(m, h, work).lowest or 0
    assert request_bound(m, h, work).lowest == pytest.approx(out / 128)
    assert input_bound(m, h, work).lowest == pytest.approx(out / 128 * 2048)
    prefill = replace(work, phase="prefill")
    assert (input_bound(m, h, prefill).lowest or 0) > (input_bound(m, h, work).lowest or 0)
    unsaid = input_bound(m, h, Work()).compute
    assert unsaid == pytest.approx(1979e12 / (2 * BODY * 31 / 32))
    assert input_bound(m, h, Work(fresh_prompt=0.0)).lowest is None


def test_the_first_token_needs_the_prompt_and_the_last_all_others() -> None:
    m, h = h100(), llama()
    work = Work(input_tokens=10_000, output_tokens=101)
    first = ttft_floor_s(m, h, work)
    assert first == pytest.approx(prompt_flops(h.geometry, 10_000).seconds(m))
    assert first == pytest.approx(2 * BODY * 31 / 32 * 1e4 / 989e12, rel=0.15)
    one = user_bound(m, h, work).lowest or 0
    assert e2e_floor_s(m, h, work) == pytest.approx(first + 100 / one)
    short = ttft_floor_s(m, h, Work(input_tokens=1))
    assert short == pytest.approx((h.read - 50e6) / 3350e9)


def test_fast_users_forbid_large_batches() -> None:
    """At 100 tokens/s for everybody a step lasts 10 ms: 33.5 GB may be read, 15 of it weights."""
    m, h = h100(), llama()
    work = Work(input_tokens=1000, output_tokens=1000, kept_tokens_per_s=100)
    q = kv_bytes_read(h, 1000, 1000) * 999 / 1000
    found = output_bound(m, h, work)
    assert found.batch == pytest.approx((33.5e9 - h.read) / q, rel=0.01)
    assert output_bound(m, h, replace(work, kept_tokens_per_s=1000)).reading == 0


def test_weights_beyond_the_gpus_are_read_over_the_link() -> None:
    gpu = catalogue().gpus["l4"]
    g = from_config(catalogue().models["deepseek-r1-distill-llama-70b"].config)
    h = held(g, PRECISIONS["bf16"], 16)
    m = machine(gpu, 1, PRECISIONS["bf16"], "link")
    assert m is not None
    found = user_bound(m, h, Work())
    beyond = h.read - 48e6 - 24.153e9
    assert found.reading == pytest.approx(32e9 / beyond, rel=0.01)


def test_what_nobody_publishes_bounds_nothing() -> None:
    gpus = catalogue().gpus
    assert machine(gpus["cpu"], 1, UNSAID) is None
    assert machine(gpus["h100-sxm"], 0, UNSAID) is None
    no_peak = replace(h100(), peak=None)
    assert output_bound(no_peak, llama(), Work(output_tokens=10)).compute is None
    assert ttft_floor_s(no_peak, llama(), Work()) > 0
    assert math.isfinite(output_bound(no_peak, llama(), Work(concurrency=1)).lowest or math.inf)


def test_precisions_are_read_in_the_way_that_lets_most_through() -> None:
    gpus = catalogue().gpus
    assert precision(None) is UNSAID
    assert UNSAID.weight_bits == SMALLEST_BITS == 1.5625
    assert precision("none", catalogue().models[LLAMA]) == PRECISIONS["bfloat16"]
    assert precision("none", catalogue().models["deepseek-r1"]) == PRECISIONS["fp8"]
    assert precision("int3-magic") is None
    assert peak(gpus["b200-sxm"], PRECISIONS["nvfp4"]) == 9000e12  # dense, 18 with sparsity
    assert peak(gpus["h100-sxm"], PRECISIONS["nvfp4"]) == 1979e12
    assert peak(gpus["a100-80gb-sxm"], PRECISIONS["fp8"]) == 312e12
    assert peak(gpus["a100-80gb-sxm"], PRECISIONS["awq"]) == 624e12
    assert peak(gpus["a100-80gb-sxm"], UNSAID) == 1248e12
