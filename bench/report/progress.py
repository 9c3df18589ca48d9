"""Live progress on stderr: one refreshed line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.server import Progress, ProgressCallback

_PLAIN_EVERY_S = 10.0


@contextmanager
def shown() -> Iterator[ProgressCallback]:
    """Yield a callback that shows what it is told for as long as the context lasts."""
    if sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status("starting") as status:
            yield lambda p: status.update(text(p))
    else:
        yield _Plain()


class _Plain:
    """A line when the phase changes, and every ten seconds within one."""

    def __init__(self) -> None:
        self.phase = ""
        self.last_s = 0.0

    def __call__(self, progress: Progress) -> None:
        now_s = time.monotonic()
        if progress.phase != self.phase or now_s - self.last_s >= _PLAIN_EVERY_S:
            self.phase, self.last_s = progress.phase, now_s
            print(text(progress, markup=False), file=sys.stderr, flush=True)


def text(progress: Progress, *, markup: bool = True) -> str:
    """Phase, how far, time taken, time left, and the last thing seen, in one line."""
    from rich.markup import escape

    parts = [progress.phase, f"{progress.elapsed_s:.0f} s"]
    if progress.done is not None and progress.total:
        parts.append(f"{progress.done:g}/{progress.total:g} {progress.unit}")
        if progress.done > 0:
            left_s = progress.elapsed_s * (progress.total - progress.done) / progress.done
            parts.append(f"about {left_s:.0f} s left")
    if progress.detail:
        parts.append(progress.detail[:100])
    line = " · ".join(parts)
    return escape(line) if markup else line
