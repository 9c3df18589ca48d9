"""results_dir at an address: measured here, stored there, read from another machine."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_remote import stored

from bench.api import load, runs
from bench.cli.arguments import Arguments
from bench.cli.team import at_address, rows_at
from bench.sweep.ends import End, note_end
from bench.sweep.mirror import mirror_of
from bench.sweep.remote import Address, push

fsspec = pytest.importorskip("fsspec")

RUN = (
    *("engine=truth", "gpus=0", "meter=none", "load.concurrency=[1]", "load.repeats=1"),
    *("load.duration_s=0.2", "load.calibrate=false", "engine.ttft_ms=5", "engine.itl_ms=1"),
    *("workload.input_tokens=8", "workload.output_tokens=8"),
)


def bench(machine: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command on a machine of its own: its mirrors lie in `machine`."""
    env = {"BENCH_MIRRORS": str(machine), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    command = (sys.executable, "-m", "bench.cli", *words)
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_a_run_is_stored_there_and_read_elsewhere(tmp_path: Path) -> None:
    """A line of it without its records, its figures with them."""
    where = f"results_dir=file://{tmp_path}/there"
    done = bench(tmp_path / "m1", *RUN, where, "--json")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "there").glob("tiny/*/run.json"))) == 1
    listed = json.loads(bench(tmp_path / "m2", "runs", "--json", where).stdout)
    assert [r["status"] for r in listed] == ["complete"]
    assert not list((tmp_path / "m2").rglob("run.json"))
    shown = bench(tmp_path / "m2", "show", "latest", "--json", where)
    assert shown.returncode == 0, shown.stderr
    mine, its = json.loads(done.stdout), json.loads(shown.stdout)
    assert its["load_points"] == mine["load_points"]
    assert len(list((tmp_path / "m2").rglob("run.json"))) == 1


def test_what_an_address_cannot_be_is_said(tmp_path: Path) -> None:
    where = f"results_dir=file://{tmp_path}/there"
    wrong = (("jobs", where), ("show", "nothing", where), ("runs", "results_dir=s33://b/x"))
    said = [bench(tmp_path / "m", *words) for words in wrong]
    assert [s.returncode for s in said] == [2, 2, 2]
    assert "a folder that all its nodes see" in said[0].stderr
    assert "no run 'nothing' there" in said[1].stderr
    assert "Did you mean 's3'" in said[2].stderr


def derived(path: Path) -> dict[str, object]:
    return {"status": "complete", "made": path.name}


def test_lines_are_made_once_and_kept_there(tmp_path: Path) -> None:
    """An index of other code, or none, is made again; two that make it at once agree."""
    for _ in range(3):
        stored(tmp_path / "a")
    address = f"memory://{tmp_path.name}"
    push(str(tmp_path / "a"), address)
    there = Address(address)

    def rows(machine: str, code: str = "c1") -> list[str]:
        mirror = tmp_path / machine
        mirror.mkdir(exist_ok=True)
        return [r["run"] for r in rows_at(there, mirror, derived, code)]

    with ThreadPoolExecutor(2) as two:
        first, second = two.map(rows, ("m1", "m2"))
    assert first == second == there.names()
    assert rows("m3") == first
    assert not list((tmp_path / "m3").iterdir())  # the index was enough
    there.write(".index.json", b"{half")
    assert rows("m4", "c2") == first
    assert len(list((tmp_path / "m4").glob("*/*/run.json"))) == 3  # made anew from the runs


def test_what_could_not_be_pushed_is_pushed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_MIRRORS", str(tmp_path / "m"))
    where = f"file://{tmp_path}/there"
    waits = stored(mirror_of(where))
    stopped = stored(mirror_of(where))
    note_end(stopped, End(exit_code=75))

    def push_after() -> int:
        return at_address("fit", where, Arguments(), lambda _: 0)

    (tmp_path / "there").write_text("a file, not a folder")
    assert push_after() == 1
    assert f"{waits.name} is not pushed, and kept in" in capsys.readouterr().err
    (tmp_path / "there").unlink()
    assert push_after() == 0
    assert f"{stopped.name} was stopped" in capsys.readouterr().err
    assert [p.parent.name for p in (tmp_path / "there").glob("*/*/run.json")] == [waits.name]


def test_programs_read_an_address_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_MIRRORS", str(tmp_path / "m"))
    first, last = stored(tmp_path / "a"), stored(tmp_path / "a")
    where = f"file://{tmp_path}/there"
    push(str(tmp_path / "a"), where)
    assert load("latest", where).name == f"tiny/{last.name}"
    assert len(list((tmp_path / "m").rglob("run.json"))) == 1
    assert [r.name for r in runs(where)] == [f"tiny/{first.name}", f"tiny/{last.name}"]


def test_addresses_that_look_alike_have_mirrors_of_their_own() -> None:
    same = {mirror_of("s3://b/x"), mirror_of("s3://b/x/")}
    assert len({mirror_of("s3://b/x?"), *same}) == 2
