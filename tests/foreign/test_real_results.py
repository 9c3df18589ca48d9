"""Results that others published, in short: what figures alone reveal, and what they cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.claims.of_summary import bound_findings, conditions_of
from bench.cli.main import main
from bench.config.compose import catalogue
from bench.foreign.audit import audit, foreign_checks
from bench.foreign.mlperf import read_text
from bench.foreign.read import results
from bench.values.errors import InputError

MLPERF = """\
================================================
MLPerf Results Summary
================================================
SUT name : PySUT
Scenario : Server
Mode     : PerformanceOnly
Completed samples per second    : 29.41
Completed tokens per second: 8840.42
Result is : VALID
  Performance constraints satisfied : Yes

================================================
Additional Stats
================================================
Scheduled samples per second : 29.62
Mean latency (ns)               : 9716742157
50.00 percentile latency (ns)   : 8609970750
99.00 percentile latency (ns)   : 30354675329

Mean First Token latency (ns)                : 201330486
50.00 percentile first token latency (ns)   : 198602240
99.00 percentile first token latency (ns)   : 435976100

Mean Time to Output Token (ns)               : 32102490
50.00 percentile time to output token (ns)   : 31888318
99.00 percentile time to output token (ns)   : 39507635

samples_per_query : 1
target_qps : 29.5
ttft_latency (ns): 450000000
tpot_latency (ns): 40000000
min_duration (ms): 600000
"""
"""closed/AMD/results/8xMI300X_2xEPYC_9575F/llama2-70b-99/Interactive/performance/run_1 of
github.com/mlcommons/inference_results_v5.1 at 965182b0 (Apache-2.0), shortened."""
OFFLINE = """\
MLPerf Results Summary
Scenario : Offline
Mode     : PerformanceOnly
Samples per second: 92.1544
Tokens per second: 27803.9
Result is : VALID
Mean latency (ns)               : 2653990953659
samples_per_query : 245520
target_qps : 93
"""
"""Of the same system, Offline."""
ROUND: list[dict[str, Any]] = [
    {
        "Submitter": "AMD",
        "Platform": "8xMI300X_2xEPYC_9575F",
        "Model": "llama2-70b-99",
        "Scenario": "Interactive",
        "Nodes": 1,
        "Accelerator": "AMD Instinct MI300X 192GB HBM3",
        "a#": 8,
        "Software": "vLLM 0.9.0.2",
        "version": "v5.1",
        "weight_data_types": "fp8",
        "Performance_Result": 8840.42,
        "Performance_Units": "Tokens/s",
    }
]
"""The first row of summary_results.json there, without what is not read."""
INFERENCE_PERF: dict[str, Any] = {
    "load_summary": {
        "count": 5531,
        "schedule_delay": {"mean": 0.00026, "p99": 0.00168},
        "requested_rate": 92.19,
        "achieved_rate": 92.224,
    },
    "successes": {
        "count": 5531,
        "latency": {
            "request_latency": {"mean": 1.02127, "median": 1.00425, "p99": 1.38055},
            "normalized_time_per_output_token": {"mean": 0.0166229},
            "time_per_output_token": {"mean": 0.00751602, "median": 0.00741328},
            "time_to_first_token": {"mean": 0.0505486, "median": 0.0445185, "p99": 0.181827},
            "inter_token_latency": {"mean": 0.00751602, "median": 4.858e-05, "p99": 0.0300617},
        },
        "throughput": {
            "input_tokens_per_sec": 18646.19,
            "output_tokens_per_sec": 5693.884,
            "total_tokens_per_sec": 24340.07,
            "requests_per_sec": 91.3573,
        },
        "prompt_len": {"mean": 204.1018},
        "output_len": {"mean": 62.32544, "min": 0.0},
    },
    "failures": {"count": 0, "request_latency": None, "prompt_len": None},
}
"""demos/kubecon-na-2025/vllm/results/stage_3_lifecycle_metrics.json of
github.com/kubernetes-sigs/inference-perf at 7ff8150 (Apache-2.0), shortened."""
LATE: dict[str, Any] = {
    "load_summary": {
        "count": 7786,
        "schedule_delay": {"mean": 65.835, "p99": 137.594},
        "requested_rate": 129.78,
        "achieved_rate": 39.342,
    },
    "successes": {
        "count": 7786,
        "latency": {
            "request_latency": {"mean": 11.4072, "median": 12.6125, "p99": 12.7892},
            "time_per_output_token": None,
            "time_to_first_token": None,
            "inter_token_latency": None,
        },
        "throughput": {"output_tokens_per_sec": 4825.517, "requests_per_sec": 37.626},
        "output_len": {"mean": 128.2494},
    },
    "failures": {"count": 0},
}
"""The same file at e392547: not streamed, and its client two minutes behind."""
INFERENCEX: dict[str, Any] = {
    "hw": "mi355x",
    "conc": 4,
    "model": "moonshotai/Kimi-K2.5",
    "framework": "vllm",
    "precision": "int4",
    "spec_decoding": "mtp",
    "isl": 1024,
    "osl": 1024,
    "tp": 8,
    "tput_per_gpu": 55.62670336516291,
    "output_tput_per_gpu": 27.678011491816765,
    "mean_ttft": 0.3170863160688896,
    "median_ttft": 0.2969768075272441,
    "mean_tpot": 0.017294128568510713,
    "median_tpot": 0.017393898241078155,
    "mean_itl": 0.04869889880906398,
    "median_itl": 0.04425954492762685,
    "mean_e2el": 16.17588243483915,
    "median_e2el": 16.2612041993998,
}
"""agg_kimik2.5_1k1k_int4_vllm_tp8-…_conc4_….json of github.com/SemiAnalysisAI/InferenceX at
bf030960 (Apache-2.0), shortened."""
VLLM_SUMMARY: dict[str, Any] = {
    "date": "20260428-110159",
    "backend": "openai",
    "model_id": "gpt-oss-120b",
    "num_prompts": 160,
    "request_rate": "inf",
    "max_concurrency": 16,
    "duration": 94.94771882798523,
    "completed": 160,
    "total_input_tokens": 163840,
    "total_output_tokens": 163840,
    "request_throughput": 1.68513790510195,
    "output_throughput": 1725.5812148243967,
    "total_token_throughput": 3451.1624296487935,
    "mean_ttft_ms": 185.00612755160546,
    "median_ttft_ms": 104.43462803959846,
    "p99_ttft_ms": 687.9313375009224,
    "mean_tpot_ms": 9.043755853690438,
    "median_tpot_ms": 9.03941193840877,
    "mean_itl_ms": 9.043755927185433,
    "median_itl_ms": 9.067311882972717,
    "mean_e2el_ms": 9436.768365876924,
    "median_e2el_ms": 9359.918448608369,
}
"""benchmarks/multi_node/results/concurrency_16_….json of the same repository at a88fcacf."""
SGLANG: dict[str, Any] = {
    "backend": "sglang",
    "dataset_name": "sharegpt",
    "request_rate": 5.0,
    "max_concurrency": 256,
    "duration": 204.53694480800186,
    "completed": 1000,
    "total_input_tokens": 302118,
    "total_output_tokens": 195775,
    "total_output_tokens_retokenized": 195324,
    "request_throughput": 4.88909229058201,
    "output_throughput": 957.162043188693,
    "mean_e2e_latency_ms": 2409.499004891637,
    "median_e2e_latency_ms": 1537.8948565048631,
    "mean_ttft_ms": 91.69221715730964,
    "median_ttft_ms": 76.41966750088613,
    "mean_tpot_ms": 11.808901276564441,
    "median_tpot_ms": 11.829237894316,
    "mean_itl_ms": 11.917698144217361,
    "median_itl_ms": 10.71716399746947,
    "concurrency": 11.780263008980727,
    "accept_length": None,
}
"""A row of SGLang's bench_serving that stands in a public script which reads them."""


