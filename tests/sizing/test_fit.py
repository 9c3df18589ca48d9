"""Verdicts of the hardware claims, memory by hand, and the alternatives."""

from __future__ import annotations

import dataclasses
import json
import shlex
from dataclasses import replace

import pytest
from fit_support import catalogue, run_of

from bench.config.compose import compose, run_spec
from bench.preflight import checked
from bench.sizing.against_measured import MeasuredMemory, compare_fit
from bench.sizing.alternatives import alternatives
from bench.sizing.fit import fit, suggested_max_model_len
from bench.sizing.geometry import Matrix
from bench.sizing.quantisations import from_hf
from bench.sizing.report import FitReport
from bench.sizing.sharding import Layout, layout
from bench.values.engine_flags import EngineFlags, parse
from bench.values.errors import InputError
from bench.values.spec import VllmSpec
from bench.values.vllm_defaults import batch_limits

GIB = 1024**3
REQUIRED = {
    "fits",
    "reasons",
    "weights_gib_per_gpu",
    "kv_gib_per_gpu",
    "other_gib_per_gpu",
    "budget_gib_per_gpu",
    "max_context_tokens",
    "max_concurrency",
    "plan_tokens_per_s_batch1",
    "plan_tokens_per_s",
    "alternatives",
}


def proposed(report: FitReport) -> set[tuple[str, str, str, int]]:
    return {(a.model, a.quant, a.gpu, a.gpus) for a in report.alternatives}


@pytest.mark.parametrize("quant", ["none", "awq"])
def test_r1_on_two_a100_does_not_fit_and_what_does(quant: str) -> None:
    report = checked(run_of("deepseek-r1", quant, "a100-80gb-sxm", 2), catalogue())
    assert not report.fits
    assert "exceed the 71.3 GiB" in report.reasons[0]
    assert {
        ("deepseek-r1", "awq", "a100-80gb-sxm", 8),
        ("deepseek-r1", "fp8", "h200-sxm", 8),
        ("deepseek-r1-distill-llama-70b", "none", "a100-80gb-sxm", 2),
    } <= proposed(report)


def test_r1_fits_where_it_is_published_to() -> None:
    for quant, gpu in (("awq", "a100-80gb-sxm"), ("awq", "h100-sxm"), ("fp8", "h200-sxm")):
        assert fit(run_of("deepseek-r1", quant, gpu, 8)).fits
    assert not fit(run_of("deepseek-r1", "awq", "a100-80gb-sxm", 4)).fits
    assert not fit(run_of("deepseek-r1", "fp8", "h100-sxm", 8)).fits
    awq = fit(run_of("deepseek-r1", "awq", "a100-80gb-sxm", 1))
    assert 336 <= awq.weights_gb <= 364


def test_glm_on_two_a100_needs_four() -> None:
    report = checked(run_of("glm-4.7", "awq", "a100-80gb-sxm", 2), catalogue())
    assert not report.fits
    assert 179 <= report.weights_gb <= 190
    assert ("glm-4.7", "awq", "a100-80gb-sxm", 4) in proposed(report)
    assert not checked(run_of("glm-4.7", "none", "a100-80gb-sxm", 2), catalogue()).fits


def test_scout_at_ten_million_tokens_does_not_fit_four_h100() -> None:
    report = checked(
        run_of("llama-4-scout", "none", "h100-sxm", 4, max_model_len=10_000_000), catalogue()
    )
    assert not report.fits
    assert "10,000,000 tokens" in report.reasons[0]
    assert report.weights_gib_per_gpu < (report.budget_gib_per_gpu or 0)  # the weights do fit
    assert round(report.weights_gb / 10) == 22  # 218 GB
    assert round(report.kv_gb_needed) == 493
    assert round(report.kv_gb_if_no_layer_forgets / 1e3, 2) == 1.97
    # vLLM keeps the whole context of chunked layers by default: 1.97 TB are on no 16 GPUs
    assert {a.kind for a in report.alternatives} == {"context"}
    assert any("keeps the whole context" in note for note in report.notes)


def test_scout_in_four_bits_is_on_one_gpu() -> None:
    report = fit(run_of("llama-4-scout", "gptq", "a100-80gb-sxm", 1))
    assert report.fits
    # 105.7 B weights at 4 + 16/128 bits = 54.5 GB; embeddings, head, routers and vision tower in
    # bfloat16 add 5.9 GB.
    assert report.weights_gb == pytest.approx(54.5 + 5.9, abs=0.1)
    assert not fit(run_of("llama-4-scout", "fp8", "h100-sxm", 1)).fits


def test_report_has_the_promised_keys_and_is_json() -> None:
    data = fit(run_of("deepseek-r1", "awq", "a100-80gb-sxm", 2)).to_json()
    assert set(data) >= REQUIRED
    assert json.loads(json.dumps(data)) == data


