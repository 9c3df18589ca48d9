"""The one clock: CLOCK_MONOTONIC nanoseconds, and a timer that fires on it to the microsecond.

Event loops round timers to whole milliseconds, which would be the largest error of a load
generator on an otherwise idle machine; a timerfd is not rounded.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from typing import Protocol

now_ns = time.monotonic_ns


def realtime_offset_ns() -> tuple[int, int]:
    """(CLOCK_MONOTONIC now, CLOCK_REALTIME − CLOCK_MONOTONIC), to better than a microsecond."""
    _, at_ns, offset_ns = min(_offset_reading() for _ in range(3))
    return at_ns, offset_ns


def _offset_reading() -> tuple[int, int, int]:
    """(how long the reading took, its middle, the offset): the quickest reading is the best."""
    before = now_ns()
    real = time.time_ns()
    after = now_ns()
    middle = (before + after) // 2
    return after - before, middle, real - middle


_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000
_TFD_TIMER_ABSTIME = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("sec", ctypes.c_long), ("nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Readers(Protocol):
    """What calls back when a descriptor has something to read: an event loop, for one."""

    def add_reader(self, fd: int, callback: Callable[[], object], /) -> object:
        """Call each time there is something."""

    def remove_reader(self, fd: int, /) -> object:
        """No more."""


class AbsoluteTimer:
    """Calls `callback` on `loop` once CLOCK_MONOTONIC reaches the time last given to `set`."""

    def __init__(self, loop: Readers, callback: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._loop = loop
        self._callback = callback
        self._spec = _Itimerspec()
        loop.add_reader(self._fd, self._fired)

    def set(self, when_ns: int) -> None:
        """Arm for `when_ns`; a time already past fires at once."""
        when_ns = max(when_ns, 1)
        self._spec.value.sec, self._spec.value.nsec = divmod(when_ns, 1_000_000_000)
        self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None)

    def close(self) -> None:
        """Stop listening and release the descriptor."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _fired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # re-armed between the wake-up and this read
            return
        self._callback()