def checks(tmp_path: Path, found: object) -> dict[str, Any]:
    """The findings of a result, by code."""
    text = found if isinstance(found, str) else json.dumps(found)
    (tmp_path / "r").write_text(text)
    (result,) = results(str(tmp_path / "r"))
    return {f.code: f for f in foreign_checks(result)}


def test_a_summary_of_mlperf(tmp_path: Path) -> None:
    """ns become ms; 8,840.42 ÷ 29.41 are 300.6 tokens an answer, and 201.3 + 299.6 × 32.10 ms are
    101 % of the mean latency; p99 of TTFT and TPOT are below 450 and 40 ms."""
    (found,) = read_text("s.txt", MLPERF) or []
    assert found.claims["output_tokens_per_s"] == 8840.42
    assert found.claims["ttft_p99_ms"] == pytest.approx(435.9761)
    assert found.claims["tpot_mean_ms"] == pytest.approx(32.10249)
    assert found.claims["e2e_p50_ms"] == pytest.approx(8609.97075)
    assert (found.point.mode, found.point.rate_per_s) == ("open", 29.5)
    said = checks(tmp_path, MLPERF)
    assert said["own_verdict"].severity == "pass"
    assert said["own_limits"].severity == "pass"
    assert said["latencies_tie"].figure == pytest.approx(1.0105, abs=1e-3)
    assert {line.verdict for line in audit(found, None).lines} == {"unknown"}


