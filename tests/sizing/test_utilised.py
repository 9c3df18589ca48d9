"""MBU, MFU and the plan of a load point, against a calculation by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from point_support import Shot, even, point

from bench.measure.metrics import Metric, measure_all, steady_parts, whole_parts
from bench.predict.question import question
from bench.sizing.headroom import served
from bench.sizing.utilised import against_hardware, speculation_finding
from bench.values.errors import InputError
from bench.values.spec import RunSpec, VllmSpec

CONF = Path(__file__).parents[2] / "conf"


def conf(group: str, name: str) -> Any:
    return OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))


@pytest.fixture
def llama_8b(run_spec: Callable[..., RunSpec]) -> RunSpec:
    """The 8 B Llama in bfloat16 on one H100: 8.03 B parameters, 15.01 GB of them read per step."""
    model = conf("model", "deepseek-r1-distill-llama-8b")
    return run_spec(model=model, gpu=conf("gpu", "h100-sxm"), gpus=1)


RATE = "output_tokens_per_s"
ONE_STREAM: dict[str, Any] = {"ttft": 10, "gap": 10, "tokens": 100, "rest": 0.001}


def shifted(shots: list[Shot], by_ms: float) -> list[Shot]:
    """The same requests, later."""
    return [
        replace(s, sent=s.sent + by_ms, end=s.end + by_ms, chunks=[c + by_ms for c in s.chunks])
        for s in shots
    ]


def judged(spec: RunSpec, gap_ms: float, **counters: Any) -> tuple[dict[str, Metric], Any]:
    """One stream of 100 tokens a request, one every `gap_ms`."""
    shots = even(8, ttft=gap_ms, gap=gap_ms, tokens=100, rest=0.001)
    parts = steady_parts([point(shots, **counters)], spec.workload.slo, 1)
    metrics = measure_all(parts, whole_parts([point(shots)], spec.workload.slo, 1))
    return against_hardware(spec, parts, metrics)


def test_a_hundred_tokens_per_second_of_one_stream(llama_8b: RunSpec) -> None:
    """15.01 GB of weights and 58 tokens' cache of 131 kB, 100 times a second, of 3,350 GB/s."""
    found, finding = judged(llama_8b, gap_ms=10)
    expected = 100 * (15.01e9 + 58 * 131_072) / 3350e9
    assert found["mbu"].value == pytest.approx(expected, rel=0.01)
    assert found["mbu"].arose == "modelled"
    assert found["plan_tokens_per_s"].value == pytest.approx(3350 / 15.01, rel=0.01)
    # Two operations per active weight and token, prompt tokens included, of 989 TFLOP/s.
    assert found["mfu"].value == pytest.approx(2 * 7.5e9 * 108 / 989e12, rel=0.05)
    assert finding.severity == "pass"


def test_faster_than_memory_can_be_read_is_no_record_but_a_fault(llama_8b: RunSpec) -> None:
    """500 tokens/s of one stream need 7,500 GB/s."""
    _, finding = judged(llama_8b, gap_ms=2)
    assert finding.severity == "fail"
    assert finding.figure == pytest.approx(500 / (3414 / 14.96), rel=0.02)
    assert "is not what was said" in finding.text


def test_hardware_without_published_limits_has_no_plan(run_spec: Callable[..., RunSpec]) -> None:
    found, finding = judged(run_spec(), gap_ms=10)
    assert {name: m.value for name, m in found.items()} == {
        "mbu": None,
        "mfu": None,
        "plan_tokens_per_s": None,
        "bound_tokens_per_s": None,
        "engine_mbu": None,
        "engine_mfu": None,
    }
    assert finding.severity == "info"


def counted(**rises: float) -> dict[str, Any]:
    """What an engine's counters showed before and after ten seconds of load."""
    rises["read_ns"] = 10e9
    return {
        "engine_before": dict.fromkeys(rises, 5.0),
        "engine_after": {name: 5.0 + rise for name, rise in rises.items()},
    }


