"""A closed, full or plain terminal is no reason for a traceback, nor for a measurement to end."""

from __future__ import annotations

import subprocess
import sys

import pytest

FIT = (sys.executable, "-m", "bench.cli", "fit", "model=tiny", "gpu=h100-sxm", "gpus=1")


@pytest.mark.parametrize(
    ("streams", "code"),
    [("2>&-", 0), (">&-", 0), (">/dev/full", 1), ("2>/dev/full", 0), (">&- 2>&-", 0)],
)
def test_a_stream_that_takes_nothing(streams: str, code: int) -> None:
    words = " ".join(f"'{w}'" for w in FIT)
    done = subprocess.run(
        ["bash", "-c", f"{words} {streams}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert "Traceback" not in done.stdout + done.stderr
    if code:
        assert done.stderr == "bench: standard output is full; what was measured is kept.\n"


def test_a_terminal_that_knows_ascii_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = subprocess.run(FIT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_escape_sequence_in_a_name_does_not_reach_the_terminal() -> None:
    words = [sys.executable, "-m", "bench.cli", "show", "\x1b]0;x\x07run\x1b[2J"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert "run" in done.stderr