def test_mlperf_that_breaks_its_own_limits_or_is_invalid(tmp_path: Path) -> None:
    (slow,) = read_text("s.txt", MLPERF.replace("435976100", "455976100")) or []
    said = [(f.severity, f.text) for f in slow.found if f.code == "own_limits"]
    assert [s for s, _ in said] == ["fail", "pass"]
    assert said[0][1] == "ttft_p99_ms 456 ms, limit 450: it may not be VALID"
    invalid = checks(tmp_path, MLPERF.replace("Result is : VALID", "Result is : INVALID"))
    assert invalid["own_verdict"].severity == "fail"


def test_mlperf_offline_is_one_query_of_all_samples(tmp_path: Path) -> None:
    """A latency there is time since the start; no E2E is claimed of it."""
    (tmp_path / "s.txt").write_text(OFFLINE)
    (found,) = results(str(tmp_path / "s.txt"))
    assert (found.claims["requests_per_s"], found.known["requests"]) == (92.1544, 245520)
    assert "e2e_mean_ms" not in found.claims
    assert found.known["output_tokens"] == pytest.approx(301.7, abs=0.1)  # its accuracy log: 301.1
    with pytest.raises(InputError, match="mode AccuracyOnly measures no speed"):
        read_text("s.txt", OFFLINE.replace("PerformanceOnly", "AccuracyOnly"))


def test_a_round_of_mlperf_is_a_row_a_system(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(ROUND))
    (found,) = results(str(tmp_path / "r.json"))
    assert (found.tool, found.version) == ("mlperf", "v5.1")
    assert found.claims == {"output_tokens_per_s": 8840.42}
    assert (found.conditions["gpus_per_node"], found.conditions["precision"]) == (8, "fp8")


def test_inference_perf_counts_pieces_where_it_says_tokens(tmp_path: Path) -> None:
    """50.5 + 61.3 × 7.516 ms are 511 ms, half of the 1,021 that a request took, while E2E per token
    (16.6 ms × 62.3) fits: its time per token is of something else, and half of its gaps are next to
    nothing. Rates and lengths go together: 91.36 × 62.33 = 5,694."""
    said = checks(tmp_path, INFERENCE_PERF)
    assert said["latencies_tie"].severity == "fail"
    assert said["latencies_tie"].figure == pytest.approx(0.501, abs=0.002)
    assert said["latencies_tie"].metrics == ("tpot", "itl")
    assert said["taken_together"].severity == "fail"
    assert said["tie_out"].severity == "pass"
    assert said["errors"].severity == "pass"


def test_a_client_that_sent_minutes_late_is_said(tmp_path: Path) -> None:
    """130 requests/s were asked for and 39 were sent: no latency in the file shows that wait."""
    (tmp_path / "r").write_text(json.dumps(LATE))
    (found,) = results(str(tmp_path / "r"))
    assert "sent up to 138 s (p99) after it meant to" in found.notes[0]
    assert "ttft_mean_ms" not in found.claims


def test_inferencex_drafts_tokens_and_its_gaps_are_of_pieces(tmp_path: Path) -> None:
    """8 × 27.678 tokens/s; 4 in flight × 16.176 s make 895 tokens an answer, below the 1,024 asked
    for; a gap is 2.8 times a token's time: several come with a piece."""
    said = checks(tmp_path, INFERENCEX)
    assert said["little"].severity == "pass"
    assert said["little"].figure == pytest.approx(0.874, abs=0.001)
    assert said["bundles"].severity == "fail"
    assert said["bundles"].figure == pytest.approx(2.816, abs=0.001)
    assert said["latencies_tie"].severity == "pass"
    faster = {**INFERENCEX, "output_tput_per_gpu": 40.0}  # 1,294 tokens an answer
    assert checks(tmp_path, faster)["little"].severity == "fail"


