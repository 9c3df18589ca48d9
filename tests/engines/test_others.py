"""Engines besides vLLM: their commands, their logs, their gauges, and what each served under."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.compare.fairness import conditions, unlike
from bench.compare.likeness import refuse
from bench.engines import llama_wheel, llamacpp, log_facts, sglang, transformers, trtllm, vllm
from bench.engines.failures import classify
from bench.evaluators.lm_eval import scorable
from bench.measure.measurement import Measurement
from bench.meters.engine_stats import parse
from bench.meters.engine_watch import gauges_in
from bench.models.gguf_file import gguf_of
from bench.models.weights import Weights
from bench.preflight import check_package, preflight
from bench.report.console import console
from bench.report.fairness_table import print_fairness
from bench.values.cores import available
from bench.values.errors import InputError
from bench.values.prompt_text import TextLength
from bench.values.record import Anchor, Run
from bench.values.server import Server
from bench.values.spec import QualitySpec, RunSpec
from bench.web.ask import request_body

Spec = Callable[..., RunSpec]
LOGS = Path(__file__).parents[1] / "data" / "stand_ins"
LOCAL = Weights(source="local", location="/models/m")
HUB = Weights(source="hub", location="org/m", revision="abc")


def test_the_command_of_transformers(run_spec: Spec) -> None:
    spec = run_spec(engine="transformers", engine_keys={"kv_blocks": 64, "args": ["--x", "1"]})
    words = transformers.argv(spec, LOCAL, 8123, ["transformers"])
    assert " ".join(words) == (
        "transformers serve /models/m --host 127.0.0.1 --port 8123 --device cpu --dtype float32 "
        "--log-level warning --continuous-batching --cb-max-batch-tokens 2048 --cb-num-blocks 64 "
        "--x 1"
    )


def test_the_cache_of_transformers_is_what_the_run_asks_for(run_spec: Spec) -> None:
    """16 in flight of 2,048 tokens are 32,768, 128 blocks of 256; GPUs keep its own choice. Left
    to itself on a processor it fills most of the host's memory."""
    load = {"concurrency": [1, 16], "repeats": 1}
    spec = run_spec(engine="transformers", load=load)
    words = transformers.argv(spec, LOCAL, 1, ["transformers"])
    assert words[words.index("--cb-num-blocks") + 1] == "128"
    told = transformers.conditions(spec)
    assert (told["kv_tokens"], told["step_tokens"]) == (32768, 2048)
    gpus = run_spec(engine="transformers", load=load, gpus=1)
    assert "--cb-num-blocks" not in transformers.argv(gpus, LOCAL, 1, ["transformers"])
    other = run_spec(engine="transformers", load=load, engine_keys={"command": ["x"]})
    assert transformers.conditions(other)["kv_tokens"] is None  # whose blocks are not known


