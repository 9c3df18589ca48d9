"""Plans against published roofs and hand-worked sums."""

from __future__ import annotations

import pytest
from fit_support import catalogue, run_of

from bench.sizing.bound import Work, held, machine, user_bound
from bench.sizing.fit import fit
from bench.sizing.headroom import has_checkpoint, served
from bench.sizing.precision import precision_of
from bench.sizing.roofline import (
    decode_expectation,
    decode_flops,
    expert_coverage,
    peak_flops,
    utilisation,
    weight_read_bytes,
)


@pytest.mark.parametrize(("quant", "bound"), [("none", 29), ("int8", 58), ("gptq", 109)])
def test_llama_70b_on_two_a100_at_batch_1(quant: str, bound: int) -> None:
    report = fit(run_of("deepseek-r1-distill-llama-70b", quant, "a100-80gb-sxm", 2))
    assert round(report.plan_tokens_per_s_batch1 or 0) == bound


def test_r1_awq_on_eight_a100_at_batch_1() -> None:
    # The published bound of 832 tokens/s is 8 × 2,039 GB/s over a rounded 37 B active × 0.53 B.
    assert round(8 * 2039e9 / (37e9 * 0.53)) == 832
    # Counted: 36.63 B multiplied (no embedding), of which 35.59 B at 4 + 20/128 bits and the head
    # and routers in bfloat16, 20.56 GB: 5 % below.
    report = fit(run_of("deepseek-r1", "awq", "a100-80gb-sxm", 8))
    assert report.decode_batch1 is not None
    assert report.decode_batch1.read_gb_per_step == pytest.approx(20.56, abs=0.01)
    assert round(report.plan_tokens_per_s_batch1 or 0) == 793
    assert report.decode_batch1.bound == "bandwidth"


def test_expected_expert_coverage() -> None:
    assert expert_coverage(256, 8, 1) == pytest.approx(8 / 256)
    assert expert_coverage(4, 2, 2) == pytest.approx(1 - 0.5**2)
    assert expert_coverage(0, 0, 5) == 0.0
    assert expert_coverage(16, 1, 1000) == pytest.approx(1.0)


def test_a_large_batch_reads_every_expert_once() -> None:
    s = served(run_of("qwen3-30b-a3b", "none", "h100-sxm", 1))
    everything = 2 * (s.geometry.total_params - s.geometry.vocab * s.geometry.hidden)
    rows = 2 * s.geometry.hidden * 10_000  # of the embedding
    assert weight_read_bytes(s, 10_000) == pytest.approx(everything + rows, rel=1e-6)


def test_hard_bound_is_above_the_expected_one() -> None:
    run = run_of("deepseek-r1", "awq", "a100-80gb-sxm", 8)
    plan = decode_expectation(served(run), run.gpu, 8, batch=32, context_tokens=1500)
    assert plan is not None
    assert plan.hard_tokens_per_s > plan.tokens_per_s
    assert plan.expert_coverage == pytest.approx(1 - (248 / 256) ** 32)


def test_flops_of_a_dense_token() -> None:
    s = served(run_of("deepseek-r1-distill-llama-8b", "none", "h100-sxm", 1))
    matmul = 8_030_261_248 - 128_256 * 4096
    # attention: 2 × 2 × 32 heads × 128 × context × 32 layers
    assert decode_flops(s, 1000) == 2 * matmul + 4 * 32 * 128 * 1000 * 32


def test_peaks_follow_the_activations() -> None:
    gpus = catalogue().gpus
    int8 = served(run_of("deepseek-r1-distill-llama-8b", "int8", "h100-sxm", 1)).fmt
    fp8 = served(run_of("deepseek-r1-distill-llama-8b", "fp8", "h100-sxm", 1)).fmt
    w4 = served(run_of("deepseek-r1-distill-llama-8b", "gptq", "h100-sxm", 1)).fmt
    assert peak_flops(gpus["a100-80gb-sxm"], int8) == 624e12
    assert peak_flops(gpus["a100-80gb-sxm"], fp8) == 312e12  # no FP8 units
    assert peak_flops(gpus["h100-sxm"], fp8) == 1979e12
    assert peak_flops(gpus["h100-sxm"], w4) == 989e12
    assert peak_flops(gpus["cpu"], w4) is None


def test_utilisation_at_the_plan_is_one() -> None:
    run = run_of("deepseek-r1-distill-llama-8b", "none", "h100-sxm", 1)
    s = served(run)
    plan = decode_expectation(s, run.gpu, 1, batch=4, context_tokens=1500)
    assert plan is not None
    used = utilisation(
        s,
        run.gpu,
        1,
        output_tokens_per_s=plan.bandwidth_tokens_per_s,
        input_tokens_per_s=0,
        mean_batch=4,
        mean_input_tokens=1000,
        mean_output_tokens=1000,
    )
    assert used.mbu == pytest.approx(1.0)
    assert used.mfu is not None
    assert 0 < used.mfu < 0.1
    on_cpu = utilisation(
        s,
        catalogue().gpus["cpu"],
        0,
        output_tokens_per_s=10,
        input_tokens_per_s=0,
        mean_batch=1,
        mean_input_tokens=10,
        mean_output_tokens=10,
    )
    assert on_cpu.mbu is None


@pytest.mark.parametrize("gpu", ["h100-sxm", "a100-80gb-sxm", "b200-sxm"])
def test_no_plan_for_one_user_exceeds_the_bound(gpu: str) -> None:
    """Every model and format of the catalogue: what is never exceeded is above what is expected."""
    tried = 0
    for name, model in catalogue().models.items():
        for quant in model.checkpoints:
            if quant not in catalogue().quants or not has_checkpoint(model, quant):
                continue
            run = run_of(name, quant, gpu, 8)
            s = served(run)
            wanted = precision_of(quant, model, s.fmt)
            m = None if wanted is None else machine(run.gpu, 8, wanted)
            if wanted is None or m is None:
                continue
            work = Work(input_tokens=1000, output_tokens=200)
            top = user_bound(m, held(s.geometry, wanted, 8 * s.kv_bytes), work).lowest
            plan = decode_expectation(s, run.gpu, 8, batch=1, context_tokens=1100)
            assert top is not None
            assert plan is not None
            assert plan.tokens_per_s <= top * (1 + 1e-9), (name, quant)
            tried += 1
    assert tried > 50
