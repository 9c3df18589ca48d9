"""`bench` called inside this process, with its streams caught: what it said and how it ended."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from bench.cli.main import main

MOST_LINE = 8_000


@dataclass(frozen=True)
class Said:
    """One call: exit code, both streams, seconds. A traceback is exit code -1."""

    code: int
    out: str
    err: str
    took_s: float

    @property
    def last(self) -> str:
        """The last line of standard error."""
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


def bench(*words: str) -> Said:
    """Call it as a shell would; nothing of it outlives the call."""
    out, err = io.StringIO(), io.StringIO()
    began_s = time.monotonic()
    with _signals(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(words))
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:  # noqa: BLE001 -- whatever escapes is what a user would see
            err.write(traceback.format_exc())
            code = -1
    return Said(code, out.getvalue(), err.getvalue(), time.monotonic() - began_s)


def refused(said: Said, code: int = 2, *names: str) -> None:
    """One line that names what is wrong, the right exit code, and no traceback."""
    assert said.code == code, f"exit {said.code}, not {code}: {said.err[-600:]}"
    assert "Traceback" not in said.err, said.err[-600:]
    lines = [line for line in said.err.splitlines() if line.startswith("bench: ")]
    assert len(lines) == 1, f"{len(lines)} lines: {said.err[-600:]}"
    assert said.err.strip().splitlines()[-1] == lines[0], "more follows the line"
    assert len(lines[0]) < MOST_LINE
    assert "\x1b" not in said.err
    for name in names:
        assert name in lines[0], f"{name!r} is not named: {lines[0][:400]}"


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    usual = {number: signal.getsignal(number) for number in numbers}
    hook = sys.unraisablehook
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
