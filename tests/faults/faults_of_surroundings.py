"""Faults of what bench runs in (kind 8): variables, limits, descriptors, signals, folders."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from fault import TRUTH, TWO, Place, fault, stored
from misbehaving import END, HEAD, event, outcomes, request, shoot
from point_support import even, point
from said import bench, refused

from bench.cli.main import _ended
from bench.cli.summaries import summaries
from bench.cli.verbs.runs import derived
from bench.config.compose import compose, run_spec
from bench.store import create_run_dir, save_point, write_file
from bench.values.errors import BenchError, InputError, StoreError
from bench.values.interpreter import python
from bench.values.server import Server

ROOT = Path(__file__).parents[2]


@contextmanager
def within(folder: Path | None = None, /, **names: str | None) -> Iterator[None]:
    """Another working folder, and variables of the environment (None: unset)."""
    usual, here = dict(os.environ), Path.cwd()
    try:
        for name, value in names.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        os.chdir(folder or here)
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(usual)


def ran(program: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """A program text of its own process, within a minute."""
    return subprocess.run(
        [sys.executable, *flags, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# ------------------------------------------------------------------- folders


@fault(8, "results_dir is a loop of links", TWO)
def _(place: Place) -> None:
    loop = place.folder / "a"
    loop.symlink_to(place.folder / "b")
    (place.folder / "b").symlink_to(loop)
    refused(bench(*TRUTH, f"results_dir={loop}"), 2, "symbolic links")
    refused(bench("runs", f"results_dir={loop}"), 2, "symbolic links")


@fault(8, "a folder of results that holds itself", "each run is listed once")
def _(place: Place) -> None:
    path = stored(place.folder)
    (place.folder / "again").symlink_to(place.folder)
    assert [r["run"] for r in summaries(str(place.folder), derived)] == [str(path)]


@fault(8, "results_dir longer than a path may be", TWO)
def _(place: Place) -> None:
    refused(bench(*TRUTH, f"results_dir={place.folder}{'/' + 'y' * 200}{('/' + 'y' * 200) * 24}"))


@fault(8, "results_dir that is no text, or of two lines", TWO)
def _(place: Place) -> None:
    refused(bench(*TRUTH, "results_dir=" + os.fsdecode(os.fsencode(place.folder) + b"/\xff\xfe")))
    refused(bench(*TRUTH, f"results_dir={place.folder}/a\nb"))


@fault(8, "many runs begun in one second, in one folder", "a folder each")
def _(place: Place) -> None:
    spec = run_spec(compose(["engine=truth", "gpus=0", f"results_dir={place.folder}"]))
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create_run_dir(spec), range(40)))
    assert len(set(made)) == 40


@fault(8, "the run's folder is removed while it runs", "said at the next point, nothing made anew")
def _(place: Place) -> None:
    spec = run_spec(compose(["engine=truth", "gpus=0", f"results_dir={place.folder}"]))
    path = create_run_dir(spec)
    save_point(path, point(even(12)))
    shutil.rmtree(path)
    with pytest.raises(StoreError, match="removed or renamed while the run went on"):
        save_point(path, point(even(12), repeat=1))
    assert not path.exists()


@fault(8, "a limit to the size of files", "said as a full disk is, nothing half is kept")
def _(place: Place) -> None:
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, usual[1]))
    try:
        with pytest.raises(StoreError, match=r"File too large\. Free space") as caught:
            write_file(place.folder / "x", b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert caught.value.full
    assert list(place.folder.iterdir()) == []


# ------------------------------------------------------------------- the environment


@fault(8, "proxies in the environment", "a server is asked directly")
def _(place: Place) -> None:
    def serve(c: socket.socket, _: int) -> None:
        while request(c):
            c.sendall(HEAD + event("a") * 4 + END)

    nowhere = "http://127.0.0.1:9"
    with within(http_proxy=nowhere, HTTP_PROXY=nowhere, all_proxy=nowhere):
        assert outcomes(shoot(place.misbehave(serve))) == ["ok"] * 4


@fault(8, "a server at an IPv6 address alone", "measured as any other")
def _(place: Place) -> None:
    del place
    with socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=16) as listener:

        def one(c: socket.socket) -> None:
            with contextlib.suppress(OSError), c:
                while request(c):
                    c.sendall(HEAD + event("a") * 4 + END)

        def accept() -> None:
            for _ in range(2):
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        url = f"http://[::1]:{listener.getsockname()[1]}/v1"
        served = Server(engine="endpoint", base_url=url, served_model="m")
        assert outcomes(shoot(served)) == ["ok"] * 4


ENVIRONMENTS: dict[str, dict[str, str | None]] = {
    "no HOME": {"HOME": None, "XDG_CACHE_HOME": None},
    "a HOME that is nowhere": {"HOME": "/nowhere/at/all"},
    "a time zone that is none": {"TZ": "Nowhere/Never"},
    "a terminal of one column": {"COLUMNS": "1", "LINES": "0"},
    "a width that is no number": {"COLUMNS": "wide"},
}
for _name, _given in ENVIRONMENTS.items():

    @fault(8, f"environment: {_name}", "makes no difference")
    def _(place: Place, given: dict[str, str | None] = _given) -> None:
        path = stored(place.folder)
        with within(**given):
            for words in (("runs", f"results_dir={place.folder}"), ("show", str(path))):
                said = bench(*words)
                assert said.code == 0, said.err
                assert said.out


@fault(8, "modules in the working folder", "no part of a run imports them")
def _(place: Place) -> None:
    for name in ("numpy", "random", "uvloop", "socket", "selectors", "uuid"):
        (place.folder / f"{name}.py").write_text("raise SystemExit('taken from here')")
    with within(place.folder, PYTHONPATH=str(ROOT)):
        command = python("-m", "bench.meters.sampler", str(place.folder / "t"), '{"kind": "none"}')
        assert "-P" in command
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert "taken from here" not in done.stderr, done.stderr[-300:]


@fault(8, "a Python without docstrings and asserts", "the truth server starts")
def _(place: Place) -> None:
    program = "import sys; sys.argv[1:] = ['--help']; import runpy; "
    program += "runpy.run_module('bench.engines.truth_server', run_name='__main__')"
    assert ran(program, place.folder, "-OO").returncode == 0


@fault(8, "all three streams closed", "nothing else gets their descriptors")
def _(place: Place) -> None:
    program = (
        "import os; [os.close(n) for n in range(3)]; import sys; sys.stdout = sys.stderr = None; "
        "from bench.cli.streams import steady_streams; steady_streams(); "
        "sys.exit(os.open('.', os.O_RDONLY))"
    )
    assert ran(program, place.folder).returncode > 2


@fault(8, "no memory left", "one line, exit 1")
def _(place: Place) -> None:
    del place
    assert _ended(MemoryError()) == 1
    assert _ended(ImportError("libx.so: failed to map segment from shared object")) == 1
    with pytest.raises(ImportError):  # an installation that is broken stays a traceback
        _ended(ImportError("no such module"))


# ------------------------------------------------------------------- signals and processes

CAUGHT = (
    "import os, signal, sys, time, weakref; from bench.cli import main as m; "
    "from bench.cli.interrupts import catch_signals, taken; catch_signals(); "
)


@fault(8, "SIGTERM where Python drops exceptions", "ends the command all the same")
def _(place: Place) -> None:
    program = CAUGHT + (
        "A = type('A', (), {}); a = A(); "
        "r = weakref.ref(a, lambda _: os.kill(os.getpid(), signal.SIGTERM))\n"
        "try:\n  del a\n  time.sleep(20)\nexcept KeyboardInterrupt as e:\n  sys.exit(m._ended(e))"
    )
    done = ran(program, place.folder)
    assert (done.returncode, done.stderr) == (130, "bench: interrupted (SIGTERM).\n")


@fault(8, "SIGTERM while a module is made of text", "exit 130, not death by SIGINT")
def _(place: Place) -> None:
    program = CAUGHT + (
        "\ntry:\n  exec('os.kill(os.getpid(), signal.SIGTERM); time.sleep(1)')\n"
        "except KeyboardInterrupt as e:\n  sys.exit(m._ended(e))"
    )
    done = ran(program, place.folder)
    assert (done.returncode, done.stderr) == (130, "bench: interrupted (SIGTERM).\n")


@fault(8, "SIGTERM that a library wraps", "told as an interrupt")
def _(place: Place) -> None:
    del place
    wrapped = InputError("")
    wrapped.__cause__ = KeyboardInterrupt("SIGTERM")
    assert _ended(wrapped) == 130


@fault(8, "a sampler whose owner is gone at once", "ends without a word")
def _(place: Place) -> None:
    command = python("-m", "bench.meters.sampler", str(place.folder / "t"), SAMPLED)
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=60)
    assert said == b""


SAMPLED = (
    '{"kind": "none", "reason": null, "path": null, "fast_s": 0.1, "slow_s": 1.0, "watts": null, '
    '"boards": 0}'
)


@fault(8, "a load worker is killed", "one line, and nothing hangs")
def _(place: Place) -> None:
    def serve(c: socket.socket, _: int) -> None:
        request(c)
        for child in multiprocessing.active_children():
            child.kill()
        time.sleep(5)

    with pytest.raises(BenchError, match="A load worker died"):
        shoot(place.misbehave(serve), timeout_s=20)


@fault(8, "a temporary folder of a long name", "one line that names TMPDIR")
def _(place: Place) -> None:
    folder = place.folder / ("t" * 100)
    folder.mkdir()
    program = (
        "from misbehaving import shoot; from bench.values.server import Server\n"
        "s = Server(engine='endpoint', base_url='http://127.0.0.1:9/v1', served_model='m')\n"
        "if __name__ == '__main__':\n  shoot(s)"
    )
    with within(TMPDIR=str(folder)):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert "BenchError: no load worker can be started" in done.stderr
    assert "TMPDIR" in done.stderr
