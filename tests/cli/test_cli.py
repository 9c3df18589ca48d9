"""The command line as people use it: real processes, real files, exit codes, one clear line."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.values.server import Server

QUICK = ("load.concurrency=[1,4]", "load.requests=12", "load.repeats=3", "load.calibrate=false")
ROOT = Path(__file__).parents[2]


def bench(*words: str, limit_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """Type `bench WORDS`; `limit_bytes` bounds every file it writes, as a full disk would."""

    def bound() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return subprocess.run(
        [sys.executable, "-m", "bench.cli", *words],
        capture_output=True,
        text=True,
        timeout=400,
        preexec_fn=bound,
        check=False,
    )


def one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line of a refusal, without a traceback."""
    assert done.returncode == code, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("bench: ")]
    assert len(said) == 1
    assert "Traceback" not in done.stderr
    return said[0]


BAD = [
    (["model=deepseekr1"], "Did you mean 'deepseek-r1'?"),
    (["model=deepseek-r1", "quant=int8"], "pairs that exist: model=deepseek-r1 quant=awq"),
    (["model=deepseek-r1", "gpus=200"], "gpus=200, but"),
    (["load.concurency=[1]"], "load: unknown key 'concurency'. Did you mean 'concurrency'?"),
    (["sed=3"], "Unknown key 'sed'. Did you mean 'seed'?"),
    (["load.concurrency=[-1]"], "load.concurrency must be at least 1"),
    (["load.concurrency=abc"], "load.concurrency: 'abc' is not a list"),
    (["gpus=two"], "gpus: 'two' is not a whole number"),
    (["--jsn"], "Did you mean '--json'?"),
    (["rum"], "'rum' is no verb of bench. Did you mean 'run'?"),
    (["engine=endpoint", "engine.base_url=nonsense"], "is not an address"),
    (["show", "no-such-run"], "no-such-run"),
    (["runs", "model=tiny"], "results_dir=FOLDER only"),
    (["-m", "engine=truth,thruth"], "Did you mean 'truth'?"),
]


