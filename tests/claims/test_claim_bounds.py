"""Bounds of every metric that claims are about, and the shapes in which people publish them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from claims_support import HEAD, assessed, conf_sources, serving

from bench.claims.assess import assess
from bench.claims.load import claims_of
from bench.claims.metrics import CLAIM_METRICS, in_metric_unit, known_metric
from bench.values.errors import InputError
from bench.values.units import UnitError

H100: dict[str, Any] = {
    "model": "deepseek-r1-distill-llama-8b",
    "quant": "fp8",
    "gpu": "h100",
    "form_factor": "sxm",
    "gpus": 1,
    "host_cpu": None,
    "host_cpu_count": None,
    "engine": "vllm",
    "input_tokens": 2048,
    "output_tokens": 128,
    "concurrency": None,
    "speculative": False,
    "kv_bits": 8,
}


def verdict(metric: str, value: float, unit: str, **conditions: Any) -> str:
    stated = {"value": value, "unit": unit}
    claim = serving(metric=metric, stated=stated, **{**H100, **conditions})
    return next(c.verdict for c in assess(claim, conf_sources()).checks if c.kind == "bound")


@pytest.mark.parametrize(
    ("metric", "unit", "honest", "impossible"),
    [
        ("output_tokens_per_s", "tok/s", 4_000, 12_000),
        ("output_tokens_per_s_per_gpu", "tok/s/GPU", 4_000, 12_000),
        ("goodput_output_tokens_per_s", "tokens/s", 4_000, 12_000),
        ("input_tokens_per_s", "tok/s", 64_000, 200_000),
        ("total_tokens_per_s", "tok/s", 70_000, 210_000),
        ("requests_per_s", "requests/s", 30, 100),
        ("goodput_requests_per_s", "requests/s", 30, 100),
        ("output_tokens_per_s_per_user", "tok/s", 200, 1_000),
        ("ttft_p50_ms", "ms", 60, 5),
        ("tpot_p50_ms", "ms", 5, 1),
        ("e2e_p50_ms", "s", 1, 0.1),
        ("energy_per_output_token_j", "J/token", 0.16, 0.01),
        ("output_tokens_per_s_per_mw", "tokens/s/MW", 6e6, 1e8),
        ("power_mean_w", "W", 650, 2_000),
    ],
)
def test_every_metric_has_a_bound(metric: str, unit: str, honest: float, impossible: float) -> None:
    scope = {"power_scope": "gpu"} if metric == "power_mean_w" else {}
    assert verdict(metric, honest, unit, **scope) == "possible"
    assert verdict(metric, impossible, unit, **scope) == "impossible"


def test_power_beyond_the_gpus_is_no_fault_where_the_scope_is_unsaid() -> None:
    assert verdict("power_mean_w", 1_500, "W") == "not comparable"


def test_a_cost_has_a_bound_with_its_rent() -> None:
    """2 USD an hour over at most 11,000 tokens/s cannot be 0.01 USD a million tokens."""
    assert verdict("usd_per_mtok_output", 0.01, "USD/Mtok") == "untested"
    assert verdict("usd_per_mtok_output", 0.01, "USD/Mtok", usd_per_gpu_h=2) == "impossible"
    assert verdict("usd_per_mtok_output", 0.20, "USD/Mtok", usd_per_gpu_h=2) == "possible"


def test_throughput_at_a_given_interactivity_is_bounded_by_both() -> None:
    long = {"input_tokens": 1000, "output_tokens": 1000}
    assert verdict("output_tokens_per_s", 12_000, "tok/s", **long) == "possible"
    fast = {**long, "interactivity_tokens_per_s": 300}
    assert verdict("output_tokens_per_s", 12_000, "tok/s", **fast) == "impossible"


def test_phases_of_a_disaggregated_deployment_have_their_own_bounds() -> None:
    long = {"input_tokens": 8000, "output_tokens": 1000, "gpus": 8}
    assert verdict("output_tokens_per_s", 30_000, "tok/s", **long, phase="decode") == "possible"
    assert verdict("input_tokens_per_s", 400_000, "tok/s", **long, phase="prefill") == "possible"
    assert verdict("input_tokens_per_s", 4e6, "tok/s", **long, phase="prefill") == "impossible"


def test_speculation_needs_more_than_one_token_per_pass_and_says_how_many() -> None:
    alone = {"concurrency": 1, "input_tokens": 100, "output_tokens": 500}
    assert verdict("output_tokens_per_s", 1000, "tok/s", **alone) == "impossible"
    assert verdict("output_tokens_per_s", 1000, "tok/s", **{**alone, "speculative": None}) == (
        "not comparable"
    )
    three = {**alone, "speculative": True, "tokens_per_pass": 3.0}
    assert verdict("output_tokens_per_s", 1000, "tok/s", **three) == "possible"
    assert verdict("output_tokens_per_s", 2000, "tok/s", **three) == "impossible"


def test_a_data_set_may_share_prefixes_and_fixed_lengths_are_drawn_anew() -> None:
    assert verdict("output_tokens_per_s", 12_000, "tok/s") == "impossible"
    assert verdict("output_tokens_per_s", 12_000, "tok/s", prefix_reuse=True) == "possible"
    assert verdict("output_tokens_per_s", 12_000, "tok/s", dataset="ShareGPT") == "possible"


def test_fp4_has_its_own_peak() -> None:
    b200 = {"gpu": "b200", "quant": "nvfp4", "input_tokens": 2048, "output_tokens": 128}
    assert verdict("output_tokens_per_s", 30_000, "tok/s", **b200) == "possible"
    assert verdict("output_tokens_per_s", 30_000, "tok/s", **{**b200, "quant": "none"}) == (
        "impossible"
    )


def test_every_point_of_a_curve_is_held_against_its_own_bound() -> None:
    def curve(*points: tuple[int, float]) -> tuple[str, str]:
        says = {
            "kind": "serving",
            "conditions": {**H100, "engine_version": None},
            "metric": "output_tokens_per_s",
            "definition": "output tokens",
            "stated": None,
            "curve": [{"concurrency": c, "value": v} for c, v in points],
        }
        claim = claims_of("test", {**HEAD, "says": says}, "test.yaml")[0]
        found = assess(claim, conf_sources())
        return found.verdict, found.why

    assert curve((1, 150), (64, 3000))[0] == "not comparable"  # conditions unsaid, not forbidden
    verdict, why = curve((64, 3000), (1, 1500))
    assert verdict == "impossible"
    assert why.startswith("stated 1,500 tokens/s: ")  # not the first point, which the bound allows
    assert "what the bound allows" in why


def speedup(**more: Any) -> str:
    conditions = {**H100, "engine_version": "1", "concurrency": 8}
    says = {
        "kind": "speedup",
        "conditions": conditions,
        "baseline": {**conditions, "quant": "none"},
        "metric": "output_tokens_per_s",
        "definition": "output tokens",
        **more,
    }
    return assess(claims_of("t", {**HEAD, "says": says}, "t.yaml")[0], conf_sources()).verdict


def test_a_speedup_is_held_against_both_numbers_and_both_bounds() -> None:
    stated = {"value": 2.7, "unit": "x"}
    assert speedup(stated=stated) == "untested"
    assert speedup(stated=stated, value=540, baseline_value=200) == "untested"
    assert speedup(stated=stated, value=540, baseline_value=400) == "refuted"
    assert speedup(stated={"value": 170, "unit": "%"}, value=540, baseline_value=200) == "untested"
    assert speedup(stated={"value": 20, "unit": "x"}, baseline_value=1500) == "impossible"


def test_each_side_of_a_speedup_is_run_on_its_own_engine() -> None:
    """Both would have run on bench's default; one engine in two spellings is no difference."""
    here = {**H100, "model": "llama-3.1-8b", "concurrency": 8, "engine_version": "1.0"}
    says = {
        "kind": "speedup",
        "conditions": {**here, "engine": "TensorRT-LLM"},
        "baseline": {**here, "engine": "mk1"},
        "metric": "output_tokens_per_s",
        "definition": None,
        "stated": {"value": 2, "unit": "x"},
    }
    every = replace(conf_sources(), engines=("vllm", "trtllm"))
    found = assess(claims_of("t", {**HEAD, "says": says}, "t.yaml")[0], every)
    first, second, _ = (found.settle_with or "").split("; ")
    assert "engine=endpoint engine.base_url=http://HOST:PORT/v1" in first
    assert "engine=trtllm" in second
    same = {**says, "baseline": {**here, "engine": "trtllm", "engine_version": "v1.0"}}
    found = assess(claims_of("t", {**HEAD, "says": same}, "t.yaml")[0], every)
    assert "no condition differs" in found.why


