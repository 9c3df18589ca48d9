"""The truth server where it cannot listen: one line and no traceback."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest


def started(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.engines.truth_server", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = started("--port", port)
    said = f"truth server: cannot listen on 127.0.0.1:{port}: something listens there already"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{said}: stop it, or take another --port.\n"


@pytest.mark.parametrize("words", [("--port", "99999"), ("--port", "1", "--host", "192.0.2.1")])
def test_an_address_that_is_none_of_this_machine_is_one_line(words: tuple[str, ...]) -> None:
    done = started(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("truth server: cannot listen on ")
    assert done.stderr.count("\n") == 1
