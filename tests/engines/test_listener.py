"""Who listens on a port, as /proc tells it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench.engines.listener import listeners


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_a_listener_and_its_child_that_inherited_the_socket(family: int, host: str) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        try:
            listener.bind((host, 0))
        except OSError:
            pytest.skip(f"no {host} here")
        listener.listen()
        port = listener.getsockname()[1]
        assert listeners(f"http://localhost:{port}/v1") == (os.getpid(),)
        waiting = [sys.executable, "-c", "input()"]
        child = subprocess.Popen(waiting, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])
        try:
            found = listeners(f"http://127.0.0.1:{port}/v1")
            assert set(found) == {os.getpid(), child.pid}
        finally:
            child.communicate(b"\n")
    assert listeners(f"http://127.0.0.1:{port}/v1") == ()


def test_another_host_and_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert listeners("http://gpu-box:8000/v1") == ()
    assert listeners("http://127.0.0.1:8000/v1", tmp_path) == ()
