"""The process that load workers are forked from: it imports once, and forks in milliseconds, from
a process without threads or event loops."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext

from bench.values.interpreter import python

_PRELOADED = ["bench.traffic.worker"]


def context() -> ForkServerContext:
    """Where workers are started; each start stands in `imports_from_no_working_folder`."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(_PRELOADED)
    return found


def begin() -> None:
    """Have it import now, beside what this process does: it takes half a second, and without this
    the first worker waits for it. What hinders it, the start of a worker tells."""
    context()
    # A terminal's Ctrl-C reaches it, too, and while it imports it would print a traceback; it
    # inherits what is blocked. The tracker's own start unblocks the signal, so it comes before.
    with contextlib.suppress(OSError), imports_from_no_working_folder():
        resource_tracker.ensure_running()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextlib.contextmanager
def imports_from_no_working_folder() -> Iterator[None]:
    """The server that forks the workers is started as `-c PROGRAM`; it inherits flags alone."""
    flag = "PYTHONSAFEPATH"
    if "-P" not in python() or flag in os.environ:
        yield
        return
    os.environ[flag] = "1"
    try:
        yield
    finally:
        del os.environ[flag]