def test_kv_space_is_budget_less_weights_less_other() -> None:
    r = fit(run_of("deepseek-r1-distill-llama-70b", "none", "a100-80gb-sxm", 2))
    budget = (80.0 - 0.8) * 0.9  # of what CUDA reports, not NVML
    assert r.budget_gib_per_gpu == pytest.approx(budget)
    assert r.kv_gib_per_gpu == pytest.approx(budget - r.weights_gib_per_gpu - r.other_gib_per_gpu)
    # 163,840 bytes per token and GPU, in blocks of 16, one of which vLLM holds back for itself
    blocks = int(r.kv_gib_per_gpu * GIB // (163_840 * 16))
    assert r.max_context_tokens == (blocks - 1) * 16
    assert r.max_concurrency == (blocks - 1) // 128
    # 131,072 tokens do not fit, so the engine has to be told
    assert (
        suggested_max_model_len(
            run_of("deepseek-r1-distill-llama-70b", "none", "a100-80gb-sxm", 2), r
        )
        == r.max_context_tokens
    )


def test_host_without_gpu_is_held_against_its_memory() -> None:
    run = run_of("tiny", "none", "cpu", 0, input_tokens=256, output_tokens=64)
    r = fit(run, host_memory_bytes=8 * GIB)
    assert r.fits
    # 4,196,608 float32 weights; 4,096 bytes per token; 1 GiB in blocks of 128 (seen on vLLM)
    assert r.weights_gib_per_gpu * GIB == 4_196_608 * 4
    assert r.kv_tokens == 262_144
    assert r.plan_tokens_per_s is None
    small = fit(run, host_memory_bytes=GIB)
    assert not small.fits
    assert "on this host" in small.reasons[0]


@pytest.mark.parametrize("quant", ["gptq", "awq"])
def test_four_bit_weights_on_a_host_have_a_cache_of_16_bits(quant: str) -> None:
    """As the engine serves them there, whose kernels know no float32: seen on vLLM, 524,288."""
    run = run_of("tiny", quant, "cpu", 0, input_tokens=256, output_tokens=64)
    assert fit(run, host_memory_bytes=8 * GIB).kv_tokens == 524_288


def test_the_kernels_of_this_host_decide_the_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    """INT8 is served in bfloat16 where the processor has AMX, else in float32: half the cache."""
    run = run_of("tiny", "int8", "cpu", 0)
    for flags, tokens in (({"avx512f", "amx_int8"}, 524_288), ({"avx2"}, 262_144)):
        monkeypatch.setattr("bench.preflight.cpu_flags", lambda flags=flags: frozenset(flags))
        assert checked(run, catalogue()).kv_tokens == tokens


def test_divisibility() -> None:
    # 28 heads over 8 GPUs
    seven = fit(run_of("deepseek-r1-distill-qwen-7b", "none", "a100-80gb-sxm", 8))
    assert "28 attention heads" in seven.reasons[0]
    # Qwen3-30B's experts are 768 wide: 96 per GPU is no multiple of an FP8 block of 128
    run = run_of("qwen3-30b-a3b", "none", "h100-sxm", 8)
    block = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    model = dataclasses.replace(
        run.model, config={**run.model.config, "quantization_config": block}
    )
    cut = fit(dataclasses.replace(run, model=model))
    assert "768/8 = 96" in cut.reasons[0]
    whole = dataclasses.replace(
        run, model=model, engine=VllmSpec(args=("--enable-expert-parallel",))
    )
    assert fit(whole).fits


def test_layouts() -> None:
    assert layout(8, EngineFlags()) == Layout(tp=8, pp=1)
    assert layout(16, EngineFlags()) == Layout(tp=8, pp=2)
    assert layout(4, parse(VllmSpec(args=("-pp", "2")))) == Layout(tp=2, pp=2)
    assert layout(2, parse(VllmSpec(args=("--data-parallel-size", "2")))) == Layout(dp=2)
    assert layout(8, EngineFlags(data_parallel_size=2)) == Layout(tp=4, dp=2)
    for gpus, flags in (
        (8, EngineFlags(tensor_parallel_size=4)),
        (1, EngineFlags(data_parallel_size=2)),
        (3, EngineFlags(data_parallel_size=2)),
        (1, EngineFlags(tensor_parallel_size=2)),
    ):
        with pytest.raises(InputError, match="gpus"):
            layout(gpus, flags)


def test_pipeline_stages_hold_every_weight_once() -> None:
    one = fit(run_of("deepseek-r1", "awq", "h200-sxm", 8))
    two = fit(run_of("deepseek-r1", "awq", "h200-sxm", 16))
    assert two.weights_gb == pytest.approx(one.weights_gb, rel=1e-9)


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({}, 256 * 512 * 2),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 256 * 512 + 2 * 4 * 4),
        # 4 bits; per group of 128 two bytes of scale and half a byte of zero point
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, 256 * 512 // 2 + 256 * 4 * 2.5),
    ],
)
def test_bytes_of_one_matrix(config: dict[str, object], size: float) -> None:
    matrix = Matrix(
        name="model.layers.0.mlp.up_proj", role="dense_ffn", rows=256, cols=512, quantisable=True
    )
    assert from_hf(config, "x").bytes(matrix, 256, 512, 2) == size