def test_threads_of_transformers_are_told_to_it(
    run_spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    own = {"concurrency": [1], "repeats": 1, "own_cores": 0}
    alone = run_spec(engine="transformers", load=own)
    assert transformers.threads(alone) == str(len(available()))
    assert transformers.conditions(alone)["threads"] == len(available())
    set_so = run_spec(engine="transformers", engine_keys={"env": {"OMP_NUM_THREADS": "3"}})
    assert transformers.conditions(set_so)["threads"] == 3
    assert transformers.threads(run_spec(engine="transformers", gpus=1)) is None


def test_limits_and_threads_of_vllm(run_spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    """2,048 tokens and 128 requests a step are its defaults on a processor; the recorded log of two
    threads names them; nothing is known of an image's vLLM."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    log = (LOGS.parent / "engine_logs" / "cpu_eager.log").read_text()
    told = vllm.conditions(run_spec(), log)
    assert (told["step_tokens"], told["batch_limit"], told["threads"]) == (2048, 128, 2)
    one = "\n".join(line for line in log.splitlines() if "Reducing Torch" not in line)
    assert vllm.conditions(run_spec(), one)["threads"] == 1
    assert vllm.conditions(run_spec())["threads"] is None
    keys = {"args": ["--max-num-seqs", "8", "--max-num-batched-tokens", "512"]}
    told = vllm.conditions(run_spec(engine_keys=keys))
    assert (told["step_tokens"], told["batch_limit"]) == (512, 8)
    image = run_spec(engine_keys={"container": "podman", "image": "i"})
    assert vllm.conditions(image)["batch_limit"] is None


def test_the_step_of_llamacpp_is_what_its_log_says(run_spec: Spec) -> None:
    log = "llama_context: n_batch               = 2048\nllama_context: n_ubatch = 512\n"
    assert llamacpp.conditions(run_spec(engine="llamacpp"), {}, 1, log)["step_tokens"] == 2048
    assert llamacpp.conditions(run_spec(engine="llamacpp"), {}, 1)["step_tokens"] is None


def test_answers_of_transformers_go_on_without_a_field_that_it_refuses() -> None:
    server = Server(
        engine="transformers",
        base_url="",
        served_model="m",
        usage="final",
        endless=True,
        extra_body={"generation_config": json.dumps(transformers.ENDLESS)},
    )
    body = request_body(server, "a", 64)
    assert not {"ignore_eos", "min_tokens"} & body.keys()
    assert json.loads(body["generation_config"])["eos_token_id"] == -1


def test_the_command_of_llamacpp_has_a_slot_for_each_request(run_spec: Spec) -> None:
    """16 in flight at most: 16 slots of 2,048 tokens are a context of 32,768."""
    load = {"concurrency": [1, 16], "repeats": 1}
    spec = run_spec(engine="llamacpp", load=load, seed=3)
    words = llamacpp.argv(spec, Path("/m.gguf"), 8123, 1, ["llama-server"])
    assert " ".join(words) == (
        "llama-server -m /m.gguf --alias tiny --host 127.0.0.1 --port 8123 --offline --no-ui "
        "--metrics --seed 3 -t 1 -np 16 -c 32768 --no-cache-prompt -cram 0 -ctk f32 -ctv f32 "
        "-ngl 0 -lv 4"
    )
    told = llama_wheel.settings(words[1:])  # the wheel is told all of it
    assert told["n_parallel"] == 16
    assert told["cache_prompt"] is False
    assert told["cache_type_k"] == "GGML_TYPE_F32"
    with pytest.raises(ValueError, match="--mlock"):
        llama_wheel.settings(["--mlock", "1"])


def test_a_gguf_file_is_named_or_has_to_be_made(run_spec: Spec, tmp_path: Path) -> None:
    named = run_spec(engine="llamacpp", model={"weights": str(tmp_path / "m.gguf")})
    assert gguf_of(named) == tmp_path / "m.gguf"
    here = {"checkpoints_dir": str(tmp_path)}
    assert gguf_of(run_spec(engine="llamacpp", **here)) is None
    with pytest.raises(InputError, match="no format of llama"):
        gguf_of(run_spec(engine="llamacpp", quant="gptq", **here))
    with pytest.raises(InputError, match="bench quantize model=tiny quant=q8_0"):
        gguf_of(run_spec(engine="llamacpp", quant="q8_0", **here))
    made = tmp_path / "tiny" / "gguf" / "q8_0.gguf"
    made.parent.mkdir(parents=True)
    made.touch()
    assert gguf_of(run_spec(engine="llamacpp", quant="q8_0", **here)) == made


def test_transformers_without_accelerate_is_refused_before_it_starts(
    run_spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It loads no model without that package, and said so in a traceback after its start."""
    monkeypatch.setattr("bench.preflight.find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs the package accelerate"):
        check_package(run_spec(engine="transformers"))
    elsewhere = {"command": ["other/bin/transformers"]}
    check_package(run_spec(engine="transformers", engine_keys=elsewhere))
    check_package(run_spec(engine="llamacpp"))


def test_the_command_of_sglang(run_spec: Spec) -> None:
    keys = {"mem_fraction": 0.8, "kv_cache_dtype": "fp8_e4m3", "prefix_cache": False}
    spec = run_spec(engine="sglang", gpus=2, engine_keys=keys)
    assert " ".join(sglang.argv(spec, HUB, 8123, ["sglang"])) == (
        "sglang serve --model-path org/m --served-model-name tiny --host 127.0.0.1 --port 8123 "
        "--revision abc --random-seed 0 --tp-size 2 --kv-cache-dtype fp8_e4m3 "
        "--mem-fraction-static 0.8 --disable-radix-cache --stream-interval 1 "
        "--log-level-http warning --enable-metrics --enable-cache-report"
    )


def test_the_command_and_the_settings_of_trtllm(run_spec: Spec) -> None:
    keys = {"free_fraction": 0.9, "max_batch_size": 64, "prefix_cache": False}
    spec = run_spec(engine="trtllm", gpus=1, engine_keys={**keys, "cuda_graphs": False})
    words = trtllm.argv(spec, LOCAL, 8123, Path("/r/trtllm.yaml"), ["trtllm-serve"])
    assert " ".join(words) == (
        "trtllm-serve /models/m --host 127.0.0.1 --port 8123 --backend pytorch --tp_size 1 "
        "--max_batch_size 64 --kv_cache_free_gpu_memory_fraction 0.9 --enable_chunked_prefill "
        "--config /r/trtllm.yaml"
    )
    assert json.loads(trtllm.config_of(spec, LOCAL)) == {
        "enable_iter_perf_stats": True,
        "return_perf_metrics": True,
        "stream_interval": 1,
        "kv_cache_config": {"enable_block_reuse": False},
        "cuda_graph_config": None,
    }


@pytest.mark.parametrize("kind", ["sglang", "trtllm"])
def test_an_engine_for_gpus_is_refused_without_one(
    kind: str, run_spec: Spec, tmp_path: Path
) -> None:
    from bench.engines import load_engine

    with (
        pytest.raises(InputError, match="serves on GPUs alone"),
        load_engine(kind).serve(run_spec(engine=kind), tmp_path, lambda _: None),
    ):
        pass


def test_logs_tell_weights_and_cache() -> None:
    """llama.cpp: 16.01 MiB; 2,048 cells for each of 4 sequences. SGLang: not its upper bound.
    TensorRT-LLM: not its first, profiling cache."""
    found = {k: log_facts(k, (LOGS / f"{k}.log").read_text()) for k in ("llamacpp", "sglang")}
    llama, sgl = found["llamacpp"], found["sglang"]
    trt = log_facts("trtllm", (LOGS / "trtllm.log").read_text())
    assert llama is not None and sgl is not None and trt is not None  # noqa: PT018
    assert llama.weights_gib == pytest.approx(16.01 / 1024)
    assert (llama.kv_cache_tokens, llama.kv_cache_gib) == (8192, 32 / 1024)
    assert llama.device == "cpu"
    assert (sgl.weights_gib, sgl.weights_load_s) == (15.02, 4.21)
    assert sgl.kv_cache_tokens == 433182
    assert sgl.kv_cache_gib == pytest.approx(52.88)
    assert (trt.weights_gib, trt.kv_cache_tokens, trt.kv_cache_gib) == (15.02, 429024, 52.37)
    assert log_facts("transformers", "anything") is None


def test_gauges_and_counters_by_engine() -> None:
    llama = "llamacpp:requests_processing 3\nllamacpp:requests_deferred 2\n"
    assert gauges_in(llama) == {"running": 3, "waiting": 2}
    sgl = 'sglang:num_running_reqs{m="x"} 7\nsglang:num_queue_reqs 1\nsglang:token_usage 0.25\n'
    assert gauges_in(sgl) == {"running": 7, "waiting": 1, "kv_use": 0.25}
    last = {
        "numActiveRequests": 5,
        "numQueuedRequests": 4,
        "kvCacheStats": {"usedNumBlocks": 30, "maxNumBlocks": 120},
    }
    assert gauges_in(json.dumps([{"numActiveRequests": 1}, last])) == {
        "running": 5,
        "waiting": 4,
        "kv_use": 0.25,
    }
    assert gauges_in("[]") == {}  # drained: nothing was said, which is not nothing running


def test_a_share_of_two_engines_is_the_larger_not_the_sum() -> None:
    """Data parallel: caches 80 and 70 % full are not 150 % full; 3 and 4 requests are 7."""
    gauges = ("kv_cache_usage_perc", "num_requests_running")
    rows = [
        f'vllm:{n}{{engine="{e}"}} {v}'
        for n, both in zip(gauges, ((0.8, 0.7), (3, 4)), strict=True)
        for e, v in enumerate(both)
    ]
    assert parse("\n".join(rows) + "\n") == dict(zip(gauges, (0.8, 7.0), strict=True))


def test_prefix_hits_are_of_the_tokens_looked_up() -> None:
    """llama.cpp counts 30 computed and 70 cached, of 100; SGLang 100, of them 70 cached."""
    llama = parse("llamacpp:prompt_tokens_total 30\nllamacpp:prompt_tokens_cached_total 70\n")
    sgl = parse("sglang:prompt_tokens_total 100\nsglang:cached_tokens_total 70\n")
    for told in (llama, sgl):
        assert told is not None
        assert told["prefix_cache_hits_total"] == 70
        assert told["prefix_cache_queries_total"] == 100


# Written after the definitions in tensorrt_llm/metrics/collector.py (050f80d); no server said it.
TRTLLM = """\
# HELP trtllm_request_success_total Count of successfully processed requests.
# TYPE trtllm_request_success_total counter
trtllm_request_success_total{model_name="m",engine_type="trtllm",finished_reason="length"} 4.0
# HELP trtllm_e2e_request_latency_seconds Histogram of end to end request latency in seconds.
# TYPE trtllm_e2e_request_latency_seconds histogram
trtllm_e2e_request_latency_seconds_bucket{model_name="m",engine_type="trtllm",le="0.3"} 1.0
trtllm_e2e_request_latency_seconds_bucket{model_name="m",engine_type="trtllm",le="+Inf"} 4.0
trtllm_e2e_request_latency_seconds_count{model_name="m",engine_type="trtllm"} 4.0
trtllm_e2e_request_latency_seconds_sum{model_name="m",engine_type="trtllm"} 2.5
# HELP trtllm_prompt_tokens_total Cumulative number of prompt (input) tokens processed.
# TYPE trtllm_prompt_tokens_total counter
trtllm_prompt_tokens_total{model_name="m",engine_type="trtllm"} 256.0
# HELP trtllm_generation_tokens_total Cumulative number of generation (output) tokens produced.
# TYPE trtllm_generation_tokens_total counter
trtllm_generation_tokens_total{model_name="m",engine_type="trtllm"} 128.0
# HELP trtllm_prompt_cached_tokens_total Total prompt tokens served from KV cache.
# TYPE trtllm_prompt_cached_tokens_total counter
%s# HELP trtllm_kv_cache_utilization KV cache utilization
# TYPE trtllm_kv_cache_utilization gauge
trtllm_kv_cache_utilization{model_name="m",engine_type="trtllm"} 0.25
# HELP trtllm_num_requests_running Number of active requests
# TYPE trtllm_num_requests_running gauge
trtllm_num_requests_running{model_name="m",engine_type="trtllm"} 3.0
# HELP trtllm_num_requests_waiting Number of queued requests
# TYPE trtllm_num_requests_waiting gauge
trtllm_num_requests_waiting{model_name="m",engine_type="trtllm"} 2.0
"""
HIT = 'trtllm_prompt_cached_tokens_total{model_name="m",engine_type="trtllm"} 64.0\n'


def test_the_counters_of_tensorrt_llm() -> None:
    """64 of 256 prompt tokens came from the cache; before the first hit that is not known."""
    told = parse(TRTLLM % HIT)
    assert told is not None
    assert (told["prompt_tokens_total"], told["generation_tokens_total"]) == (256, 128)
    assert (told["prefix_cache_hits_total"], told["prefix_cache_queries_total"]) == (64, 256)
    assert gauges_in(TRTLLM % HIT) == {
        "running": 3,
        "waiting": 2,
        "generation_tokens": 128,
        "kv_use": 0.25,
    }
    none = parse(TRTLLM % "")
    assert none is not None
    assert "prefix_cache_hits_total" not in none
    one = next(line for line in TRTLLM.splitlines() if "success_total{" in line)
    early = parse(f"# TYPE trtllm_request_success_total counter\n{one}\n")  # none of tokens
    assert early == {"trtllm_request_success_total": 4}


def test_failures_of_other_engines_have_a_class() -> None:
    for line, code in (
        ("RuntimeError: No GPU devices found on the node", "no_gpu"),
        ("ModuleNotFoundError: No module named 'sgl_kernel'", "engine_not_installed"),
        ("E llama_model_load: error loading model: unknown model architecture: 'x'", "no_support"),
        ("gguf_init_from_file_impl: invalid magic characters: 'abcd', expected 'GGUF'", "no_gguf"),
    ):
        assert classify(line, 1).code == code


def run_of(spec: RunSpec, told: dict[str, Any]) -> tuple[Run, Measurement]:
    server = {"engine_version": "1", "conditions": told}
    anchor = Anchor(monotonic_ns=0, wall_iso="2026-11-26")
    return Run(spec=spec, anchor=anchor, server=server), Measurement(points=())


def test_what_was_equalised_between_engines(
    run_spec: Spec, capsys: pytest.CaptureFixture[str]
) -> None:
    """float32 is llama.cpp's `all F32`; a cache that is off is unlike one that is on; what one of
    them does not say is neither."""
    first = run_of(run_spec(), vllm.conditions(run_spec()))
    spec = run_spec(engine="llamacpp")
    props = {"model_ftype": "all F32", "total_slots": 4}
    second = run_of(spec, llamacpp.conditions(spec, props, 1))
    found = {c.key: c.alike for c in conditions((first, second))}
    assert (found["weights"], found["kv_type"], found["graphs"]) == (True, True, True)
    assert found["prefix_cache"] is False
    assert found["batch_limit"] is False  # vLLM's 128, and four slots
    assert found["threads"] is None  # no log said how many
    print_fairness(console(), (first, second))
    assert "not equalised: batch_limit, prefix_cache" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(InputError, match=r"served\.prefix_cache"):
        refuse("llamacpp", unlike(first, second))
    refuse("llamacpp", unlike(first, second, ["served"]))
    assert unlike(first, first) == ()


def test_two_that_differ_are_unlike_whatever_a_third_does_not_say(run_spec: Spec) -> None:
    """vLLM's prefix cache is on, llama.cpp's off, transformers does not say; the formats agree, and
    of the third is known what they are."""
    kinds = {"vllm": vllm.conditions(run_spec())}
    kinds["llamacpp"] = llamacpp.conditions(run_spec(engine="llamacpp"), {}, 1)
    kinds["transformers"] = transformers.conditions(run_spec(engine="transformers"))
    runs = [run_of(run_spec(engine=kind), told) for kind, told in kinds.items()]
    found = {c.key: c.alike for c in conditions(runs)}
    assert found["prefix_cache"] is False
    assert found["chunked_prefill"] is None
    assert found["kv_type"] is True


def test_an_engine_without_prompt_logprobs_is_scored_on_what_it_generates(
    serve_http: Callable[..., str],
) -> None:
    """Asked first: this one answers and leaves them out."""
    url = serve_http(lambda path, body, headers: (200, {"choices": [{"text": "a"}]}))
    server = Server(engine="llamacpp", base_url=url, served_model="m")
    asked = QualitySpec(name="tiny", tasks=("tiny_facts_mc", "tiny_facts_gen"))
    left, lost = scorable(asked, server)
    assert left.tasks == ("tiny_facts_gen",)
    assert lost == {"tiny_facts_mc": "llamacpp gives no log-probabilities of a prompt"}
    with pytest.raises(InputError, match="choose tasks that generate"):
        scorable(QualitySpec(name="x", tasks=("tiny_facts_mc",)), server)


def test_the_client_has_a_core_of_its_own_beside_engines_on_the_processor(run_spec: Spec) -> None:
    from bench.config.compose import catalogue
    from bench.values.cores import available

    spec, fit = preflight(run_spec(engine="transformers"), catalogue(()))
    assert fit is None
    assert spec.load.own_cores == min(1, len(available()) // 2)


def test_the_length_of_text_is_stored_with_the_server() -> None:
    from bench.run import describe

    length = TextLength(tokens_per_word=3.0, tokens_around=1.0)
    told = describe(Server(engine="x", base_url="", served_model="m", text_length=length))
    assert told["text_length"] == {"tokens_per_word": 3.0, "tokens_around": 1.0}
