"""Stored runs through the whole pipeline: to J/token and its labels, and to the energy split."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from power_support import at
from stored_support import STARTS_S, busy, document, repeat_of, stored

from bench.claims.of_run import points_of
from bench.cli.verb import verb
from bench.cli.verbs import split
from bench.derive import derive
from bench.money.of_run import tco_run
from bench.power import table
from bench.power.mixes import mixes
from bench.power.split import MixPoint, split_energy
from bench.power.table import POWER_METRICS
from bench.report.terminal import print_run
from bench.store import load_run
from bench.values.errors import InputError

# 60 W idle; under load 90 W, 0.2 J a prompt token and 3 J an output token, a request a second.
MIXES = ((100, 10), (400, 10), (200, 50), (600, 40), (50, 80), (500, 100))


def watts(prompt: int, output: int) -> float:
    return 90 + 0.2 * prompt + 3.0 * output


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    results = tmp_path_factory.mktemp("results")
    paths = [stored(results, busy(60, watts(i, o)), prompt=i, output=o) for i, o in MIXES]
    return results, [p.name for p in paths]


def test_the_split_of_stored_runs_gives_the_known_coefficients(
    mixed: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    results, names = mixed
    assert split.run(names, str(results), as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["source"] == "synthetic"
    assert found["verified_on_hardware"] is False
    assert found["left_out"] == []
    for name, true in (("base_w", 90.0), ("input_token_j", 0.2), ("output_token_j", 3.0)):
        estimate = found["split"][name]
        assert estimate["value"] == pytest.approx(true, rel=0.01)
        assert estimate["high"] - estimate["low"] < 0.05 * true
    assert split.run(names, str(results), as_json=False) == 0
    shown = capsys.readouterr().out
    assert "power by synthetic: no measurement" in shown
    assert "prompt token" in shown


def test_five_mixes_are_one_too_few(
    mixed: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    results, names = mixed
    assert split.run([*names[:5], names[0]], str(results), as_json=True) == 0  # named twice: once
    found = json.loads(capsys.readouterr().out)["split"]
    assert found["reason"] == "5 load points of 6 needed"
    assert found["output_token_j"] is None


def test_unlike_runs_make_no_split(mixed: tuple[Path, list[str]], tmp_path: Path) -> None:
    results, names = mixed
    other = stored(tmp_path, busy(60, 300), overrides=["seed=1", "engine.dtype=float16"])
    runs = [load_run(p) for p in (results / "tiny" / names[0], other)]
    with pytest.raises(InputError, match=r"differs from .* in engine"):
        mixes([(r, derive(r)) for r in runs])


def test_a_load_point_without_energy_is_left_out(tmp_path: Path) -> None:
    """Its board drew more than its limit allows: the energy is withheld, and so is its mix."""
    run = load_run(stored(tmp_path, busy(60, 900)))
    found = mixes([(run, derive(run))])
    assert found.points == ()
    assert "energy_reset" in found.left_out[0]


def test_a_mix_counts_the_prompt_tokens_that_were_computed(mixed: tuple[Path, list[str]]) -> None:
    """100 prompt tokens a second for 3 x 65 s, a quarter of them from the cache: 14,625."""
    results, names = mixed
    run = load_run(results / "tiny" / names[0])
    before = {"prefix_cache_hits_total": 0.0, "prefix_cache_queries_total": 0.0}
    after = {"prefix_cache_hits_total": 25.0, "prefix_cache_queries_total": 100.0}
    counted = [replace(d, engine_before=before, engine_after=after) for d in run.points]
    (mix,) = mixes([(replace(run, points=tuple(counted)), derive(run))]).points
    assert mix.input_tokens == pytest.approx(0.75 * 100 * 3 * 65)
    assert mix.output_tokens == pytest.approx(10 * 3 * 65)


def points(count: int, power: Any) -> list[MixPoint]:
    """Mixes over 100 s; `power` gives W from prompt and output tokens per second."""
    rates = [(100.0 * (1 + i % 3), 10.0 * (1 + i // 3)) for i in range(count)]
    return [
        MixPoint(
            label=f"p{i}",
            energy_j=100 * power(a, b),
            seconds=100,
            input_tokens=100 * a,
            output_tokens=100 * b,
        )
        for i, (a, b) in enumerate(rates)
    ]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (points(6, lambda a, b: 400.0), "the interval of J per prompt token spans 0"),
        (points(9, lambda a, b: 90 + 0.05 * a * b), "not the same in all mixes"),
        (
            [replace(p, output_tokens=p.input_tokens) for p in points(6, lambda a, b: 90 + a)],
            "too alike",
        ),
        ([replace(p, input_tokens=0) for p in points(6, lambda a, b: 90 + b)], "never occurs"),
    ],
)
def test_data_that_supports_no_split(made: list[MixPoint], reason: str) -> None:
    found = split_energy(made)
    assert found.reason is not None
    assert reason in found.reason
    assert found.input_token_j is None
    assert found.output_token_j is None
    assert found.base_w is None


@pytest.fixture(scope="module", params=["replay", "synthetic", "nvml"])
def run_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    results = tmp_path_factory.mktemp(request.param)
    return request.param, stored(results, busy(100, 400), source=request.param)


def test_a_trace_to_joules_per_token_and_its_label(run_of: tuple[str, Path]) -> None:
    """400 W ÷ 20 tokens/s = 20 J/token; 20 output and 50 prompt tokens a second: 5.71 J/token."""
    source, path = run_of
    found = document(path)
    (load,) = found["load_points"]
    assert found["valid"] is True
    assert load["energy_per_output_token_j"]["value"] == pytest.approx(20.0, rel=2e-3)
    assert load["energy_per_total_token_j"]["value"] == pytest.approx(400 / 70, rel=2e-3)
    assert load["energy_per_request_j"]["value"] == pytest.approx(400.0, rel=2e-3)
    own = "measured" if source == "nvml" else source
    for one in POWER_METRICS:
        metric = load[one.name]
        if metric["value"] is not None and metric["arose"] not in ("quoted", "modelled"):
            assert metric["arose"] == own, one.name
    assert found["power"]["power_source"] == source
    assert found["power"]["verified_on_hardware"] is False
    (label,) = [f for f in load["findings"] if f["code"] == "power_source"]
    expected = "unverified on hardware" if source == "nvml" else "not to be published as measured"
    assert expected in label["text"]


def test_the_terminal_names_what_is_no_measurement(
    run_of: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source, path = run_of
    run = load_run(path)
    print_run(run, derive(run))
    shown = capsys.readouterr().out
    if source == "nvml":
        assert "GPU board by nvml" in shown
        assert "method unverified on hardware" in shown
    else:
        assert f"power ({source})" in shown
        assert "not to be published as measured" in shown


def test_costs_and_claims_refuse_it_as_measured(
    run_of: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source, path = run_of
    run = load_run(path)
    measured = tco_run(run, derive(run))
    assert measured.points[0].load_w == pytest.approx(400.0, rel=2e-3)
    assert measured.words == (() if source == "nvml" else (source,))
    evidence = points_of(run, derive(run))[0].metrics
    assert "output_tokens_per_s" in evidence
    assert ("energy_per_output_token_j" in evidence) == (source == "nvml")
    assert ("power_mean_w" in evidence) == (source == "nvml")
    if source != "nvml":
        from bench.cli.main import main

        with pytest.raises(SystemExit) as ended:
            main(["tco", str(path)])
        assert ended.value.code == 2
        assert f"tco.allow=[{source}]" in capsys.readouterr().err


def test_the_label_and_a_recorded_trace_come_and_go_together() -> None:
    """Results lose `unverified on hardware` with a trace of real boards in the tests' data."""
    data = Path(__file__).parents[1] / "data"
    recorded = [*data.rglob("*nvml*.jsonl"), *data.rglob("*nvml*.jsonl.gz")]
    assert bool(recorded) == table.VERIFIED_ON_HARDWARE


def test_the_split_is_a_verb_that_explains_itself() -> None:
    assert "bench -m load=energy" in verb("split").more
    with pytest.raises(InputError, match="name the runs"):
        split.run([], "results", as_json=False)


def test_repeats_lie_where_the_boards_curve_says() -> None:
    """The helper's own arithmetic: 300 W more from 19 s to 87 s, and nothing in the gap."""
    curve = busy(100, 400)
    assert curve(19) == pytest.approx(1900)
    assert curve(87) - curve(19) == pytest.approx(400 * 68)
    assert curve(95) - curve(90) == pytest.approx(500)
    assert repeat_of(1, 5, 20).start_ns == at(STARTS_S[1])
