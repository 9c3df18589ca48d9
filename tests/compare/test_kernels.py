"""A fallback kernel is a finding; a real one is not."""

from __future__ import annotations

from pathlib import Path

from bench.compare.kernels import kernel_of
from bench.config.compose import compose, run_spec
from bench.engines.log import parse_engine_log
from bench.values.codec import encode
from bench.values.record import Anchor, Run

LOGS = Path(__file__).parents[1] / "data" / "engine_logs"


def run(quant: str, kernels: tuple[str, ...], gpus: int = 0) -> Run:
    words = [f"quant={quant}", f"gpus={gpus}", "checkpoints_dir=/nowhere"]
    facts = {"quantisation_kernels": list(kernels)}
    anchor = Anchor(monotonic_ns=0, wall_iso="")
    return Run(spec=run_spec(compose(words)), anchor=anchor, engine_facts=facts)


def test_real_kernels_are_named_and_no_finding() -> None:
    found = kernel_of(run("awq", ("MarlinLinearKernel",), gpus=1))
    assert (found.names, found.fallback, found.note) == (("MarlinLinearKernel",), False, None)


def test_expanded_weights_are_a_finding() -> None:
    found = kernel_of(run("awq", ("DequantLinearKernel",), gpus=1))
    assert found.fallback
    assert "not that of a quantised kernel" in str(found.note)


def test_torch_fp8_is_real_on_a_gpu_and_a_fallback_on_a_cpu() -> None:
    name = "ChannelWiseTorchFP8ScaledMMLinearKernel"
    assert not kernel_of(run("fp8", (name,), gpus=1)).fallback
    assert kernel_of(run("fp8", (name,))).fallback


def test_the_kernel_of_a_real_log() -> None:
    facts = encode(parse_engine_log((LOGS / "cpu_int8.log").read_text()))
    found = kernel_of(run("int8", tuple(facts["quantisation_kernels"])))
    assert found.names == ("CPUInt8ScaledMMLinearKernel",)
    assert not found.fallback


def test_silence_about_a_quantised_model_is_said() -> None:
    assert "names no kernel" in str(kernel_of(run("awq", ())).note)
    assert kernel_of(run("none", ())).note is None


def test_no_engine_no_speed() -> None:
    words = ["engine=none", "quality=tiny", "quant=gptq", "gpus=0", "checkpoints_dir=/nowhere"]
    anchor = Anchor(monotonic_ns=0, wall_iso="")
    found = kernel_of(Run(spec=run_spec(compose(words)), anchor=anchor))
    assert "no engine ran" in str(found.note)
