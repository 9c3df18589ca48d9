"""A run that ended early says how: by whom it was interrupted, of what its engine died, no room."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli.summaries import summaries
from bench.cli.verbs.runs import derived
from bench.config.compose import compose, run_spec
from bench.derive import derive
from bench.report.terminal import _run_cells
from bench.run import _recorded
from bench.store import create_run_dir, list_runs, load_run, save_run
from bench.values import ending
from bench.values.errors import EngineError, StoreError
from bench.values.record import Anchor, Run

WORDS = (
    *("engine=truth", "gpus=0", "meter=none", "load.concurrency=[2]", "load.repeats=20"),
    *("load.duration_s=2", "load.calibrate=false"),
)
# A shell that starts the tests in its background has SIGINT ignored, which is inherited.
BENCH = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from bench.cli.main import main; main()"
)
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL")


def trust(path: Path) -> str:
    """What `bench runs` says of it."""
    return _run_cells(summaries(str(path.parents[1]), derived)[-1])[-1]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int, str]]:
    """Runs that were each sent a signal in mid-load: folder, exit code, standard error."""
    root = tmp_path_factory.mktemp("ended")
    started = {}
    for name in SIGNALS:
        words = [*WORDS, f"results_dir={root / name}"]
        started[name] = subprocess.Popen(
            [sys.executable, "-c", BENCH, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    found = {}
    try:
        for name, process in started.items():
            until_s = time.monotonic() + 120
            while not list((root / name).glob("*/*/points/*/point.json")):
                assert time.monotonic() < until_s
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.Signals[name])
        for name, process in started.items():
            _, said = process.communicate(timeout=60)
            found[name] = (list_runs(str(root / name))[0], process.returncode, said)
    finally:
        for process in started.values():
            with contextlib.suppress(OSError):
                process.kill()
    return found


@pytest.mark.parametrize("name", SIGNALS[:3])
def test_who_interrupted_it(ended: dict[str, tuple[Path, int, str]], name: str) -> None:
    path, code, said = ended[name]
    run = load_run(path)
    assert (code, run.status, run.ended_by) == (130, "failed", name)
    last = said.strip().splitlines()[-1]
    kept = len(run.points)
    many = f"{kept} load points are" if kept != 1 else "1 load point is"
    assert last == f"bench: interrupted ({name}). {many} kept in {path}."
    assert "Traceback" not in said
    assert trust(path) == {"SIGINT": "Ctrl-C"}.get(name, name)
    assert ending.WORDS[name] in derive(run).findings[0].text
    assert not (path / ending.NAME).exists()


def test_a_run_that_was_killed_is_told_from_one_that_runs(
    ended: dict[str, tuple[Path, int, str]],
) -> None:
    path, code, _ = ended["SIGKILL"]
    assert code == -signal.SIGKILL
    assert '"status": "running"' in (path / "run.json").read_text()
    assert (load_run(path).status, load_run(path).ended_by) == ("failed", "killed")
    assert trust(path) == "killed"
    ours = replace(load_run(path), status="running", ended_by=None, writer=ending.writer())
    save_run(path, ours)
    assert load_run(path).status == "running"
    assert trust(path) == "running"
    save_run(path, replace(ours, writer={**ending.writer(), "started_ticks": 1}))
    assert trust(path) == "killed"  # the same number, another process; no summary was in the way


def test_whose_process_cannot_be_seen_may_run_still() -> None:
    mine = ending.writer()
    assert ending.lives(mine) is True
    assert ending.lives({**mine, "started_ticks": 1}) is False
    assert ending.lives({**mine, "pid_space": "pid:[1]"}) is None
    assert ending.lives({**mine, "boot": "earlier"}) is False
    assert ending.lives({**mine, "boot": "earlier", "host": "elsewhere"}) is None
    assert ending.lives(None) is None


def started(folder: Path) -> tuple[Run, Path]:
    spec = run_spec(compose(["engine=truth", "gpus=0", f"results_dir={folder}"]))
    path = create_run_dir(spec)
    anchor = Anchor(monotonic_ns=0, wall_iso="2026")
    return Run(spec=spec, anchor=anchor, path=str(path), writer=ending.writer()), path


def full(path: Path) -> None:
    """From now on no file of the run can be written: what is written to it finds no room."""
    (path / "run.json.part").symlink_to("/dev/full")


def test_a_full_disk_takes_the_ending_in_the_room_that_was_kept(tmp_path: Path) -> None:
    run, path = started(tmp_path)
    (path / "engine.log").write_text("a log")

    def fill() -> None:
        with _recorded(run, path) as recorder:
            full(path)
            try:
                recorder.note(status="running")
            finally:
                full(path)  # half a file was removed, and there is still no room

    with pytest.raises(StoreError, match=r"No space left.*0 load points are kept in"):
        fill()
    assert '"status": "running"' in (path / "run.json").read_text()
    found = load_run(path)
    assert (found.status, found.ended_by) == ("failed", "disk_full")
    assert "Free space" in str(found.failure)
    assert trust(path) == "disk full"


def test_a_run_that_cannot_even_begin_leaves_nothing(tmp_path: Path) -> None:
    run, path = started(tmp_path)
    full(path)
    with pytest.raises(StoreError), _recorded(run, path):
        pass
    assert list_runs(str(tmp_path)) == []
    assert not path.exists()


@pytest.mark.parametrize(("served", "by"), [(True, "engine_died"), (False, "engine_start")])
def test_an_engine_that_died_is_told_from_one_that_never_was(
    tmp_path: Path, served: bool, by: str
) -> None:
    run, path = started(tmp_path)
    (path / "engine.log").write_text("a log")

    def die() -> None:
        with _recorded(run, path) as recorder:
            if served:
                recorder.note(server={"base_url": "http://127.0.0.1:1/v1"})
            raise EngineError("it is gone", code="engine_failed")

    with pytest.raises(EngineError):
        die()
    assert load_run(path).ended_by == by


def test_half_a_load_point_is_not_counted_as_kept(tmp_path: Path) -> None:
    run, path = started(tmp_path)
    for name in ("000-c1-r0", "000-c1-r1.part"):
        (path / "points" / name).mkdir()
        (path / "points" / name / "point.json").write_text("{}")
    with pytest.raises(EngineError, match=r"1 load point is kept"), _recorded(run, path):
        raise EngineError("it is gone", code="engine_failed")


def test_a_signal_waits_until_the_ending_is_written() -> None:
    written = []

    def write() -> None:
        with ending.undisturbed():
            os.kill(os.getpid(), signal.SIGINT)
            written.append(True)

    # In the background of a shell SIGINT is ignored from the start, which Python leaves as it is.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            write()
    finally:
        signal.signal(signal.SIGINT, before)
    assert written
