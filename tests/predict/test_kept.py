"""A run keeps what it was predicted to show; the error is printed, and a refit learns from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from stored_support import busy, stored

from bench.cli.main import main
from bench.derive import derive
from bench.predict import own
from bench.predict.foretell import foretold
from bench.report.predict_table import error_line
from bench.store import load_run, save_run
from bench.values.errors import InputError
from bench.values.finding import finding
from bench.values.prediction import Band, PredictionError
from bench.values.record import Run
from bench.values.spec import EndpointSpec


def kept_run(results: Path, *words: str) -> Run:
    """A run of 20 tokens a second in one slot, with its prediction in it."""
    path = stored(results, busy(100, 400), source="nvml", overrides=words)
    run = replace(load_run(path), prediction=foretold(load_run(path).spec))
    save_run(path, run)
    return load_run(path)


def code_of(*words: str) -> int:
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as left:
        main(words)
    return int(left.value.code or 0)


LLAMA = "model=llama-3.1-8b"


def test_show_prints_the_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = kept_run(tmp_path, LLAMA)
    by_name = {e.metric: e for e in derive(run).prediction_errors}
    rate = by_name["output_tokens_per_s"]
    assert rate.measured == pytest.approx(20, rel=0.02)  # 20 tokens a second, in one slot
    assert rate.error == pytest.approx(rate.predicted.value / rate.measured - 1)
    assert rate.inside is False  # a Llama 8B on an H100 does some hundred
    assert {"tpot_p50_ms", "ttft_p50_ms"} <= set(by_name)
    assert code_of("show", str(run.path)) == 0
    shown = capsys.readouterr().out
    assert "predicted output_tokens_per_s at c1:" in shown
    assert "outside the 80 % band" in shown
    assert code_of("show", str(run.path), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["prediction"]["points"][0]["arose"] == "predicted"
    assert document["prediction_errors"][0]["metric"] == "output_tokens_per_s"


def test_why_nothing_was_predicted_is_kept(tmp_path: Path) -> None:
    run = kept_run(tmp_path, LLAMA, "engine=truth")
    assert run.prediction == {
        "none": "engine=truth serves no model: nothing to predict. Use engine=vllm."
    }
    assert derive(run).prediction_errors == ()


def test_a_refit_keeps_rows_and_says_what_it_gained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = kept_run(tmp_path, LLAMA)
    words = [LLAMA, "gpu=h100-sxm", "gpus=1", "workload.input_tokens=50", f"results_dir={tmp_path}"]
    words += ["workload.output_tokens=20", "load.concurrency=[1]"]
    assert code_of("predict", *words, "--json") == 0
    before = json.loads(capsys.readouterr().out)["predicted"][0]["figures"]["output_tokens_per_s"]
    assert code_of("predict", "--refit", str(run.path), *words, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    after = said["predicted"][0]["figures"]["output_tokens_per_s"]
    assert said["predicted"][0]["own_rows"] == 1
    assert "before the refit" in said["refit"]
    assert abs(after["value"] - 20) < abs(before["value"] - 20)
    rows = own.kept(str(tmp_path))
    assert [(r.model, r.gpu, r.own) for r in rows] == [("llama-3.1-8b", "h100-sxm", True)]
    assert rows[0].tokens_per_s == pytest.approx(20, rel=0.02)
    assert rows[0].log_sd is not None  # three repeats
    # The same run again replaces its rows.
    assert code_of("predict", "--refit", str(run.path), f"results_dir={tmp_path}") == 0
    shown = capsys.readouterr()
    assert "1 load point of your own is kept" in shown.err
    assert "1 load point of your own on this device (all of this model)" in shown.out
    assert "launches of one condition differ by ± 4.1%: assumed" in shown.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "--refit"], "--refit needs runs"),
        (["predict", "some-run"], "runs are named behind --refit"),
        (["predict", "model=llama-3.1-8b", "gpu=h100-sxm", "--engine", "vlm"], "vllm"),
        (["predict", "model=llama-3.1-70b", "gpu=h100-sxm", "gpus=1"], "does not fit"),
        (["predict", "model=llama-3.1-8b", "gpu=h100-sxm", "load=slo"], "a search or ramp"),
    ],
)
def test_wrong_words_are_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*words) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
    assert len(shown.err.strip().splitlines()) == 1


@pytest.mark.parametrize("e2e_ms", [4000.0, None])
def test_what_was_in_flight_of_an_open_loop_is_little_s_law_or_unknown(
    tmp_path: Path, e2e_ms: float | None
) -> None:
    """One request a second that takes 4 s on average, 1 s in the median: four are in flight. Where
    the mean is withheld the row is left out, not taken as one in flight."""
    run = kept_run(tmp_path, LLAMA)
    measured = derive(run)
    (point,) = measured.points
    given = {"requests_per_s": 1.0, "e2e_mean_ms": e2e_ms, "e2e_p50_ms": 1000.0}
    metrics = {n: replace(m, value=given.get(n, m.value)) for n, m in point.metrics.items()}
    load = replace(point.point, mode="open", concurrency=None, rate_per_s=1.0)
    asked = replace(measured, points=(replace(point, point=load, metrics=metrics),))
    if e2e_ms is None:
        with pytest.raises(InputError, match="nothing to learn"):
            own.rows_of(run, asked)
    else:
        (row,) = own.rows_of(run, asked)
        assert row.concurrency == pytest.approx(4.0)


def test_a_run_that_is_not_valid_teaches_nothing(tmp_path: Path) -> None:
    run = kept_run(tmp_path, LLAMA)
    measured = derive(run)
    other = finding("served_model", "fail", "the server serves another model", 1.0, "models")
    with pytest.raises(InputError, match="serves another model"):
        own.rows_of(run, replace(measured, findings=(other,)))


@pytest.mark.parametrize("named", [None, "llama-3.1-8b"])
def test_an_endpoint_has_to_be_said_of_what_it_is(tmp_path: Path, named: str | None) -> None:
    run = kept_run(tmp_path, LLAMA)
    spec = replace(run.spec, engine=EndpointSpec(expects_model=named))
    if named is None:
        with pytest.raises(InputError, match="was not said of this endpoint"):
            own.rows_of(replace(run, spec=spec), derive(run))
    else:
        assert own.rows_of(replace(run, spec=spec), derive(run))[0].engine == "endpoint"


def test_an_interval_that_reaches_the_band_changes_no_verdict() -> None:
    made = PredictionError(
        load="c4",
        metric="output_tokens_per_s",
        unit="tokens/s",
        predicted=Band(value=20.9, low=18.8, high=23.2),
        measured=24.5,
        error=20.9 / 24.5 - 1,
        inside=False,
        measured_low=21.4,
        measured_high=27.6,
    )
    assert made.overlaps is True
    assert "overlaps it and counts as outside all the same" in error_line(made)
    far = replace(made, measured_low=23.3)
    assert far.overlaps is False
    assert "does not reach it" in error_line(far)
    unbounded = replace(made, measured_low=None)
    assert unbounded.overlaps is None
    assert error_line(unbounded).endswith("outside the 80 % band")
