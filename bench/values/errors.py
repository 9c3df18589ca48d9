"""The errors a user can meet, and the exit code of each.

BenchError              a run-time failure: one line, exit 1
├── InputError          something the user typed or configured: one line, exit 2
├── EngineError         the served engine failed; carries the path of its log
└── StoreError          results could not be written or read
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class BenchError(Exception):
    """A failure worth one clear line; anything else that escapes is a bug, with its traceback."""

    exit_code = 1


class InputError(BenchError):
    """What was asked for is wrong; the text says what, and what to change."""

    exit_code = 2


class EngineError(BenchError):
    """The engine did not start, died or refused; `code` says how, `log_path` where to look."""

    def __init__(self, text: str, *, code: str, log_path: Path | None = None) -> None:
        super().__init__(text if log_path is None else f"{text} Log: {log_path}")
        self.code = code
        self.log_path = log_path


class StoreError(BenchError):
    """Results could not be written or read; `full` when there was no room for them."""

    def __init__(self, text: str, *, full: bool = False) -> None:
        super().__init__(text)
        self.full = full


def nearest(name: str, valid: Iterable[str]) -> str:
    """A clause naming the closest valid names: " Did you mean 'x'?" or " Valid: a, b."."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Valid: {', '.join(names)}." if names else ""
