"""Standard output and standard error that cannot end a measurement."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

from bench.values.outside import plain
from bench.values.redact import redacted_text

_ERROR_CHARACTERS = 6_000


class Unfailing:
    """A text stream whose writes are dropped once it is closed or full.

    Progress and warnings go to standard error while a server is being measured; a terminal that
    was closed or a disk that is full must not end that.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        with suppress(OSError, ValueError):
            return self._stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def steady_streams() -> None:
    """Let no character and no closed stream raise: called once, before anything is printed."""
    _keep_descriptors()
    if sys.stdout is None:  # started with the descriptor closed
        sys.stdout = _nowhere()
    if sys.stderr is None:
        sys.stderr = _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that knows ASCII alone gets ? for ±
            stream.reconfigure(errors="replace")
    sys.stderr = cast(TextIO, Unfailing(sys.stderr))


def _keep_descriptors() -> None:
    """Nothing else gets the place of a stream that is closed: children would write into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


STOPPED_IN_TIME = 75
"""Exit code after SIGUSR1, EX_TEMPFAIL of sysexits.h: the same command goes on where it stopped."""


def interrupted_code(error: KeyboardInterrupt) -> int:
    """130, as for Ctrl-C in a shell; 75 where a scheduler asked to make way."""
    return STOPPED_IN_TIME if error.args[:1] == ("SIGUSR1",) else 130


def shown_error(error: BaseException) -> str:
    """An error's text as it may be printed: without control sequences and keys, of finite length,
    and in one line whatever it quotes."""
    return " ".join(redacted_text(plain(str(error), _ERROR_CHARACTERS)).split())


def give_up_stdout() -> None:
    """Nothing more can be written there, not even when the interpreter flushes at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