def test_a_number_that_was_put_in_confirms_nothing() -> None:
    def arithmetic(value: float, **terms: float) -> str:
        says = {
            "kind": "arithmetic",
            "stated": {"value": value, "unit": "x"},
            "calculations": [
                {
                    "what": "x",
                    "formula": "a / b",
                    "terms": {k: {"value": v, "unit": "1"} for k, v in terms.items()},
                }
            ],
        }
        return assess(claims_of("t", {**HEAD, "says": says}, "t.yaml")[0], conf_sources()).verdict

    assert arithmetic(2.7, a=2.7, b=1) == "untested"
    assert arithmetic(2.7, a=5.4, b=2) == "confirmed"
    assert arithmetic(1.35, a=2.7, b=2) == "confirmed"
    assert arithmetic(1.36, a=2.7, b=2) == "confirmed"  # 2.7 is anything from 2.65 to 2.75
    # 1.4 is what 1.35 to 1.45 are rounded to; it was refuted while only inputs were rounded.
    assert arithmetic(1.40, a=2.7, b=2) == "confirmed"
    assert arithmetic(1.5, a=2.7, b=2) == "refuted"


def test_memory_is_impossible_only_where_nothing_is_left_to_try() -> None:
    big = {"model": "deepseek-r1", "gpu": "l4", "form_factor": None, "gpus": 1, "quant": None}
    stated = {"value": 1, "unit": "tok/s"}
    host = assess(serving(stated=stated, **{**H100, **big, "engine": None}), conf_sources())
    assert host.checks[0].verdict == "untested"
    assert any("host memory or disk" in line for line in host.checks[0].evidence)
    none = serving(stated=stated, **{**H100, **big, "engine": None, "offload": False})
    assert assess(none, conf_sources()).verdict == "impossible"


