"""What is going on, live on stderr: a refreshed view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from bench.values.server import Gauges, Progress, ProgressCallback

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_PLAIN_EVERY_S = 10.0
_DETAIL_CHARS = 100
_BAR_CHARS = 30


@contextmanager
def shown(stream: TextIO | None = None) -> Iterator[ProgressCallback]:
    """Yield a callback that shows what it is told for as long as the context lasts."""
    stream = stream or sys.stderr
    if stream.isatty():
        from rich.console import Console

        with _live(Console(file=stream)) as show:
            yield show
    else:
        yield _Plain(stream)


@contextmanager
def _live(console: Console) -> Iterator[ProgressCallback]:
    """Two lines, redrawn in place and gone at the end: what is done, and what the gauges show."""
    from rich.live import Live

    with Live(console=console, transient=True, refresh_per_second=4) as live:
        yield lambda p: live.update(view(p))


class _Plain:
    """A line when the phase changes, and every ten seconds within one."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.phase = ""
        self.last_s = 0.0

    def __call__(self, progress: Progress) -> None:
        now_s = time.monotonic()
        if progress.phase != self.phase or now_s - self.last_s >= _PLAIN_EVERY_S:
            self.phase, self.last_s = progress.phase, now_s
            print(text(progress), file=self.stream, flush=True)


def view(progress: Progress) -> RenderableType:
    """The refreshed view: phase, bar, time left; below it the gauges and the last thing seen."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text

    top = Table.grid(padding=(0, 1))
    cells: list[RenderableType] = [Spinner("dots"), Text(progress.phase, style="bold")]
    if progress.done is not None and progress.total:
        cells.append(ProgressBar(total=progress.total, completed=progress.done, width=_BAR_CHARS))
    cells.append(Text(" · ".join(_timing(progress)), style="dim"))
    top.add_row(*cells)
    below = [*gauges(progress.gauges)]
    if progress.detail:
        below.append(progress.detail[:_DETAIL_CHARS])
    return Group(top, Text("  " + " · ".join(below), overflow="ellipsis", no_wrap=True))


def text(progress: Progress) -> str:
    """Phase, how far, time taken, time left, the gauges and the last thing seen, in one line."""
    parts = [progress.phase, *_timing(progress), *gauges(progress.gauges)]
    if progress.detail:
        parts.append(progress.detail[:_DETAIL_CHARS])
    return " · ".join(parts)


def _timing(progress: Progress) -> list[str]:
    parts = [f"{progress.elapsed_s:.0f} s"]
    if progress.done is not None and progress.total:
        done = progress.done if progress.unit != "s" else round(progress.done)
        parts.append(f"{done:g}/{progress.total:g} {progress.unit}")
        if progress.done > 0:
            left_s = progress.elapsed_s * (progress.total - progress.done) / progress.done
            parts.append(f"about {max(0.0, left_s):.0f} s left")
    return parts


def gauges(g: Gauges) -> list[str]:
    """The gauges that tell something: nothing is shown for what is not measured."""
    shown = []
    if g.tokens_per_s is not None:
        shown.append(f"{g.tokens_per_s:,.0f} tokens/s")
    if g.running is not None:
        shown.append(f"{g.running:.0f} running")
    if g.waiting is not None:
        shown.append(f"{g.waiting:.0f} waiting")
    if g.kv_use is not None:
        shown.append(f"KV {g.kv_use:.0%}")
    if g.power_w is not None:
        shown.append(f"{g.power_w:,.0f} W")
    if g.temperature_c is not None:
        shown.append(f"{g.temperature_c:.0f} °C")
    if g.memory_gib is not None:
        shown.append(f"{g.memory_gib:.1f} GiB")
    return shown