def test_a_summary_of_vllm_goes_together(tmp_path: Path) -> None:
    """1.685 × 9.4368 s = 15.90 of 16 in flight; 185.0 + 1023 × 9.04376 = 9,436.8 ms, its E2E."""
    said = checks(tmp_path, VLLM_SUMMARY)
    assert said["own_arithmetic"].severity == "pass"
    assert said["little"].figure == pytest.approx(15.90, abs=0.01)
    assert said["latencies_tie"].figure == pytest.approx(1.0, abs=1e-4)
    assert not [f for f in said.values() if f.severity == "fail"]
    doubled = {**VLLM_SUMMARY, "output_throughput": 2 * 1725.58}
    failed = {c for c, f in checks(tmp_path, doubled).items() if f.severity == "fail"}
    assert {"own_arithmetic", "tie_out"} <= failed


def test_a_row_of_sglang_is_an_open_loop_with_a_cap(tmp_path: Path) -> None:
    """5 requests/s, at most 256 in flight: a rate was asked for. 91.7 + 194.8 × 11.81 ms: 99 % of
    E2E; counted from the text there are 99.8 % of the tokens."""
    (tmp_path / "r.jsonl").write_text(json.dumps(SGLANG) + "\n")
    (found,) = results(str(tmp_path / "r.jsonl"))
    assert (found.tool, found.point.mode, found.point.rate_per_s) == ("sglang", "open", 5.0)
    said = {f.code: f for f in foreign_checks(found)}
    assert said["latencies_tie"].figure == pytest.approx(0.993, abs=0.001)
    assert said["counted_again"].severity == "pass"
    fewer = checks(tmp_path, {**SGLANG, "total_output_tokens_retokenized": 103837})
    assert fewer["counted_again"].severity == "fail"


def test_percentiles_rise_and_a_p99_needs_a_hundred(tmp_path: Path) -> None:
    said = checks(tmp_path, {**VLLM_SUMMARY, "p99_ttft_ms": 50.0})
    assert said["percentile_order"].metrics == ("ttft",)
    few = {**VLLM_SUMMARY, "completed": 20, "total_output_tokens": 20480}
    assert checks(tmp_path, few)["samples"].severity == "fail"


@pytest.mark.parametrize(("rate", "severity"), [(29715.28, "pass"), (297152.8, "fail")])
def test_a_summary_is_held_to_the_hardware(rate: float, severity: str) -> None:
    """29,715 tokens/s of a 70B on eight H200 were measured; ten times that no memory can read."""
    every = catalogue()
    said = {"model": "meta-llama/Llama-3.1-70B-Instruct", "gpu": "NVIDIA H200-SXM-141GB"}
    said |= {"gpus": "8", "quant": "fp8", "speculative": "none"}
    lengths = {"input_tokens": 292.0, "output_tokens": 292.0}
    c = conditions_of(said, lengths, every)
    assert (c.model, c.gpu, c.form_factor) == ("llama-3.1-70b", "h200", "sxm")
    (found,) = bound_findings({"output_tokens_per_s": rate}, c, every)
    assert (found.code, found.severity) == ("bound", severity)


def test_the_bound_in_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A summary says little of its hardware; what is typed is used, what is wrong refused."""
    path = tmp_path / "r.json"
    path.write_text(json.dumps({**VLLM_SUMMARY, "output_throughput": 1725581.2}))
    words = ["model=gpt-oss-120b", "gpu=h100-sxm", "gpus=8"]
    with pytest.raises(SystemExit):
        main(["audit", str(path), "--json", *words])
    (found,) = json.loads(capsys.readouterr().out)
    bound = [f for f in found["findings"] if f["code"] == "bound"]
    assert [f["severity"] for f in bound if f["text"].startswith("output")] == ["fail"]
    assert "output_tokens_per_s" in found["not_trusted"]
    for wrong, message in (
        ("gpu=h100-sxn", "Did you mean 'h100-sxm'"),
        ("model=gpt-os-120b", "Did you mean 'gpt-oss-120b'"),
        ("colour=red", "'colour'"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["audit", str(path), wrong])
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