def test_what_only_unknown_formats_could_hold_is_said_so() -> None:
    two = {"model": "deepseek-r1-distill-llama-70b", "gpu": "l4", "form_factor": None, "gpus": 1}
    claim = serving(**{**H100, **two, "quant": None, "engine": "vllm"})
    check = assess(claim, conf_sources()).checks[0]
    assert check.verdict == "untested"
    assert any("not in the formats and engines known here" in e for e in check.evidence)
    why = assess(claim, conf_sources()).why
    assert why.endswith("; memory: not in the formats and engines known here")


def test_a_format_that_can_be_made_is_known_here() -> None:
    """iq1_s of 70 B is 15.3 GB for llama.cpp: 24 GB hold it, and vLLM's own formats do not fit."""
    one = {"model": "deepseek-r1-distill-llama-70b", "gpu": "l4", "form_factor": None}
    for engine, verdict in ((None, "possible"), ("Llama.cpp", "possible"), ("vLLM", "untested")):
        claim = serving(**{**H100, **one, "gpus": 1, "quant": None, "engine": engine})
        check = assess(claim, conf_sources()).checks[0]
        assert check.verdict == verdict, engine
        made = any("iq1_s, 15.3 GB" in e and e.endswith("fits") for e in check.evidence)
        assert made == (verdict == "possible")


def test_a_file_of_another_engine_is_not_what_a_claim_is_about() -> None:
    two = {"model": "deepseek-r1", "gpu": "a100-80gb", "form_factor": "sxm", "gpus": 2}
    for engine, verdict in (("vllm", "untested"), ("TRT-LLM", "untested"), ("ollama", "possible")):
        claim = serving(**{**H100, **two, "quant": None, "engine": engine})
        assert assess(claim, conf_sources()).checks[0].verdict == verdict


def test_a_verdict_of_memory_says_what_it_rests_on() -> None:
    big = {"model": "deepseek-r1", "gpu": "l4", "form_factor": None, "gpus": 1, "quant": "Q4_K_M"}
    slow = {"value": 0.1, "unit": "tok/s"}
    host = assess(serving(stated=slow, **{**H100, **big, "concurrency": 1}), conf_sources())
    assert host.verdict == "untested"
    assert "more than the 24 GB of the GPUs; only with host memory or disk" in host.why
    alone = assess(
        serving(stated=slow, **{**H100, **big, "quant": None, "offload": False}), conf_sources()
    )
    assert alone.verdict == "impossible"
    assert "(1.5625 bits a weight) it takes 131" in alone.why
    assert "awq" not in alone.why


def test_metrics_and_units_come_from_one_list() -> None:
    assert in_metric_unit(5, "tok/s", "output_tokens_per_s") == 5
    assert in_metric_unit(0.36, "kWh/Mtok", "energy_per_output_token_j") == pytest.approx(1.296)
    assert in_metric_unit(1, "tokens/J", "output_tokens_per_s_per_w") == 1
    with pytest.raises(UnitError):
        in_metric_unit(1, "W", "output_tokens_per_s")
    with pytest.raises(ValueError, match="Did you mean 'output_tokens_per_s'"):
        known_metric("output_token_per_s")
    with pytest.raises(InputError, match="Did you mean"):
        assess(serving(metric="outputs_tokens_per_s"), conf_sources())
    assert all(m.unit for m in CLAIM_METRICS.values())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("coco-local-llm", "refuted"),
        ("vllm-peak-below-mean", "refuted"),
        ("mi300x-314", "refuted"),
        ("tensorwave-two-of-one", "not comparable"),
        ("amd-mi300x-1.6", "not comparable"),
        ("nvidia-h100-2x", "untested"),
        ("lightllm-20", "not comparable"),
        ("lattice-withdrawn", "not comparable"),
        ("bench-r1-impossible", "refuted"),
    ],
)
def test_public_claims_that_did_not_last(name: str, expected: str) -> None:
    assert assessed(f"corrected/{name}").verdict == expected
