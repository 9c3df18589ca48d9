"""A run in the forms of others: what each holds, and that nothing withheld gets into it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.derive import derive
from bench.measure.measurement import Measurement
from bench.report.exchange import llm_d_reports, mlflow_batches, prometheus
from bench.store import load_run
from bench.values.finding import finding
from bench.values.record import Run

STORED = Path(__file__).parents[1] / "data" / "run-schema-1"


@pytest.fixture(scope="module")
def measured() -> tuple[Run, Measurement]:
    run = load_run(STORED)
    return run, derive(run)


def test_llm_d_s_report_has_the_figures_of_the_run(measured: tuple[Run, Measurement]) -> None:
    """Names and units of its schema 0.2; one report a load point."""
    run, measurement = measured
    reports = list(llm_d_reports(run, measurement))
    assert len(reports) == len(measurement.points)
    for report, point in zip(reports, measurement.points, strict=True):
        assert report["version"] == "0.2"
        assert re.fullmatch(r"[0-9a-f]{32}", report["run"]["uid"])
        assert re.fullmatch(r"PT[0-9.]+S", report["run"]["time"]["duration"])
        aggregate = report["results"]["request_performance"]["aggregate"]
        assert aggregate["requests"]["total"] == point.requests
        rate = point.metrics["output_tokens_per_s"].value
        shown = aggregate["throughput"].get("output_token_rate")
        assert (None if shown is None else shown["mean"]) == rate
        if shown is not None:
            assert shown["units"] == "tokens/s"
        for latency in aggregate["latency"].values():
            assert latency["units"] in ("ms", "ms/token")
            assert latency["mean"] > 0
        (engine,) = report["scenario"]["stack"]
        assert engine["standardized"]["kind"] == "inference_engine"
        assert engine["standardized"]["model"] == {"name": run.spec.model.name}
    assert len({r["run"]["uid"] for r in reports}) == len(reports)


def test_mlflow_takes_each_batch(measured: tuple[Run, Measurement]) -> None:
    """At most 1,000 metrics a request, keys of its alphabet, milliseconds since 1970."""
    run, measurement = measured
    batches = list(mlflow_batches(run, measurement))
    assert all(len(b["metrics"]) <= 1_000 for b in batches)
    every = [m for b in batches for m in b["metrics"]]
    assert every
    for metric in every:
        assert re.fullmatch(r"[\w./ -]+", metric["key"])
        assert isinstance(metric["value"], float)
        assert metric["timestamp"] > 1.7e12
    assert {p["key"] for p in batches[0]["params"]} >= {"model", "quant", "gpus"}
    tags = {t["key"]: t["value"] for t in batches[0]["tags"]}
    assert tags["bench.valid"] == str(measurement.valid).lower()


def test_prometheus_reads_the_text(measured: tuple[Run, Measurement]) -> None:
    """Every name has its HELP and TYPE and stands once; labels are quoted; two runs together."""
    run, measurement = measured
    odd = replace(run, path='a "b"\\c\n')
    text = prometheus([(run, measurement), (odd, measurement)])
    assert text.endswith("\n")
    names: list[str] = []
    sample = re.compile(r'^(\w+)\{(?:\w+="(?:[^"\\\n]|\\["\\n])*",?)+\} [-+0-9.e]+$')
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            names.append(line.split(" ")[2])
        elif not line.startswith("#"):
            found = sample.match(line)
            assert found, line
            assert found[1] == names[-1]
    assert len(names) == len(set(names))
    assert names[0] == "bench_valid"


def test_what_is_withheld_is_in_none_of_them(measured: tuple[Run, Measurement]) -> None:
    run, measurement = measured
    from bench.measure.checks.moves import withhold

    failed = finding("clock", "fail", "an event stands before its cause")
    points = tuple(
        replace(p, metrics=withhold(p.metrics, [failed]), findings=(failed,))
        for p in measurement.points
    )
    hidden = replace(measurement, points=points)
    (report, *_) = llm_d_reports(run, hidden)
    assert report["results"]["request_performance"]["aggregate"]["throughput"] == {}
    assert "not valid, withheld by clock" in report["run"]["description"]
    assert "bench_output_tokens_per_s{" not in prometheus([(run, hidden)])
    keys = {m["key"].partition("/")[2] for b in mlflow_batches(run, hidden) for m in b["metrics"]}
    assert "output_tokens_per_s" not in keys


def test_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["show", str(STORED), "--format", "llm-d"])
    for line in capsys.readouterr().out.splitlines():
        assert json.loads(line)["version"] == "0.2"
    with pytest.raises(SystemExit) as ended:
        main(["show", str(STORED), "--format", "prometeus"])
    assert ended.value.code == 2
    assert "Did you mean 'prometheus'" in capsys.readouterr().err
