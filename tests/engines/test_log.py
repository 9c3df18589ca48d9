"""Facts read from whole logs of real starts."""

from pathlib import Path

import pytest

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


def test_how_it_schedules() -> None:
    """From the one long line in which vLLM 0.32 prints its configuration."""
    line = (
        "served_model_name=tiny, enable_prefix_caching=True, enable_chunked_prefill=False, pooler_"
    )
    found = parse_engine_log(line)
    assert (found.prefix_caching, found.chunked_prefill) == (True, False)


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


OLD = {
    "0.5.4": (
        "INFO 08-27 14:00:04 llm_engine.py:174] Initializing an LLM engine (v0.5.4) with config: "
        "model='m', device_config=cuda, seed=0\n"
        "INFO 08-27 14:00:20 model_runner.py:732] Loading model weights took 14.9888 GB\n"
        "INFO 08-27 14:00:29 gpu_executor.py:102] # GPU blocks: 27896, # CPU blocks: 2048\n"
    ),
    "0.6.3": (
        "INFO 10-20 10:00:20 model_runner.py:1067] Loading model weights took 14.9888 GB\n"
        "INFO 10-20 10:00:29 worker.py:230] Memory profiling results: total_gpu_memory=79.33GiB "
        "non_torch_memory=0.25GiB kv_cache_size=54.49GiB gpu_memory_utilization=0.90\n"
        "INFO 10-20 10:00:29 gpu_executor.py:122] # GPU blocks: 27896, # CPU blocks: 2048\n"
        "INFO 10-20 10:00:29 gpu_executor.py:126] Maximum concurrency for 8192 tokens per request: "
        "54.48x\n"
    ),
    "0.7.2": (
        "INFO 02-10 22:19:29 llm_engine.py:234] Initializing a V0 LLM engine (v0.7.2) with config\n"
        "INFO 02-10 22:19:40 worker.py:267] model weights take 14.99GiB; non_torch_memory takes "
        "0.25GiB; PyTorch activation peak memory takes 1.19GiB; the rest of the memory "
        "reserved for "
        "KV Cache is 54.97GiB.\n"
        "INFO 02-10 22:19:41 executor_base.py:110] # CUDA blocks: 28142, # CPU blocks: 2048\n"
        "INFO 02-10 22:19:41 executor_base.py:115] Maximum concurrency for 8192 tokens per "
        "request: 54.96x\n"
    ),
    "0.8.2": (
        "INFO 04-01 10:00:20 [gpu_model_runner.py:1186] Model loading took 13.1665 GB and 3.1 s\n"
        "INFO 04-01 10:00:29 [kv_cache_utils.py:566] GPU KV cache size: 476,016 tokens\n"
    ),
    "0.23": (
        "(EngineCore_DP0 pid=9) INFO 05-01 10:00:20 [gpu_model_runner.py:3500] Model loading took "
        "14.99 GiB memory and 3.1 seconds\n"
        "(EngineCore_DP0 pid=9) INFO 05-01 10:00:25 [gpu_worker.py:300] Available KV cache memory: "
        "58.11 GiB\n"
        "(EngineCore_DP0 pid=9) INFO 05-01 10:00:29 [kv_cache_utils.py:1287] GPU KV cache size: "
        "476,016 tokens\n"
    ),
}


@pytest.mark.parametrize(
    ("version", "weights_gib", "kv_gib", "tokens", "blocks"),
    [
        ("0.5.4", 14.9888, None, None, 27_896),  # how many tokens a block has is not said
        ("0.6.3", 14.9888, 54.49, 27_896 * 16, 27_896),
        ("0.7.2", 14.99, 54.97, 28_142 * 16, 28_142),
        ("0.8.2", 13.1665, None, 476_016, None),
        ("0.23", 14.99, 58.11, 476_016, None),
    ],
)
def test_old_shapes_give_weights_and_cache_or_say_that_they_are_unknown(
    version: str, weights_gib: float, kv_gib: float | None, tokens: int | None, blocks: int | None
) -> None:
    found = parse_engine_log(OLD[version])
    assert found.weights_gib == weights_gib
    assert (found.kv_cache_gib, found.kv_cache_tokens) == (kv_gib, tokens)
    assert found.kv_cache_blocks == blocks


def test_the_device_that_the_engine_says_it_computes_on() -> None:
    line = "Initializing a V1 LLM engine (v0.32.0) with config: x=1, device_config=cpu, seed=0"
    assert parse_engine_log(line).device == "cpu"
    assert parse_engine_log(OLD["0.5.4"]).device == "cuda"
    assert parse_engine_log("hello\n").device is None
