"""The process that workers are forked from, started ahead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

BEGUN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
import multiprocessing.forkserver as f
from bench.traffic import forks
forks.begin()
print(f._forkserver._forkserver_pid, flush=True)
try:
    input()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_an_interrupt_while_it_imports_is_not_its() -> None:
    """A terminal's Ctrl-C goes to the whole group: the server printed a traceback."""
    process = subprocess.Popen(
        [sys.executable, "-c", BEGUN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    server = int(process.stdout.readline())
    time.sleep(0.1)  # it imports for longer
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n"
    assert process.communicate(timeout=20)[1] == ""
    assert process.returncode == 0
    for _ in range(200):
        if not Path(f"/proc/{server}").exists():
            break
        time.sleep(0.05)
    else:
        raise AssertionError("the server outlives the program")


def test_the_interrupt_is_not_blocked_afterwards() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import signal; from bench.traffic import forks; forks.begin(); "
            "print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
