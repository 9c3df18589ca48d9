"""A run that is stopped goes on by its id: whole load points stay, the begun one is redone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.derive import derive
from bench.store import load_point, load_run, save_run
from bench.sweep import ends, resume
from bench.sweep.ends import claimed, end_of
from bench.values import ending
from bench.values.errors import InputError

ID = "tiny/none-x0-20260101-000000-0"
WORDS = (
    *("engine=truth", "gpus=0", "meter=none", "load.concurrency=[1,2]", "load.repeats=2"),
    *("load.duration_s=0.5", "load.calibrate=false", "load.warmup_requests=1", "--run-id", ID),
)


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "bench.cli", *WORDS, f"results_dir={folder}", *more]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def stopped_in_second_point(folder: Path, number: int) -> tuple[int, str]:
    process = start(folder)
    run = folder / ID
    while not list(run.glob("points/*/point.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run stopped by SIGUSR1 after its first load point, and then begun again."""
    folder = tmp_path_factory.mktemp("resumed")
    code, said = stopped_in_second_point(folder, signal.SIGUSR1)
    run = folder / ID
    before = {p.parent.name: p.read_bytes() for p in run.glob("points/*/point.json")}
    end = end_of(run)
    process = start(folder, "--json")
    out, err = process.communicate(timeout=120)
    return {
        "folder": folder,
        "run": run,
        "stopped": (code, said, end),
        "before": before,
        "document": json.loads(out),
        "code": process.returncode,
        "err": err,
    }


def test_it_says_that_it_was_stopped_and_may_go_on(resumed: dict[str, Any]) -> None:
    code, said, end = resumed["stopped"]
    assert code == 75
    assert end.exit_code == 75
    assert "interrupted (SIGUSR1)" in said
    assert "kept in" in said


def test_whole_load_points_stay_as_they_were_and_the_others_are_of_a_launch_of_their_own(
    resumed: dict[str, Any],
) -> None:
    assert resumed["code"] == 0, resumed["err"]
    shown = {f"load c{key[5]}, repeat {int(key[-1]) + 1} " for key in resumed["before"]}
    assert shown
    assert not [line for line in resumed["err"].splitlines() if any(s in line for s in shown)]
    assert "load c2, repeat 2 (4/4)" in resumed["err"]
    points = {p.parent.name: p for p in resumed["run"].glob("points/*/point.json")}
    assert sorted(points) == ["000-c1-r0", "000-c1-r1", "001-c2-r0", "001-c2-r1"]
    for key, content in resumed["before"].items():
        assert points[key].read_bytes() == content
    launches = {key: load_point(p.parent).launch for key, p in points.items()}
    assert launches == {key: int(key not in resumed["before"]) for key in points}
    run = load_run(resumed["run"])
    assert [(x.ended_by, x.set_aside) for x in run.earlier] == [("SIGUSR1", None)]
    assert run.status == "complete"
    assert run.joined == (0,)  # one boot, the same devices: none


def test_repeats_of_two_launches_say_so(resumed: dict[str, Any]) -> None:
    for point in derive(load_run(resumed["run"])).points:
        mixed = (
            len(
                {
                    d.launch
                    for d in load_run(resumed["run"]).points
                    if d.point.index == point.point.index
                }
            )
            > 1
        )
        assert ("relaunched" in {f.code for f in point.findings}) == mixed
    assert any("relaunched" in str(p["findings"]) for p in resumed["document"]["load_points"])


def test_one_that_is_complete_is_not_measured_again(resumed: dict[str, Any]) -> None:
    stamp = (resumed["run"] / "run.json").stat().st_mtime_ns
    process = start(resumed["folder"], "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "complete already" in err
    assert json.loads(out)["load_points"] == resumed["document"]["load_points"]
    assert (resumed["run"] / "run.json").stat().st_mtime_ns == stamp


def test_other_words_are_another_run(resumed: dict[str, Any]) -> None:
    run = load_run(resumed["run"])
    save_run(resumed["run"], replace(run, status="failed"))
    try:
        with pytest.raises(InputError, match=r"begun as another run: seed was 0 and is 5"):
            resume.begun(resumed["run"], replace(run.spec, seed=5))
    finally:
        save_run(resumed["run"], run)


def test_load_points_of_an_unlike_launch_are_set_aside(tmp_path: Path) -> None:
    """Killed on one machine, begun again on one with another processor: nothing is pooled."""
    stopped_in_second_point(tmp_path, signal.SIGTERM)
    run = tmp_path / ID
    stored = load_run(run)
    assert stored.ended_by == "SIGTERM"
    save_run(run, replace(stored, provenance={**stored.provenance, "host_cpu": "another"}))
    count = len(list(run.glob("points/*/point.json")))
    process = start(tmp_path)
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert len(list((run / "set_aside" / "launch-0").iterdir())) == count
    assert {d.launch for d in load_run(run).points} == {1}
    said = [f.text for f in derive(load_run(run)).findings if f.code == "set_aside"]
    assert said
    assert "host_cpu differs: another then" in said[0]


def test_the_folder_it_was_started_from_is_no_other_engine() -> None:
    words = ["-m", "vllm.x", "--host", "h", "--seed", "0"]
    from_home = resume._served({"argv": ["python", "-P", *words]})
    assert from_home == resume._served({"argv": ["python", *words]})


def test_a_container_of_another_name_is_no_other_engine_and_another_image_is() -> None:
    """Its name and label hold the process that started it."""

    def served(pid: str, digest: str) -> dict[str, Any]:
        words = ["podman", "run", "--rm", "--name", f"bench-{pid}", "--label", f"bench.owner={pid}"]
        image = {"name": "i:1", "digest": digest, "id": "sha256:1"}
        return resume._served({"argv": [*words, "i:1", "llama-server"], "image": image})

    assert served("1", "sha256:a") == served("2", "sha256:a")
    assert served("1", "sha256:a") != served("1", "sha256:b")


def test_a_run_has_one_writer_at_a_time(tmp_path: Path) -> None:
    run = tmp_path / "m" / "r"
    with (
        claimed(run),
        pytest.raises(InputError, match="is being measured by"),
        claimed(run),
    ):
        pass
    with claimed(tmp_path / "m" / "r"):
        pass


@pytest.mark.parametrize(
    ("owner", "env", "free"),
    [
        ({"pid": 1, "started_ticks": 5, "boot": "b", "host": "elsewhere"}, {}, False),
        (
            {"slurm": ["7", "0"], "host": "elsewhere", "boot": "b", "started_ticks": 1},
            {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"},
            True,
        ),
        (
            {"slurm": ["7", "0"], "host": "elsewhere", "boot": "b", "started_ticks": 1},
            {"SLURM_JOB_ID": "8", "SLURM_RESTART_COUNT": "1"},
            False,
        ),
        (
            {"slurm": ["7", "1"], "host": "elsewhere", "boot": "b", "started_ticks": 1},
            {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"},
            False,
        ),
        ({**ending.writer(), "started_ticks": 1}, {}, True),
        ({}, {}, False),
    ],
)
def test_a_claim_is_taken_over_only_from_one_that_is_certainly_gone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: dict[str, Any],
    env: dict[str, str],
    free: bool,
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    (tmp_path / ends.CLAIM).write_text(json.dumps(owner))
    if free:
        with claimed(tmp_path):
            assert json.loads((tmp_path / ends.CLAIM).read_text())["pid"] == ending.writer()["pid"]
    else:
        with pytest.raises(InputError, match=r"cannot tell|begun by"), claimed(tmp_path):
            pass
