"""What a crash leaves is named, and removed only where it is provably ours and dead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest
from test_endings import started

from bench.cli.verbs import doctor
from bench.engines.guard import GuardedProcess
from bench.engines.residue import leftovers, remove
from bench.store import save_run
from bench.values import ending, scratch

# Maps shared memory, puts a socket into its temporary folder, and says so.
LEAVES = """
import os, socket, sys, tempfile, time
from multiprocessing import resource_tracker, shared_memory
memory = shared_memory.SharedMemory(create=True, size=1 << 20)
resource_tracker.unregister(memory._name, "shared_memory")  # as after SIGKILL
socket.socket(socket.AF_UNIX).bind(os.path.join(tempfile.gettempdir(), "a-socket"))
with open(sys.argv[1] + ".part", "w") as file:
    file.write(memory.name + " " + tempfile.gettempdir())
os.rename(sys.argv[1] + ".part", sys.argv[1])
time.sleep(600)
"""


@pytest.fixture
def own_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def wait_for(path: Path) -> str:
    until_s = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until_s
        time.sleep(0.02)
    return path.read_text()


def test_a_tree_that_is_killed_leaves_no_memory_and_no_socket(own_tmp: Path) -> None:
    said = own_tmp / "said"
    with GuardedProcess(
        [sys.executable, "-c", LEAVES, str(said)],
        env=dict(os.environ),
        log_path=own_tmp / "log",
        grace_s=0.2,
    ) as process:
        name, folder = wait_for(said).split()
        process.remember()
        assert Path("/dev/shm", name).exists()
        assert Path(folder, "a-socket").exists()
        wait_for(Path(folder, scratch.SHARED))
        os.kill(process.pid, signal.SIGKILL)
    assert not Path("/dev/shm", name).exists()
    assert not Path(folder).exists()


def dead() -> dict[str, object]:
    """A process that has ended, as `ending.writer` names it."""
    child = subprocess.Popen(["sleep", "60"])
    named = ending.writer(child.pid)
    child.kill()
    child.wait()
    return named


def test_a_container_goes_where_its_owner_has_ended(
    own_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docker's own words, by a stand-in: of three, one owner is dead, one lives, one is unsaid."""
    owners = (dead(), ending.writer(), None)
    lines = "".join(f"/c{n} {json.dumps(o) if o else ''}\n" for n, o in enumerate(owners))
    (own_tmp / "answer").write_text(lines)
    program = own_tmp / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\necho $* >> {own_tmp}/asked\n"
        f"case $1 in ps) echo c0 c1 c2 ;; inspect) cat {own_tmp}/answer ;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    found = [one for one in leftovers(str(own_tmp)) if one.path.parts[0] == "docker"]
    assert [str(one.path) for one in found] == ["docker/c0"]
    assert remove(found) == []
    asked = (own_tmp / "asked").read_text().splitlines()
    assert asked[0] == "ps --all --quiet --filter label=bench.owner"
    assert asked[-1] == "rm --force --volumes c0"


def test_what_even_the_supervisor_could_not_remove(
    own_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything was killed at once: folder and memory stay, and are found by the note of both."""
    memory = SharedMemory(create=True, size=4096)
    name = memory.name
    folder = scratch.new("engine")
    inode = Path("/dev/shm", name).stat().st_ino
    (folder / scratch.SHARED).write_text(json.dumps({name: inode, "other": 7}))
    (folder / scratch.OWNER).write_text(json.dumps(ending.writer()))
    assert leftovers(str(own_tmp)) == []  # its owner lives
    (folder / scratch.OWNER).write_text(json.dumps(dead()))
    assert [r.kind for r in leftovers(str(own_tmp))] == ["folder"]  # this process has it mapped
    memory.close()
    assert [r.kind for r in leftovers(str(own_tmp))] == ["shared memory", "folder"]
    assert doctor.clean(str(own_tmp), as_json=False) == 0
    said = capsys.readouterr().out
    assert f"removed: shared memory /dev/shm/{name} (4,096 bytes" in said
    assert not folder.exists()
    assert not Path("/dev/shm", name).exists()
    assert doctor.clean(str(own_tmp), as_json=False) == 0
    assert "nothing is left of earlier crashes" in capsys.readouterr().out
    SharedMemory(name=name, create=True, size=1).unlink()  # the tracker's own note of it


def test_what_is_not_provably_ours_is_left_alone(own_tmp: Path) -> None:
    mine = scratch.new("engine")  # of no owner
    elsewhere = scratch.new("engine")
    (elsewhere / scratch.OWNER).write_text(json.dumps({**dead(), "pid_space": "pid:[1]"}))
    odd = scratch.new("engine")
    (odd / scratch.OWNER).write_text("[1, 2")
    target = own_tmp / "somebodys"
    target.mkdir()
    (target / scratch.OWNER).write_text(json.dumps(dead()))
    (own_tmp / f"{scratch.PREFIX}link").symlink_to(target)
    escaping = scratch.new("engine")
    (escaping / scratch.OWNER).write_text(json.dumps(dead()))
    precious = own_tmp / "precious"
    precious.write_text("x")
    inode = precious.stat().st_ino
    (escaping / scratch.SHARED).write_text(json.dumps({f"../../{precious}": inode}))
    assert [r.path for r in leftovers(str(own_tmp))] == [escaping]
    doctor.clean(str(own_tmp), as_json=True)
    assert all(p.exists() for p in (mine, elsewhere, odd, target, precious))


def test_half_written_files_of_ended_runs_go_and_runs_stay(own_tmp: Path) -> None:
    run, path = started(own_tmp)
    save_run(path, run)
    (path / "points" / "000-c1-r0.part").mkdir()
    (path / "points" / "000-c1-r0.part" / "requests.parquet").write_text("x" * 10)
    assert leftovers(str(own_tmp)) == []  # it runs
    record = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**record, "writer": dead()}))
    found = leftovers(str(own_tmp))
    assert [(r.kind, r.bytes) for r in found] == [("half a file", 10)]
    doctor.clean(str(own_tmp), as_json=True)
    assert list((path / "points").iterdir()) == []
    assert (path / "run.json").exists()
