"""vLLM's flags as one value; what contradicts a key, is unknown or is not counted is refused."""

from __future__ import annotations

import pytest

from bench.values.engine_flags import EngineFlags, parse
from bench.values.errors import InputError
from bench.values.spec import VllmSpec


def read(*args: str, **keys: object) -> EngineFlags:
    return parse(VllmSpec(args=args, **keys))  # type: ignore[arg-type]


def test_names_aliases_and_forms_of_values() -> None:
    found = read("-tp", "4", "--data_parallel_size=2", "-ep", "--max-model-len", "8k")
    assert (found.tensor_parallel_size, found.data_parallel_size) == (4, 2)
    assert found.expert_parallel
    assert found.max_model_len == 8000
    assert read("--max-num-batched-tokens=8K").max_num_batched_tokens == 8192
    assert read("--max-model-len", "auto").max_model_len == -1
    assert read("--no-enable-prefix-caching").prefix_caching is False
    assert read("--kv-cache-dtype", "fp8_e4m3").kv_cache_dtype == "fp8_e4m3"
    assert read("--trust-remote-code", "--seed", "1") == EngineFlags()


def test_speculation_in_each_form() -> None:
    config = '{"method": "mtp", "num_speculative_tokens": 3}'
    dotted = ("--speculative-config.method", "mtp", "-sc.num_speculative_tokens=3")
    short = ("--spec-method", "mtp", "--spec-tokens", "3")
    for args in (("--speculative-config", config), ("-sc", config), dotted, short):
        found = read(*args)
        assert found.speculative_tokens == 3
        assert (found.speculative or {})["method"] == "mtp"


def test_keys_and_flags_are_one() -> None:
    assert read(max_model_len=4096).max_model_len == 4096
    assert read("--gpu-memory-utilization", "0.95").gpu_memory_utilization == 0.95
    assert not read("--enforce-eager").graphs
    assert not read(enforce_eager=True).graphs


@pytest.mark.parametrize(
    ("args", "keys", "said"),
    [
        (("--kv-cache-dtype", "fp7"), {}, "fp8"),
        (("--max-num-seq", "8"), {}, "--max-num-seqs"),
        (("--tensor-parallel-size",), {}, "no value"),
        (("--max-num-seqs", "many"), {}, "no whole number"),
        (("--tensor-parallel-size", "4"), {"tensor_parallel_size": 2}, "contradict"),
        (("--gpu-memory-utilization", "0.8"), {"gpu_memory_utilization": 0.95}, "contradict"),
        (("--gpu-memory-utilization", "1.5"), {}, "share"),
        (("--cpu-offload-gb", "10"), {}, "not counted"),
        (("--decode-context-parallel-size", "2"), {}, "not counted"),
        (("--speculative-config", "{"), {}, "not JSON"),
    ],
)
def test_refusals(args: tuple[str, ...], keys: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(*args, **keys)
