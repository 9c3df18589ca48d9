"""Results really written by other tools, against a server with traps: what each file reveals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.claims.of_run import points_of
from bench.cli.main import main
from bench.derive import derive
from bench.foreign.audit import audit, foreign_checks
from bench.foreign.guidellm import read as read_guidellm
from bench.foreign.read import results
from bench.foreign.result import statistics
from bench.foreign.vllm_bench import read as read_vllm
from bench.store import load_run
from bench.values.errors import InputError
from bench.values.record import TOKENS_AROSE

DATA = Path(__file__).parents[1] / "data" / "audit"


def judged(capsys: pytest.CaptureFixture[str], name: str, *words: str) -> dict[str, Any]:
    """The audit of one recorded result, as `--json` prints it."""
    with pytest.raises(SystemExit) as ended:
        main(["audit", str(DATA / name), "--json", *words])
    assert ended.value.code in (None, 0)
    (document,) = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def failing(document: dict[str, Any]) -> set[str]:
    return {f["code"] for f in document["findings"] if f["severity"] == "fail"}


def figure(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(f for f in document["figures"] if f["metric"] == name)


@pytest.mark.parametrize(
    ("name", "trap", "revealed"),
    [
        ("vllm-bundle.json.gz", "bundles", True),
        ("vllm-errors.json.gz", "errors", True),
        ("vllm-drift.json.gz", "drift", True),
        ("vllm-starved.json.gz", "taken_together", True),  # two busy processes on its core
        ("vllm-good.json.gz", "taken_together", False),
        ("vllm-half.json.gz", "asked_lengths", False),  # it does not keep what was asked for
        ("vllm-rs-bundle.json.gz", "bundles", True),
        ("vllm-rs-errors.json.gz", "errors", True),
        ("vllm-rs-drift.json.gz", "drift", True),
        ("vllm-rs-starved.json.gz", "taken_together", True),
        ("vllm-rs-good.json.gz", "taken_together", False),
        ("vllm-rs-half.json.gz", "asked_lengths", False),
        ("guidellm-half.json.gz", "asked_lengths", True),
        ("guidellm-errors.json.gz", "errors", True),
        ("guidellm-drift.json.gz", "drift", True),
        ("guidellm-bundle.json.gz", "bundles", False),  # it keeps the first and the last alone
        ("aiperf-half", "asked_lengths", True),
        ("aiperf-bundle", "bundles", True),
        ("aiperf-errors", "errors", True),
    ],
)
def test_a_trap_is_revealed_where_the_file_can_reveal_it(
    name: str, trap: str, revealed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    document = judged(capsys, name)
    assert (trap in failing(document)) is revealed
    if not revealed:
        said = " ".join(document["unsaid"])
        assert "length that was asked for" in said or "when each token came" in said


def test_a_good_result_is_trusted_but_for_what_its_tool_defines_otherwise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """GuideLLM's TPOT is E2E ÷ tokens: 245.6 ms ÷ 40 = 6.1, where the server's pace was 5."""
    document = judged(capsys, "guidellm-good.json.gz")
    assert not failing(document)
    assert "requests_per_s" in document["trusted"]
    tpot = figure(document, "tpot_p50_ms")
    assert tpot["verdict"] == "another definition"
    assert tpot["claimed"] == pytest.approx(6.07, abs=0.01)
    assert tpot["ours"] == pytest.approx(5.03, abs=0.01)
    assert "E2E" in tpot["why"]


def test_bundles_make_a_gap_eight_times_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    """8 tokens each 40 ms: the file says an ITL of 40 ms; per token it is 5."""
    document = judged(capsys, "vllm-bundle.json.gz")
    assert figure(document, "itl_p50_ms")["verdict"] == "no"
    assert figure(document, "itl_p50_ms")["claimed"] == pytest.approx(40, rel=0.02)


def test_an_import_is_a_run_under_its_tools_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = judged(capsys, "guidellm-good.json.gz", "--import", f"results_dir={tmp_path}")
    (folder,) = tmp_path.glob("*/*")
    assert document["stored"] == str(folder)
    stored = json.loads((folder / "run.json").read_text())
    assert stored["spec"]["load"]["generator"] == "guidellm"
    assert folder.parent.name == "guidellm-tiny"
    assert (
        stored["spec"]["workload"]["input_tokens"],
        stored["spec"]["workload"]["output_tokens"],
    ) == (
        13,
        40,
    )
    run = load_run(folder)
    (point,) = points_of(run, derive(run))
    assert point.words == ("measured by guidellm",)
    assert [point.conditions[k] for k in ("model", "quant", "gpu", "gpus")] == [None] * 4
    assert stored["provenance"]["imported"]["file"] == "guidellm-good.json.gz"
    with pytest.raises(SystemExit):
        main(["show", str(folder), "--json"])
    shown = json.loads(capsys.readouterr().out)
    codes = {f["code"]: f["text"] for f in shown["findings"]}
    assert "guidellm 0.8.1 (imported from guidellm-good.json.gz)" in codes["other_client"]
    with pytest.raises(SystemExit) as ended:
        main(["load.generator=guidellm", "engine=truth"])
    assert ended.value.code == 2


DETAILED: dict[str, Any] = {
    "duration": 2.0,
    "completed": 2,
    "failed": 1,
    "max_concurrency": 2,
    "output_throughput": 3.5,
    "request_throughput": 1.0,
    "mean_ttft_ms": 150.0,
    "mean_itl_ms": 80.0 / 3,
    "mean_tpot_ms": (50 / 3 + 15.0) / 2,
    "start_times": [10.5, 10.0, 11.0],
    "ttfts": [0.1, 0.2, 0.0],
    "itls": [[0.01, 0.02], [0.05], []],
    "latencies": [0.13, 0.25, 0.0],
    "input_lens": [8, 9, 8],
    "output_lens": [3, 4, 0],
    "errors": ["", "", "connection reset"],
}


def test_a_figure_follows_from_its_own_data_or_not() -> None:
    """7 tokens in 2 s are 3.5/s; TTFT 100 and 200 ms; gaps 10, 20 and 50 ms; TPOT 30 ÷ 2 and
    50 ÷ 3 ms. A claim of 7 tokens/s is +100 % off."""
    (good,) = read_vllm("r.json", DETAILED) or []
    checks = {f.code: f for f in foreign_checks(good)}
    assert checks["own_arithmetic"].severity == "pass"
    (wrong,) = read_vllm("r.json", {**DETAILED, "output_throughput": 7.0}) or []
    found = {f.code: f for f in foreign_checks(wrong)}["own_arithmetic"]
    assert found.severity == "fail"
    assert found.figure == pytest.approx(1.0)
    assert found.metrics == ("output_tokens_per_s",)


def test_without_raw_data_nothing_is_trusted() -> None:
    summary = {k: v for k, v in DETAILED.items() if not isinstance(v, list)}
    (found,) = read_vllm("r.json", summary) or []
    lines = audit(found, None).lines
    assert lines
    # One request of three failed; and gaps are of several tokens: 26.7 against 15.8 ms.
    assert {line.verdict for line in lines} == {"no", "unknown"}
    assert {line.metric for line in lines if line.verdict == "unknown"} == {"error_rate"}


def test_more_in_flight_than_allowed_is_another_load() -> None:
    (found,) = read_vllm("r.json", {**DETAILED, "max_concurrency": 1}) or []
    (alone,) = (f for f in foreign_checks(found) if f.code == "in_flight")
    assert alone.severity == "pass"  # 10.0 to 10.25 and 10.5 to 10.63: one at a time
    together = {**DETAILED, "start_times": [10.0, 10.0, 10.0], "max_concurrency": 1}
    (found,) = read_vllm("r.json", together) or []
    (both,) = (f for f in foreign_checks(found) if f.code == "in_flight")
    assert (both.severity, both.figure) == ("fail", 2)


def test_a_percentile_may_be_taken_by_any_rule() -> None:
    """Of 1 to 10 the median is 5.5, 5 or 6 by usual rules: from 4 to 7 is a rank either way."""
    assert statistics("e2e", [float(i) for i in range(1, 11)])["e2e_p50_ms"] == (4.0, 7.0)


def test_an_end_of_stream_is_no_token() -> None:
    """One piece more than tokens in every answer: the last is the empty end of the stream."""
    rows = {"output_lens": [2, 1, 0], "itls": [[0.01, 0.02], [0.05], []]}
    (found,) = read_vllm("r.json", {**DETAILED, **rows}) or []
    assert found.data is not None
    assert found.data.requests["chunks"].tolist() == [1, 2, 0]
    assert (
        found.data.requests["tokens_arose"].tolist()[:2]
        == [TOKENS_AROSE.index("one_per_chunk")] * 2
    )
    assert "end of every stream" in found.notes[0]


def test_inference_perf_and_inferencex_are_claims_alone(tmp_path: Path) -> None:
    """Seconds become ms, a rate per GPU that of all: 1,000 tokens/s on each of 8."""
    perf = {
        "successes": {
            "count": 480,
            "latency": {"request_latency": {"mean": 3.31, "median": 2.11, "p90": 5.94}},
            "throughput": {"requests_per_sec": 1.02, "total_tokens_per_sec": 676.12},
        },
        "failures": {"count": 3},
    }
    x = {"hw": "h200", "conc": 64, "tp": 8, "tput_per_gpu": 2000, "output_tput_per_gpu": 1000}
    (tmp_path / "a.json").write_text(json.dumps(perf))
    (tmp_path / "b.json").write_text(json.dumps(x))
    (found,) = results(str(tmp_path / "a.json"))
    assert found.claims["e2e_p50_ms"] == 2110.0
    assert found.claims["error_rate"] == 3 / 483
    (found,) = results(str(tmp_path / "b.json"))
    assert (found.tool, found.claims["output_tokens_per_s"]) == ("inferencex", 8000)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{}", "none of vLLM's or SGLang's serving benchmark"),
        ("no json", "neither JSON nor JSONL"),
        ('{"benchmarks": [7]}', "not as GuideLLM 0.8 writes it"),
        (json.dumps({**DETAILED, "itls": [[0.1]]}), "the lists of its requests do not fit"),
    ],
)
def test_what_is_no_result_is_refused_in_one_line(content: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(InputError, match=text):
        results(str(tmp_path / "r.json"))


def test_guidellm_of_another_shape_is_not_taken_for_it() -> None:
    assert read_guidellm("r.json", {"benchmarks": "none"}) is None
