"""The terms of a token's cost, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from bench.config.compose import catalogue, compose, run_spec
from bench.predict.question import question
from bench.predict.terms import (
    TERMS,
    Deployment,
    all_reduce_s,
    cost,
    named,
    smallest_replica,
    split_weights,
    units_peak,
)
from bench.preflight import for_planning
from bench.sizing.architecture import from_config
from bench.sizing.bound import Work
from bench.values.errors import InputError
from bench.values.spec import GpuSpec, RunSpec

H100 = GpuSpec(
    name="h100-sxm",
    title="",
    memory_gb=80,
    bandwidth_gb_s=3350,
    bf16_tflops=989,
    fp8_tflops=1979,
    nvlink_gb_s=900,
)


def spec(*words: str) -> RunSpec:
    found: RunSpec = run_spec(compose(list(words)), detect_gpus=False)
    return found


def llama() -> Any:
    return spec("model=llama-3.1-8b").model


def at(**more: Any) -> dict[str, float]:
    model = llama()
    g, w = from_config(model.config), named("none", model)
    where = Deployment(gpu=H100, **more.pop("where", {}))
    asked = Work(input_tokens=1000, output_tokens=500, concurrency=more.pop("concurrency", 10))
    return dict(zip(TERMS, cost(g, w, where, asked, 16).terms, strict=True))


def test_weights_are_read_once_a_step() -> None:
    # 8.03 B parameters without the 0.525 B of the embedding that is looked up, 2 bytes each, for
    # ten sequences at 3,350 GB/s: 15.01 GB / 10 / 3.35e12 = 448 µs.
    assert at()["weights"] == pytest.approx(448e-6, rel=2e-3)
    assert at(concurrency=1)["weights"] == pytest.approx(4.48e-3, rel=2e-3)
    assert at()["experts"] == at()["expert_steps"] == 0.0


def test_cache_is_what_a_token_looks_back_on() -> None:
    # 131,072 bytes a token, 1,250 tokens in the mean: 163.8 MB / 3.35 TB/s = 48.9 µs.
    assert at()["cache"] == pytest.approx(48.9e-6, rel=2e-3)


def test_prompt_and_decode_multiply_two_operations_a_weight() -> None:
    # 2 × 7.50 B operations at 989 TFLOP/s = 15.2 µs a token, attention of 1,250 tokens
    # 2 × 32 layers × 8,192 × 1,250 = 0.66 G: 0.66 µs.
    assert at()["decode"] == pytest.approx(15.85e-6, rel=1e-2)
    # A prompt of 1,000 for 500 tokens: twice 2 × 6.76 B (no head; the last layer once), half the
    # attention.
    assert at()["prefill"] == pytest.approx(2 * 13.7e-6 + 0.5e-6, rel=3e-2)


def test_two_gpus_halve_reading_and_add_an_all_reduce() -> None:
    two = at(where={"per_replica": 2})
    assert two["weights"] == pytest.approx(at()["weights"] / 2)
    # 2 a layer × 32 × 4,096 × 2 bytes × 2 × 1/2 = 524 kB over 450 GB/s; 2 prompt tokens a token.
    assert two["all_reduce"] == pytest.approx(3 * 524_288 / 450e9)
    assert all_reduce_s(from_config(llama().config), 1, H100) == 0.0


def test_memory_bounds_the_batch() -> None:
    model = llama()
    g, w = from_config(model.config), named("none", model)
    # 72 GB - 16.06 GB of weights for 1,536 tokens of 131,072 bytes each at 1k in, 1k out.
    work = Work(input_tokens=1024, output_tokens=1024, concurrency=1e6)
    published = cost(g, w, Deployment(gpu=H100), work, kv_bits=16)
    assert published.batch == pytest.approx((72e9 - 16.06e9) / (1536 * 131_072), rel=1e-2)
    # What is asked has the cache that vLLM would allocate: 439,888 tokens (`bench fit`).
    h = question(spec("model=llama-3.1-8b", "gpu=h100-sxm", "gpus=1"))
    assert h.row(1e6).batch == pytest.approx(439_888 / 1536, rel=1e-2)
    assert smallest_replica(g, w, H100, 8) == 1
    dense, experts, kept = split_weights(g, w)
    assert experts == 0.0
    assert kept - dense == pytest.approx(128_256 * 4096 * 2)


def test_units_follow_the_precision() -> None:
    model = llama()
    assert units_peak(H100, named("none", model)) == 989e12
    assert units_peak(H100, named("awq", model)) == 989e12  # weights alone are small
    assert units_peak(H100, named("fp8", model)) == 1979e12
    assert units_peak(replace(H100, fp8_tflops=None), named("fp8", model)) == 989e12
    assert units_peak(H100, named("nvfp4", model)) == 1979e12


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("engine=truth",), "engine=truth"),
        (("model.config={}",), "model.config"),
        (('engine.args=[--speculative-config, \'{"method":"ngram"}\']',), "speculative"),
    ],
)
def test_what_cannot_be_asked(words: tuple[str, ...], said: str) -> None:
    asked = spec("model=llama-3.1-8b", "gpu=h100-sxm", "gpus=1")
    if words[0].startswith("model.config"):
        asked = replace(asked, model=replace(asked.model, config={}))
    else:
        asked = spec("model=llama-3.1-8b", "gpu=h100-sxm", "gpus=1", *words)
    with pytest.raises(InputError, match=said):
        question(asked)


def test_replicas_share_the_load() -> None:
    one = question(
        spec("model=llama-3.1-8b", "gpu=h100-sxm", "gpus=4", "engine.args=[-dp, '4']")
    ).row(64)
    assert (one.replicas, one.batch) == (4, 16)
    assert math.isclose(one.terms[TERMS.index("all_reduce")], 0.0)


@pytest.mark.parametrize("key", ["weights", "kv_cache_dtype"])
def test_a_word_that_names_no_format_is_refused_by_those_that_plan(key: str) -> None:
    """Fit and predict answered with the model's own bytes; a run alone refused it."""
    asked = spec("model=llama-3.1-8b", "gpu=l4", "gpus=1", "engine=endpoint", f"engine.{key}=nope")
    with pytest.raises(InputError, match=rf"engine\.{key}: 'nope' names no format"):
        for_planning(asked, frozenset(), catalogue(()))