def test_unquantised_modules_are_matched_by_part_or_expression() -> None:
    gate = Matrix(name="model.layers.3.mlp.gate", role="router", rows=8, cols=8, quantisable=True)
    wide = dataclasses.replace(gate, name="model.layers.3.mlp.gate_proj")
    by_part = from_hf({"quant_method": "awq", "modules_to_not_convert": ["mlp.gate"]}, "x")
    assert not by_part.quantises(gate)
    assert by_part.quantises(wide)
    by_expression = from_hf(
        {
            "quant_method": "compressed-tensors",
            "config_groups": {"g": {"weights": {"num_bits": 8, "strategy": "channel"}}},
            "ignore": [r"re:.*mlp\.gate$"],
        },
        "x",
    )
    assert not by_expression.quantises(gate)
    assert by_expression.quantises(wide)
    # int8 with one float32 scale per row
    assert by_expression.bytes(wide, 8, 8, 2) == 64 + 32


def test_unknown_method_is_refused() -> None:
    with pytest.raises(InputError, match="exl3"):
        from_hf({"quant_method": "exl3"}, "x")


def test_a100_keeps_the_small_batch_defaults() -> None:
    assert batch_limits(80.0, "a100-80gb-sxm") == (2048, 256)
    assert batch_limits(79.6, "h100-sxm") == (8192, 1024)
    assert batch_limits(179.1, "b200-sxm") == (16384, 1024)


def test_no_alternatives_for_what_fits() -> None:
    run = run_of("deepseek-r1", "awq", "a100-80gb-sxm", 8)
    assert alternatives(run, fit(run), catalogue()) == ()


def test_a_host_without_gpus_is_told_which_would_do() -> None:
    run = run_of("glm-4.7", "awq", "cpu", 0)
    report = fit(run, host_memory_bytes=32 * GIB)
    assert not report.fits
    found = alternatives(run, report, catalogue())
    assert found
    assert all(catalogue().gpus[a.gpu].kind == "gpu" for a in found)


def test_every_sequence_slot_needs_a_block_of_recurrent_state() -> None:
    """vLLM refuses otherwise: "max_num_seqs (1024) exceeds available Mamba cache blocks (939)"."""
    run = run_of("qwen3-next-80b", "fp8", "h100-sxm", 2, gpu_memory_utilization=0.6)
    (reason,) = fit(run).reasons
    assert "1,024 sequence slots" in reason
    words = ("--max-num-seqs", reason.rpartition(",")[2].rstrip("]"))
    assert isinstance(run.engine, VllmSpec)
    fewer = replace(run, engine=replace(run.engine, args=words))
    assert fit(fewer).fits


@pytest.mark.parametrize("limit", [("--max-num-seqs=1024",), ("--max_num_seqs", "1024")])
def test_the_remedy_for_slots_can_be_pasted_and_replaces_either_form(
    limit: tuple[str, ...],
) -> None:
    own = '--override-generation-config={"temperature":0,"top_p":1}'
    kept = (own, *limit, "--served-model-name", "true")
    run = run_of("qwen3-next-80b", "fp8", "h100-sxm", 2, gpu_memory_utilization=0.6)
    assert isinstance(run.engine, VllmSpec)
    (reason,) = fit(replace(run, engine=replace(run.engine, args=kept))).reasons
    (word,) = shlex.split(reason.partition(": set ")[2])
    args = run_spec(compose(("model=tiny", word)), detect_gpus=False).engine.args
    assert args[:-1] == (own, "--served-model-name", "true", "--max-num-seqs")
    assert fit(replace(run, engine=replace(run.engine, args=args))).fits


def test_errors_of_prediction() -> None:
    report = fit(run_of("tiny", "none", "cpu", 0), host_memory_bytes=8 * GIB)
    weights = 4_196_608 * 4 / GIB
    found = compare_fit(
        report, MeasuredMemory(weights_gib=weights * 1.25, kv_tokens=262_144, peak_gib=None)
    )
    assert [e.error for e in found] == [pytest.approx(-0.2), 0.0, None]
