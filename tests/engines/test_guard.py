"""No process outlives its owner, whichever of them is killed and however."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.engines import guard
from bench.engines.guard import GuardedProcess
from bench.values.errors import EngineError, StoreError

ROOT = Path(__file__).parents[2]

# A command that ignores SIGTERM, with a child in its group and one in a session of its own whose
# parent has already gone; each writes its process id.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
folder = sys.argv[1]
def note(name):
    with open(os.path.join(folder, name + ".tmp"), "w") as file:
        file.write(str(os.getpid()))
    os.rename(os.path.join(folder, name + ".tmp"), os.path.join(folder, name))
if os.fork() == 0:
    note("child"); time.sleep(600); os._exit(0)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        note("grandchild"); time.sleep(600)
    os._exit(0)
note("main")
time.sleep(600)
"""

HARNESS = """
import os, sys, time
from pathlib import Path
from bench.engines.guard import GuardedProcess
folder = Path(sys.argv[1])
process = GuardedProcess(
    [sys.executable, "-c", sys.argv[2], str(folder)],
    env=os.environ, log_path=folder / "log", grace_s=0.2,
)
(folder / "guard.tmp").write_text(str(process.guard_pid))
(folder / "guard.tmp").rename(folder / "guard")
time.sleep(600)
"""

NAMES = ("main", "child", "grandchild")


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def pids(folder: Path) -> list[int]:
    wait_for(lambda: all((folder / name).exists() for name in NAMES))
    found = [int((folder / name).read_text()) for name in NAMES]
    assert all(map(alive, found))
    return found


def stubborn(folder: Path, grace_s: float = 0.2) -> GuardedProcess:
    return GuardedProcess(
        [sys.executable, "-c", STUBBORN, str(folder)],
        env=os.environ,
        log_path=folder / "log",
        grace_s=grace_s,
    )


def test_nothing_is_left_after_the_block(tmp_path: Path) -> None:
    with stubborn(tmp_path) as process:
        found = pids(tmp_path)
        assert process.pid == found[0]
        assert process.poll() is None
    assert not any(map(alive, found))
    assert process.poll() == 128 + signal.SIGKILL
    assert process.stop() == 128 + signal.SIGKILL  # a second time does no harm


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_after_an_exception(tmp_path: Path, error: type[BaseException]) -> None:
    found: list[int] = []

    def interrupted() -> None:
        with stubborn(tmp_path):
            found.extend(pids(tmp_path))
            raise error

    with pytest.raises(error):
        interrupted()
    assert len(found) == 3
    assert not any(map(alive, found))


def test_nothing_is_left_when_the_harness_is_killed(tmp_path: Path) -> None:
    harness = subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(tmp_path), STUBBORN], cwd=ROOT, start_new_session=True
    )
    found = pids(tmp_path)
    wait_for(lambda: (tmp_path / "guard").exists())
    guard = int((tmp_path / "guard").read_text())
    os.kill(harness.pid, signal.SIGKILL)
    harness.wait()
    wait_for(lambda: not any(map(alive, [*found, guard])))


def test_nothing_is_left_when_the_guard_is_killed(tmp_path: Path) -> None:
    with stubborn(tmp_path) as process:
        found = pids(tmp_path)
        os.kill(process.guard_pid, signal.SIGKILL)
        wait_for(lambda: not alive(found[0]))  # by the death signal, before anybody sweeps
        assert process.stop() == 128 + signal.SIGKILL
    # The child shares the guard's session; one that took a session of its own and lost its
    # guard and its parent is out of reach.
    wait_for(lambda: not alive(found[1]))
    os.kill(found[2], signal.SIGKILL)


def test_sigterm_to_the_guard_ends_the_tree(tmp_path: Path) -> None:
    with stubborn(tmp_path) as process:
        found = pids(tmp_path)
        os.kill(process.guard_pid, signal.SIGTERM)
        wait_for(lambda: process.poll() is not None)
    assert not any(map(alive, found))


def test_the_exit_code_and_the_output_are_kept(tmp_path: Path) -> None:
    script = "import sys; print('to stdout'); print('to stderr', file=sys.stderr); sys.exit(7)"
    log_path = tmp_path / "log"
    with GuardedProcess([sys.executable, "-c", script], env=os.environ, log_path=log_path) as guard:
        wait_for(lambda: guard.poll() is not None)
    assert guard.stop() == 7
    assert sorted(log_path.read_text().splitlines()) == ["to stderr", "to stdout"]


def test_a_polite_command_ends_at_sigterm_within_its_grace(tmp_path: Path) -> None:
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "print('up', flush=True)\n"
        "time.sleep(600)"
    )
    log_path = tmp_path / "log"
    command = [sys.executable, "-c", script]
    with GuardedProcess(command, env=os.environ, log_path=log_path, grace_s=600) as guard:
        wait_for(lambda: "up" in log_path.read_text())
    assert guard.stop() == 3


def test_a_command_that_cannot_start_says_so(tmp_path: Path) -> None:
    log_path = tmp_path / "log"
    with GuardedProcess(["/no/such/command"], env=os.environ, log_path=log_path) as guard:
        wait_for(lambda: guard.poll() is not None)
    assert guard.stop() == 127
    assert "cannot start /no/such/command: No such file" in log_path.read_text()


def test_the_guard_is_out_of_reach_of_the_terminal(tmp_path: Path) -> None:
    with stubborn(tmp_path) as process:
        assert os.getsid(process.guard_pid) == process.guard_pid != os.getsid(0)
        assert os.getpgid(process.pid) == process.pid


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EMFILE, " (ulimit -n)."),
        (errno.ENFILE, " (the system's open files, fs.file-max)."),
        (errno.EAGAIN, " (ulimit -u)."),
        (errno.ENOMEM, " (ulimit -v, or want of memory)."),
        (errno.EACCES, "."),
    ],
)
def test_a_failed_start_leaves_no_folder_and_names_the_limit_it_hit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    """A permission is no limit; what was made for the process goes with it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()

    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(guard, "Popen", refused)
    with pytest.raises(EngineError) as caught:
        GuardedProcess(["true"], env=os.environ, log_path=tmp_path / "log")
    assert str(caught.value) == f"the engine cannot be started: {os.strerror(number)}{hint}"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_log_that_cannot_be_written_is_no_matter_of_starting_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with pytest.raises(StoreError, match=r"cannot write .*/missing/log: No such file"):
        GuardedProcess(["true"], env=os.environ, log_path=tmp_path / "missing" / "log")
    assert list((tmp_path / "tmp").iterdir()) == []