def test_what_the_engine_counted_stands_beside_what_the_geometry_says(llama_8b: RunSpec) -> None:
    """3.35 TB read in 10 s are 335 GB/s of 3,350; 98.9 TFLOP in 10 s are 9.89 of 989 TFLOP/s."""
    counters = counted(
        estimated_read_bytes_per_gpu_total=3.35e12, estimated_flops_per_gpu_total=98.9e12
    )
    found, _ = judged(llama_8b, gap_ms=10, **counters)
    assert found["engine_mbu"].value == pytest.approx(0.1)
    assert found["engine_mfu"].value == pytest.approx(0.01)
    assert found["engine_mbu"].arose == "modelled"


def test_engines_in_parallel_each_count_per_gpu_of_their_own(llama_8b: RunSpec) -> None:
    """Two engines that read 335 GB/s a GPU each: counters add up to 670, a GPU's rate stays."""
    two = replace(llama_8b, gpus=2, engine=VllmSpec(args=("--data-parallel-size", "2")))
    counters = counted(
        estimated_read_bytes_per_gpu_total=6.7e12, estimated_flops_per_gpu_total=197.8e12
    )
    found, _ = judged(two, gap_ms=10, **counters)
    assert found["engine_mbu"].value == pytest.approx(0.1)
    assert found["engine_mfu"].value == pytest.approx(0.01)


def test_engines_in_parallel_each_read_all_weights(llama_8b: RunSpec) -> None:
    """Two streams of 100 tokens/s on two engines: each GPU reads what one reads for one stream; a
    pair in tensor parallel shares the reading and uses half."""
    apart = replace(llama_8b, gpus=2, engine=VllmSpec(args=("--data-parallel-size", "2")))
    two = [s for start in (0.0, 0.5) for s in shifted(even(8, **ONE_STREAM), start)]
    parts = steady_parts([point(two, concurrency=2)], apart.workload.slo, 2)
    metrics = measure_all(parts, whole_parts([point(two, concurrency=2)], apart.workload.slo, 2))
    of_one, _ = judged(llama_8b, gap_ms=10)
    replicas, _ = against_hardware(apart, parts, metrics)
    together, _ = against_hardware(replace(apart, engine=VllmSpec()), parts, metrics)
    mbu, plan, rate = of_one["mbu"].value, of_one["plan_tokens_per_s"].value, metrics[RATE]
    assert mbu is not None
    assert plan is not None
    assert rate.value is not None
    assert replicas["mbu"].value == pytest.approx(mbu, rel=0.01)
    assert together["mbu"].value == pytest.approx(mbu / 2, rel=0.01)
    assert replicas["plan_tokens_per_s"].value == pytest.approx(2 * plan, rel=0.01)
    assert metrics[f"{RATE}_per_gpu"].value == pytest.approx(rate.value / 2)


def test_a_counter_that_stands_still_counts_nothing(llama_8b: RunSpec) -> None:
    found, _ = judged(llama_8b, gap_ms=10, **counted(estimated_flops_per_gpu_total=0.0))
    assert found["engine_mfu"].value is None
    assert "--enable-mfu-metrics" in str(found["engine_mfu"].reason)


def test_prompt_tokens_from_the_prefix_cache_were_not_computed(llama_8b: RunSpec) -> None:
    """All 8 prompt tokens of each request reused: 100 instead of 108 tokens are computed."""
    fresh, _ = judged(llama_8b, gap_ms=10)
    hits = counted(prefix_cache_hits_total=64.0, prefix_cache_queries_total=64.0)
    reused, _ = judged(llama_8b, gap_ms=10, **hits)
    assert fresh["mfu"].value is not None
    assert reused["mfu"].value == pytest.approx(fresh["mfu"].value * 100 / 108, rel=0.01)


