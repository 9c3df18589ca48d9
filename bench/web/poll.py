"""One turn of the load client: every socket that has something, one system call to ask for them.

An event loop asks, wraps and calls back for each socket anew, which costs more than a token's read.
While a load runs, the client therefore waits here: sockets and timers in one epoll of the kernel,
level by level, so that a reset behind data is told after it, which libuv leaves out. It stands in
an event loop's callback and goes back to that loop whenever this owes it something: a connection to
be made, a call promised for later, the end.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

_LONGEST_WAIT_S = 0.05
_READABLE, _WRITABLE = select.EPOLLIN, select.EPOLLOUT


class Poll:
    """Calls back who has something to read, has room to write, or whose connection broke.

    `stays` says whether it may wait for the next ones itself: nothing else is to be done then.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, stays: Callable[[], bool]) -> None:
        self._loop = loop
        self._stays = stays
        self._owed = 0
        self._epoll = select.epoll()
        self._read: dict[int, Callable[[], object]] = {}
        self._write: dict[int, Callable[[], object]] = {}
        loop.add_reader(self._epoll.fileno(), self._ready)

    def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
        """Call when there is something to read at `fd`, its other side closed, or it broke."""
        self._read[fd] = callback
        self._epoll.register(fd, _READABLE)

    def remove_reader(self, fd: int) -> None:
        """No more; to be called before `fd` is closed."""
        if self._read.pop(fd, None) is not None and not self._epoll.closed:
            self._write.pop(fd, None)
            self._epoll.unregister(fd)

    def add_writer(self, fd: int, callback: Callable[[], object]) -> None:
        """Call once when `fd`, which has a reader, takes bytes again."""
        self._write[fd] = callback
        self._epoll.modify(fd, _READABLE | _WRITABLE)

    def soon(self, call: Callable[[], object], delay_s: float = 0.0) -> None:
        """Call from the event loop, after `delay_s`."""
        self._owed += 1

        def paid() -> None:
            self._owed -= 1
            call()

        self._loop.call_later(delay_s, paid)

    def close(self) -> None:
        """Listen no more."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _ready(self) -> None:
        poll, read, write = self._epoll.poll, self._read, self._write
        wait_s = 0.0
        while True:
            found = poll(wait_s)
            for fd, mask in found:
                if mask & _WRITABLE and fd in write:
                    self._epoll.modify(fd, _READABLE)
                    write.pop(fd)()
                if mask != _WRITABLE and fd in read:  # closed meanwhile by another's callback
                    read[fd]()
            if self._owed or not self._stays() or self._epoll.closed:
                return
            wait_s = _LONGEST_WAIT_S