@pytest.mark.parametrize(
    ("words", "text"), BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_bad_input_gets_one_line_and_exit_code_2(
    words: list[str], text: str, tmp_path: Path
) -> None:
    done = bench(*words, *([] if words == ["runs", "model=tiny"] else [f"results_dir={tmp_path}"]))
    assert text in one_line(done, 2)
    assert list(tmp_path.rglob("run.json")) == []


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom bench.cli.main import main\n"
        "try: main(['run', '--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'vllm', 'hydra', 'pandas', 'numpy', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.fixture(scope="module")
def truth_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A stored run of the truth server, and the document that `--json` printed for it."""
    results = tmp_path_factory.mktemp("results")
    done = bench("engine=truth", *QUICK, f"results_dir={results}", "--json")
    assert done.returncode == 0, done.stderr
    return results, json.loads(done.stdout)


def test_json_has_every_promised_metric(truth_run: tuple[Path, dict[str, Any]]) -> None:
    _, document = truth_run
    assert isinstance(document["valid"], bool)
    assert [p["load"] for p in document["load_points"]] == ["c1", "c4"]
    names = (
        "ttft_p50_ms ttft_p99_ms itl_p50_ms itl_p99_ms tpot_p50_ms e2e_p50_ms output_tokens_per_s "
        "output_tokens_per_s_per_gpu requests_per_s error_rate"
    ).split()
    for point in document["load_points"]:
        assert point["error_rate"]["value"] == 0
        for name in names:
            assert {"value", "unit", "ci_low", "ci_high", "n", "arose"} <= set(point[name])
        assert point["output_tokens_per_s_per_gpu"]["value"] is None  # no GPU: not measured, not 0


def test_the_truth_is_measured(truth_run: tuple[Path, dict[str, Any]]) -> None:
    """One stream: 5 ms to the first of 64 tokens, then 63 gaps of 0.5 ms: 36.5 ms a request.

    Never faster than the schedule; slower only as far as a busy machine makes it.
    """
    _, document = truth_run
    alone = document["load_points"][0]

    def known(name: str) -> float:
        metric = alone[name]
        return float(metric["withheld_value"] if metric["value"] is None else metric["value"])

    assert 5.0 <= known("ttft_p50_ms") < 15
    assert known("itl_p50_ms") < 2
    assert 36.5 <= known("e2e_p50_ms") < 110
    assert 64 / 0.110 < known("output_tokens_per_s") < 1.02 * 64 / 0.0365


def test_show_derives_the_same_document_again(truth_run: tuple[Path, dict[str, Any]]) -> None:
    results, document = truth_run
    done = bench("show", "latest", f"results_dir={results}", "--json")
    assert json.loads(done.stdout) == document


def test_the_run_folder_holds_spec_provenance_and_raw_stamps(
    truth_run: tuple[Path, dict[str, Any]],
) -> None:
    results, document = truth_run
    folder = Path(document["run"])
    record = json.loads((folder / "run.json").read_text())
    assert folder.parent == results / "tiny"
    assert record["schema_version"] >= 1
    assert record["spec"]["engine"]["kind"] == "truth"
    assert record["provenance"]["python"]
    assert len(list(folder.glob("points/*/*.parquet"))) >= 6
    assert not list(folder.rglob("*.part"))


def test_runs_lists_it_in_a_table_and_as_json(truth_run: tuple[Path, dict[str, Any]]) -> None:
    results, document = truth_run
    rows = json.loads(bench("runs", f"results_dir={results}", "--json").stdout)
    assert [row["run"] for row in rows] == [document["run"]]
    assert Path(document["run"]).name in bench("runs", f"results_dir={results}").stdout


def test_a_sweep_goes_on_after_a_failure_and_exits_1(tmp_path: Path) -> None:
    done = bench(
        "-m",
        "engine=endpoint,truth",
        "seed=1,2",
        "engine.start_timeout_s=15",
        "load.concurrency=[1]",
        "load.requests=4",
        "load.repeats=1",
        "load.warmup_requests=1",
        "load.calibrate=false",
        f"results_dir={tmp_path}",
        "--json",
    )
    assert done.returncode == 1
    documents = json.loads(done.stdout)
    assert len(documents) == 4
    assert ["error" in d for d in documents] == [True, True, False, False]
    assert len({d["run"] for d in documents if "run" in d}) == 2
    assert "2 of 4 runs of the sweep failed" in done.stderr


def test_an_endpoint_that_returns_500s_fails_in_one_line(
    serve_http: Callable[[Any], str], tmp_path: Path
) -> None:
    url = serve_http(lambda *_: (500, "the backend is on fire"))
    words = ("engine=endpoint", f"engine.base_url={url}", "engine.served_model=m")
    done = bench(*words, "engine.start_timeout_s=1", f"results_dir={tmp_path}")
    assert "500" in one_line(done, 1)


PROBES = 6
"""Requests with which an endpoint is asked what it understands: bare, with usage, at temperature 0,
by token ids, with ignore_eos at 64 tokens and again at 8."""


def test_an_endpoint_that_fails_once_the_load_comes(
    serve_http: Callable[[Any], str], tmp_path: Path
) -> None:
    """It passes every probe, then answers 500: the run is kept, and is no success."""
    asked: list[str] = []

    def rule(path: str, *_: Any) -> Any:
        if path.endswith("/models"):
            return 200, {"data": [{"id": "m"}]}
        if path.endswith("/completions"):
            asked.append(path)
        known = len(asked) <= PROBES
        return (200, [{"choices": [{"text": " a"}]}] * 8) if known else (500, "too much")

    words = ("engine=endpoint", f"engine.base_url={serve_http(rule)}", "load.concurrency=[2]")
    quick = ("load.requests=4", "load.repeats=1", "load.calibrate=false", "--json")
    done = bench(*words, *quick, f"results_dir={tmp_path}")
    assert "every request failed: nothing was measured" in one_line(done, 1)
    document = json.loads(done.stdout)
    assert document["valid"] is False
    assert Path(document["run"], "run.json").is_file()


def test_a_results_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = bench("engine=truth", f"results_dir={tmp_path / 'file'}")
    assert "set results_dir to another folder" in one_line(done, 2)


def test_a_full_disk_loses_nothing_collected_before(tmp_path: Path) -> None:
    """Files may grow to 60,000 bytes: the first load point fits, the second does not."""
    done = bench(
        "engine=truth",
        "load.concurrency=[1,64]",
        "load.requests_per_slot=40",
        "load.repeats=1",
        "load.warmup_requests=0",
        "load.calibrate=false",
        f"results_dir={tmp_path}",
        limit_bytes=60_000,
    )
    said = one_line(done, 1)
    assert "Free space" in said
    assert f"1 load point is kept in {tmp_path}" in said
    kept = json.loads(bench("show", "latest", f"results_dir={tmp_path}", "--json").stdout)
    assert [p["load"] for p in kept["load_points"]] == ["c1"]
    assert kept["valid"] is False


@pytest.mark.vllm
def test_a_real_vllm_is_measured_end_to_end(vllm_server: Server, tmp_path: Path) -> None:
    """The whole pipeline on a real engine: token counts reconciled with its usage and metrics."""
    done = bench(
        "engine=endpoint",
        f"engine.base_url={vllm_server.base_url}",
        f"engine.served_model={vllm_server.served_model}",
        "workload.output_tokens=32",
        # Held on the slowest of machines: which load point meets an SLO is not asked here.
        "workload.slo.ttft_ms=60000",
        "workload.slo.tpot_ms=60000",
        "load.concurrency=[1,4]",
        "load.requests=24",
        "load.repeats=3",
        "load.calibrate=false",
        "gpu=cpu",
        f"results_dir={tmp_path}",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    for point in document["load_points"]:
        severities = {f["code"]: f["severity"] for f in point["findings"]}
        assert severities["token_counts"] == "pass"
        assert severities["server_counter"] == "pass"
        assert severities["output_length"] == "pass"
        assert severities["errors"] == "pass"
        assert point["requests"] == 72
        rate = point["output_tokens_per_s"]
        assert (rate["value"] or rate["withheld_value"]) > 0
    costs_what_was_measured(document, tmp_path)


def costs_what_was_measured(document: dict[str, Any], results: Path) -> None:
    """From the stored run to a cost by one command: at full load, (rent ÷ tokens) holds."""
    # So little that one server is enough on the slowest of machines.
    demand = [
        f"tco.demand.mtok_per_month.{k}={v}" for k, v in (("value", 2), ("low", 1), ("high", 4))
    ]
    words = ("tco", "latest", "tco=cpu-host", "tco.allow=[invalid]", f"results_dir={results}")
    done = bench(*words, *demand, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["levels"]["loaded"]["usd_per_mtok_blended"] > 0
    assert answer["servers"] == 1
    rates = [
        sum(
            p[n]["value"] or p[n]["withheld_value"]
            for n in ("input_tokens_per_s", "output_tokens_per_s")
        )
        for p in document["load_points"]
    ]
    tokens_per_s = answer["model"]["tokens_per_s_per_server"]
    assert any(tokens_per_s == pytest.approx(rate) for rate in rates)  # the SLO chooses which
    # 2 M tokens a month against what the server could do in its 730 hours.
    assert answer["utilisation"] == pytest.approx(2e6 / (tokens_per_s * 730 * 3600), rel=0.02)
