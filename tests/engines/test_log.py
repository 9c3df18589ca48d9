"""Facts read from whole logs of real starts."""

from pathlib import Path

from bench.engines.log import EngineLogFacts, parse_engine_log

LOGS = Path(__file__).parents[1] / "data" / "engine_logs"


def facts(name: str) -> EngineLogFacts:
    return parse_engine_log((LOGS / f"{name}.log").read_text())


def test_a_cpu_start() -> None:
    found = facts("cpu_eager")
    assert found.engine_version == "0.32.0"
    assert found.enforce_eager is True
    assert found.weights_load_s == 0.05
    assert found.kv_cache_tokens == 262_144
    assert found.kv_cache_gib == 1.0
    assert (found.max_concurrency, found.max_concurrency_tokens) == (128.0, 2048)
    assert found.engine_init_s == 2.46
    # The CPU build logs neither the weights' size nor a compile time nor its attention backend.
    assert found.weights_gib is None
    assert found.compile_s is None
    assert found.attention_backend is None
    assert found.quantisation_kernels == ()
    assert any("KV cache size: 262,144 tokens" in line for line in found.lines)


def test_the_kernel_that_really_runs_is_kept() -> None:
    assert facts("cpu_int8").quantisation_kernels == ("CPUInt8ScaledMMLinearKernel",)


def test_the_lines_of_a_gpu() -> None:
    found = facts("gpu_lines")
    assert found.attention_backend == "FLASH_ATTN"
    assert (found.weights_gib, found.weights_load_s) == (9.68, 3.04)
    assert (found.kv_cache_gib, found.kv_cache_tokens) == (10.04, 375_968)
    assert (found.max_concurrency, found.max_concurrency_tokens) == (45.89, 8192)
    assert found.compile_s == 18.21
    assert found.quantisation_kernels == ("AllSparkLinearKernel",)
    assert found.enforce_eager is False


def test_kernels_are_named_once_each_in_order() -> None:
    log = (
        "Selected CutlassFP8ScaledMMLinearKernel for Fp8LinearMethod\n"
        "Using 'MARLIN' Mxfp4 MoE backend.\n"
        "Selected CutlassFP8ScaledMMLinearKernel for Fp8LinearMethod\n"
    )
    kernels = parse_engine_log(log).quantisation_kernels
    assert kernels == ("CutlassFP8ScaledMMLinearKernel", "MARLIN")


def test_a_log_that_says_nothing_leaves_nothing_measured() -> None:
    assert parse_engine_log("hello\n") == EngineLogFacts()
