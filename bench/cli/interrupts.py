"""Signals that end a run, as an exception that reaches the end of it whatever is in between.

An exception that a signal raises can be lost: Python drops it in callbacks of its own (a weak
reference while something is imported) and says "Exception ignored in", and libraries wrap it. A run
that was told to stop would then go on to its end.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from typing import Any

_AGAIN_S = 0.02


def catch_signals() -> None:
    """SIGTERM, SIGHUP and SIGUSR1 unwind like Ctrl-C, so that engines are taken down."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, _terminated)
    if not isinstance(sys.unraisablehook, _Again):
        sys.unraisablehook = _Again(sys.unraisablehook)


def _terminated(number: int, _: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


class _Again:
    """Raise an interrupt that was dropped once more, a moment later and outside of what drops."""

    def __init__(self, others: Any) -> None:
        self._others = others

    def __call__(self, dropped: Any) -> None:
        if not isinstance(dropped.exc_value, KeyboardInterrupt):
            self._others(dropped)
            return
        arguments = dropped.exc_value.args

        def again(*_: object) -> None:
            raise KeyboardInterrupt(*arguments)

        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)


def interrupt_in(error: BaseException) -> KeyboardInterrupt | None:
    """The interrupt that an error was raised for, or in the handling of; None when it was not."""
    return next((e for e in _chain(error) if isinstance(e, KeyboardInterrupt)), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def taken() -> None:
    """An interrupt is dealt with: the exit code is ours to say.

    One that came while Python ran a text of its own (dataclasses do, when a module is imported)
    is remembered, and would end the process by SIGINT after all: running a text forgets it.
    """
    exec("")
