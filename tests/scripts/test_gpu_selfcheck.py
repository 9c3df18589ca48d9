"""The self-check rehearsed: all of it but the reading of a real board."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import gpu_selfcheck
import selfcheck_load

from bench.meters.replay import ReplaySource, read_telemetry
from bench.power.selfcheck_case import Answer, Verdict


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("selfcheck")
    short = gpu_selfcheck.Timing(
        idle=1, fast=2.7, step=0.8, warm=0.1, polled=1.2, steady=2, wave=1, round=0.3, restart=1
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_selfcheck, "REHEARSAL", short)
        assert gpu_selfcheck.main(["--rehearse", "--out", str(out)]) == 0
    return out


def test_all_eleven_questions_are_answered_and_it_says_that_it_was_a_rehearsal(
    rehearsed: Path,
) -> None:
    found = json.loads((rehearsed / "selfcheck.json").read_text())
    assert found["rehearsal"] is True
    assert found["source"] == "synthetic"
    assert len(found["answers"]) == 11
    verdicts = {a["question"]: a["verdict"] for a in found["answers"]}
    assert verdicts["fields supported"] == "ok"
    assert verdicts["idle baselines"] == "ok"
    assert verdicts["counter continuity over an engine restart"] == "ok"
    edges = next(s for s in found["segments"] if s["name"] == "steps")["edges_ns"]
    assert edges == sorted(edges)
    assert 0 < len(edges) <= 2 * gpu_selfcheck.STEPS  # a busy machine may sleep through some


def test_its_replay_fixture_plays_and_says_where_it_is_from(rehearsed: Path) -> None:
    trace = read_telemetry(rehearsed / "replay.jsonl.gz")
    assert "gpu_selfcheck" in (trace.header.note or "")
    header = ReplaySource(trace).header()
    assert header.source == "replay"
    assert "recorded from synthetic" in (header.note or "")
    t_ns, power = trace.of(0, "power").read("instant_mw")
    assert power.min() == 70_000
    assert power.max() == 620_000
    # Only what the sampler read as in a run: the fast polling is in the whole trace alone.
    assert len(t_ns) < len(read_telemetry(rehearsed / "trace.jsonl.gz").of(0, "power").t_ns) / 2


def test_a_square_wave_works_in_the_first_half_of_each_period() -> None:
    unit, _ = selfcheck_load.cpu_unit()
    start = time.monotonic_ns() + 20_000_000
    order = {"load": "square", "start_ns": start, "end_ns": start + 300_000_000, "period_s": 0.1}
    said = selfcheck_load.perform(order, unit)
    assert said["units"] > 0
    edges = said["edges_ns"]
    assert edges == sorted(edges)
    assert edges[0] >= start
    assert len(edges) in (2, 4, 6)  # on and off in turn; a busy machine may sleep through some


def test_without_a_gpu_it_says_so_and_names_the_rehearsal(tmp_path: Path) -> None:
    from bench.meters.gpus import list_gpus

    if list_gpus().devices:
        pytest.skip("there is a GPU here")
    with pytest.raises(SystemExit, match="--rehearse does without"):
        gpu_selfcheck.main(["--out", str(tmp_path)])


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (("ok", "ok"), 0),
        (("ok", "not supported"), 0),  # that a board has no such sensor is an answer
        (("ok", "differs"), 3),
        (("differs", "not measured"), 4),
    ],
)
def test_it_ends_as_its_answers_do(verdicts: tuple[Verdict, ...], code: int) -> None:
    told = [Answer(question="q", verdict=v, text="t") for v in verdicts]
    assert gpu_selfcheck.exit_code(told) == code