def test_a_dense_model_beyond_its_memory_is_a_warning_below_the_bound(
    run_spec: Callable[..., RunSpec],
) -> None:
    """Of a server that somebody else started drafting is possible, so nothing is exceeded; but what
    memory cannot deliver has a cause that nobody named (MBU 299 % was once trusted)."""
    spec = run_spec(
        model=conf("model", "llama-3.1-8b"),
        gpu=conf("gpu", "l4"),
        gpus=1,
        engine="endpoint",
        engine_keys={"expects_model": "llama-3.1-8b"},
    )
    shots = [shot for _ in range(4) for shot in even(8, ttft=20, gap=2, tokens=100, rest=0.001)]
    parts = steady_parts([point(shots, concurrency=4)], spec.workload.slo, 1)
    measured = measure_all(parts, whole_parts([point(shots, concurrency=4)], spec.workload.slo, 1))
    found, finding = against_hardware(spec, parts, measured)
    assert found["mbu"].value is not None
    assert found["mbu"].value > 2
    assert finding.severity == "warn"
    assert "drafts tokens" in finding.text


def at_a_server(run_spec: Callable[..., RunSpec], **keys: Any) -> RunSpec:
    """The 8 B Llama of 8.03 B parameters at an address, on one L4 (300 GB/s)."""
    return run_spec(
        model=conf("model", "llama-3.1-8b"),
        gpu=conf("gpu", "l4"),
        gpus=1,
        engine="endpoint",
        engine_keys={"expects_model": "llama-3.1-8b", **keys},
    )


def test_a_format_that_the_model_is_not_in_leaves_no_plan(
    run_spec: Callable[..., RunSpec],
) -> None:
    """`engine.weights` moved the bound alone: MBU read twice the bytes of a server of FP8."""
    spec = at_a_server(run_spec, weights="fp8")
    found, finding = judged(spec, gap_ms=40)
    for name in ("mbu", "mfu", "plan_tokens_per_s"):
        assert found[name].value is None
        assert "quant=NAME" in str(found[name].reason)
    assert found["bound_tokens_per_s"].value
    assert finding.severity == "pass"
    with pytest.raises(InputError, match="quant=NAME"):
        question(spec)
    own, _ = judged(at_a_server(run_spec, weights="BF16"), gap_ms=80)
    assert own["mbu"].value == pytest.approx(12.5 * 15.01 / 300, rel=0.02)


def test_a_servers_cache_counts_in_the_format_that_was_named(
    run_spec: Callable[..., RunSpec],
) -> None:
    """58 tokens of 131,072 bytes in 16 bits, half of it in FP8, 12.5 times a second."""
    native, fp8 = (
        judged(at_a_server(run_spec, kv_cache_dtype=word), gap_ms=80)[0]["mbu"].value
        for word in (None, "fp8")
    )
    assert native is not None
    assert fp8 is not None
    assert native - fp8 == pytest.approx(12.5 * 58 * 65_536 / 300e9, rel=0.02)


def test_a_latent_cache_in_fp8_keeps_its_scales(run_spec: Callable[..., RunSpec]) -> None:
    """DeepSeek V3.2's fp8_ds_mla: 656 bytes for the 576 elements of a layer (vLLM 0.32)."""
    spec = run_spec(
        model=conf("model", "deepseek-v3.2"),
        gpu=conf("gpu", "h200-sxm"),
        gpus=8,
        engine="endpoint",
        engine_keys={"expects_model": "deepseek-v3.2", "kv_cache_dtype": "fp8"},
    )
    assert served(spec).kv_bytes == pytest.approx(656 / 576, rel=0.01)


def test_of_a_server_whose_model_nobody_named_there_is_no_bound(
    run_spec: Callable[..., RunSpec],
) -> None:
    """The composed model is not what it serves: such a run was once 1 % of the bound of `tiny`."""
    spec = run_spec(
        model=conf("model", "llama-3.1-8b"), gpu=conf("gpu", "l4"), gpus=1, engine="endpoint"
    )
    shots = even(40, ttft=20, gap=2, tokens=30, rest=2)
    parts = steady_parts([point(shots)], spec.workload.slo, 1)
    measured = measure_all(parts, whole_parts([point(shots)], spec.workload.slo, 1))
    found, finding = against_hardware(spec, parts, measured)
    assert found["mbu"].value is None
    assert found["bound_tokens_per_s"].value is None
    assert "which model the server serves was not said" in finding.text
    with pytest.raises(InputError, match="nothing to predict"):
        question(spec)


