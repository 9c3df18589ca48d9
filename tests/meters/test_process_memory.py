"""Private memory of a real process tree."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.meters.process_memory import private_gib

HOLD = "import sys; held = bytearray(200 << 20); print('ready', flush=True); sys.stdin.read()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"


def test_a_child_that_holds_200_mib_counts_with_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert private_gib(process.pid) == pytest.approx(200 / 1024, abs=0.05)
        process.communicate()


def test_a_process_that_is_gone_is_not_measured() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert private_gib(process.pid) is None
