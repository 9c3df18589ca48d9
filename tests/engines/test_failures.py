"""Real logs of failed starts, each classified; the excerpts are described beside them."""

from pathlib import Path

import pytest

from bench.engines.failures import classify, last_error, message_of

LOGS = Path(__file__).parents[1] / "data" / "engine_logs"


@pytest.mark.parametrize(
    ("log", "code", "said"),
    [
        ("unknown_architecture", "unknown_architecture", "['NoSuchForCausalLM'] are not supported"),
        ("unknown_model_type", "unknown_architecture", "model type `nosuch`"),
        ("unknown_quantisation", "unsupported_quantisation", "quantization method: nosuch"),
        ("quantisation_dtype", "unsupported_quantisation", "torch.float32 is not supported"),
        ("no_kernel_at_first_request", "unsupported_quantisation", "cpu_gemm_wna16"),
        ("int8_amx_float32", "unsupported_quantisation", "expect A to be bfloat16 or half"),
        ("no_weight_files", "missing_weights", "Cannot find any model weights"),
        ("no_directory", "missing_weights", "nowhere/at/all"),
        ("no_repository_offline", "missing_weights", "Cannot find an appropriate cached snapshot"),
        ("bad_argument", "bad_argument", "unrecognized arguments: --no-such-flag"),
        ("context_too_long", "context_too_long", "max_model_len (100000)"),
        ("kv_space_too_big", "out_of_memory", "requested memory for kv (1000.0 GiB)"),
        ("kv_cache_too_small", "kv_cache_too_small", "15.26 GiB KV cache is needed"),
        ("wrong_shape", "wrong_shape", "size of tensor a (512)"),
        ("indivisible_heads", "parallelism", "divisible by tensor parallel size (3)"),
    ],
)
def test_real_logs(log: str, code: str, said: str) -> None:
    failure = classify((LOGS / f"{log}.log").read_text(), exit_code=1)
    assert failure.code == code
    assert said in failure.text
    assert "\n" not in failure.line
    assert failure.remedy in failure.line


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.", "out_of_memory"),
        (
            "ValueError: Free memory on device (3.1/79.3 GiB) on startup is less than desired GPU "
            "memory utilization (0.9, 71.3 GiB).",
            "out_of_memory",
        ),
        ("ValueError: No available memory for the cache blocks.", "kv_cache_too_small"),
        ("huggingface_hub.errors.GatedRepoError: 401 Client Error.", "gated_weights"),
        ("huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error.", "missing_weights"),
        ("OSError: [Errno 98] Address already in use", "port_in_use"),
        ("python: No module named vllm", "engine_not_installed"),
        ("ModuleNotFoundError: No module named 'vllm.entrypoints'", "engine_not_installed"),
        ("RuntimeError: No CUDA GPUs are available", "too_few_devices"),
    ],
)
def test_messages_that_no_machine_here_could_provoke(line: str, code: str) -> None:
    assert classify(f"starting\n{line}\n", 1).code == code


def test_a_warning_of_an_error_is_not_one() -> None:
    log = "(APIServer pid=1) WARNING 11-23 23:49:59 [a.py:1] could cause `OSError: [Errno 98] x`\n"
    assert classify(log, 1).code == "engine_failed"
    assert last_error(log) is None


def test_the_cause_is_named_rather_than_its_wrapper() -> None:
    log = (
        "(Worker pid=7) ERROR 11-23 23:49:59 [w.py:1] ZeroDivisionError: division by zero\n"
        "RuntimeError: Engine core initialization failed. See root cause above.\n"
    )
    assert classify(log, 1).line == "ZeroDivisionError: division by zero. The log has the details."


def test_a_silent_death_is_told_apart_by_its_exit_code() -> None:
    assert classify("loading\n", 137).code == "out_of_memory"
    assert classify("loading\n", 3).text == "the engine ended with code 3 and named no error"


def test_a_long_message_is_cut() -> None:
    assert len(classify("ValueError: " + "x" * 500, 1).text) == 201


def test_message_of_drops_process_level_time_and_place() -> None:
    line = "(EngineCore pid=8265) INFO 11-23 23:58:47 [kv_cache_utils.py:2327] CPU KV cache: 1"
    assert message_of(line) == "CPU KV cache: 1"
    assert message_of("INFO:     Application startup complete.") == (
        "INFO:     Application startup complete."
    )