def test_experts_routed_alike_may_read_less_than_an_even_router_would(
    run_spec: Callable[..., RunSpec],
) -> None:
    """64 streams of a mixture of experts: even routing reads nearly all experts at each step.

    Tokens that all choose the same 8 of 128 read a fraction; a rate between the two bounds is no
    fault, though MBU, which assumes even routing, exceeds 1.
    """
    spec = run_spec(model=conf("model", "qwen3-30b-a3b"), gpu=conf("gpu", "h100-sxm"), gpus=1)
    shots = [shot for _ in range(64) for shot in even(8, ttft=12, gap=12, tokens=100, rest=0.001)]
    parts = steady_parts([point(shots, concurrency=64)], spec.workload.slo, 1)
    whole = whole_parts([point(shots, concurrency=64)], spec.workload.slo, 1)
    found, finding = against_hardware(spec, parts, measure_all(parts, whole))
    assert found["mbu"].value is not None
    assert found["mbu"].value > 1.02
    assert finding.severity == "pass"


def drafted(passes: float, drafts: float, accepted: float) -> dict[str, Any]:
    """What vLLM counts of speculative decoding over a load point."""
    names = ("drafts", "draft_tokens", "accepted_tokens")
    told = dict(zip(names, (passes, drafts, accepted), strict=True))
    return {
        "engine_before": dict.fromkeys([f"spec_decode_num_{n}_total" for n in names], 0.0),
        "engine_after": {f"spec_decode_num_{n}_total": v for n, v in told.items()},
    }


def test_several_tokens_a_pass_are_no_fault(llama_8b: RunSpec) -> None:
    """500 tokens/s of one stream in 200 passes/s: 3 drafted, 1.5 accepted, 2.5 tokens a pass.

    Without the engine's counters this run was failed as physically false.
    """
    found, finding = judged(llama_8b, gap_ms=2, **drafted(320, 960, 480))
    assert finding.severity == "pass"
    assert finding.figure == pytest.approx(500 / 2.5 / (3414 / 14.96), rel=0.02)
    assert found["mbu"].value == pytest.approx(200 * (15.01e9 + 58 * 131_072) / 3350e9, rel=0.01)
    # Of the four tokens that a pass computes 2.5 are seen.
    assert found["mfu"].value == pytest.approx(5 * 2 * 7.5e9 * 108 / 989e12 * 4 / 2.5, rel=0.05)
    _, false = judged(llama_8b, gap_ms=2, **drafted(640, 960, 160))  # 1.25 a pass: 400 passes/s
    assert false.severity == "fail"


def test_drafting_that_nobody_counts_has_no_plan(llama_8b: RunSpec) -> None:
    args = ("--speculative-config", '{"method": "mtp"}')
    spec = replace(llama_8b, engine=VllmSpec(args=args))
    found, finding = judged(spec, gap_ms=2)
    assert (finding.severity, found["mbu"].value) == ("info", None)
    assert "does not publish" in finding.text


def test_a_stored_run_whose_flags_are_refused_today_is_shown_with_a_note(
    llama_8b: RunSpec,
) -> None:
    run = replace(llama_8b, engine=VllmSpec(args=("--kv-cache-dtype", "fp9")))
    found, note = judged(run, gap_ms=2)
    assert note.severity == "info"
    assert "--kv-cache-dtype 'fp9' is unknown" in note.text
    assert found["bound_tokens_per_s"].value is None


def test_what_is_said_of_drafting(llama_8b: RunSpec) -> None:
    shots = even(8, ttft=2, gap=2, tokens=100, rest=0.001)
    parts = steady_parts([point(shots, **drafted(320, 960, 480))], llama_8b.workload.slo, 1)
    said = speculation_finding(parts)
    assert said is not None
    assert (said.figure, "2.50 tokens a pass" in said.text) == (0.5, True)
    plain = steady_parts([point(shots)], llama_8b.workload.slo, 1)
    assert speculation_finding(plain) is None
