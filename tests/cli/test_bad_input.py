"""Every wrong value is refused while the run is composed: one line that names its key."""

from __future__ import annotations

import pytest

from bench.cli.other_words import _BY_KEY
from bench.config.compose import check_sweep, compose, run_spec
from bench.values.errors import InputError

REFUSED = {
    "model=": "model=: there is no such model",
    "quant=nf4": "4-bit weights are quant=awq or quant=gptq",
    "gpu=h1000": "Did you mean 'h100-sxm'?",
    "workload=chatt": "Did you mean 'chat-short'?",
    "gpus=-1": "gpus must be at least 0",
    "gpus=1.5": "gpus: 1.5 is not a whole number",
    "gpus=true": "gpus: true is not a whole number",
    "seed=-1": "seed must be at least 0",
    "seed=": "seed: '' is not a whole number",
    "engine.prot=1": "engine: unknown key 'prot'. Did you mean 'port'?",
    "engine.port=99999": "engine.port must be in [1, 65535]",
    "engine.port=0": "engine.port must be in [1, 65535]",
    "engine.max_model_len=0": "engine.max_model_len must be at least 1",
    "engine.tensor_parallel_size=0": "engine.tensor_parallel_size must be at least 1",
    "engine.cpu_kv_cache_gib=0": "engine.cpu_kv_cache_gib must be at least 1",
    "engine.gpu_memory_utilization=1.5": "engine.gpu_memory_utilization must be in (0, 1]",
    "engine.args=foo": "engine.args: 'foo' is not a list",
    "engine.args=[1]": "engine.args[0]: 1 is not a text: quote it, '\"1\"'",
    "workload.input_tokens=0": "workload.input_tokens must be at least 1",
    "workload.input_tokens=100000000": "workload.input_tokens must be at most 10,485,760",
    "workload.input_tokens.dist=foo": "workload.input_tokens.dist: 'foo' is not one of its values",
    "workload.slo=5": "workload.slo: 5 is not a group of keys",
    "workload.slo.ttft=5": "workload.slo: unknown key 'ttft'. Did you mean 'ttft_ms'?",
    "load.concurrency=[]": "load.concurrency needs at least one value",
    "load.concurrency=[0]": "load.concurrency must be at least 1",
    "load.concurrency=[1.5]": "load.concurrency[0]: 1.5 is not a whole number",
    "load.concurrency=[1000000000]": "load.concurrency must be at most 60,000",
    "load.repeats=0": "load.repeats must be at least 1",
    "load.requests=-1": "load.requests must be at least 1",
    "load.mode=open": "load.rate_per_s needs at least one value",
    "load.duration_s=inf": "load.duration_s: inf is not a finite number",
    "load.rate_per_s=[.nan]": "load.rate_per_s",
    "load.request_timeout_s=nan": "load.request_timeout_s: nan is not a finite number",
    "fit.force=maybe": "fit.force: 'maybe' is not true or false",
    "engine.args=[": "'engine.args=[' is no KEY=VALUE that Hydra can read",
    "a=b=c": "'a=b=c' is no KEY=VALUE that Hydra can read",
}


@pytest.mark.parametrize("word", REFUSED)
def test_a_wrong_value_is_named(word: str) -> None:
    with pytest.raises(InputError) as refused:
        run_spec(compose([word]))
    assert REFUSED[word] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_sweep_finds_the_wrong_value_before_its_first_run() -> None:
    with pytest.raises(InputError, match=r"seed: 'two' is not a whole number"):
        check_sweep(["engine=truth", "seed=1,two"], ())
    with pytest.raises(InputError, match=r"'seed=\[1' is no KEY=VALUE"):
        check_sweep(["seed=[1"], ())


_VALUES = {"quant": "fp8", "engine": "vllm", "dtype": "float16", "file": "x", "results_dir": "x"}


@pytest.mark.parametrize("words", _BY_KEY)
def test_another_programs_flag_is_named_as_a_key_that_there_is(words: str) -> None:
    key = words.partition("=")[0].rpartition(".")[2] or words
    value = "fp8" if "kv-cache" in words else _VALUES.get(key, "2")
    value = "0.5" if "utilization" in words else value
    typed = words.format(value).replace("http://2:8000", "http://h:8000")
    if "load.burstiness" in typed:
        typed = f"load=open {typed} load.arrival=gamma"
    run_spec(compose(["model=tiny", *typed.split()]), detect_gpus=False)
