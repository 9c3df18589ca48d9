"""What is going on, live on stderr: a refreshed view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from bench.values.server import Gauges, Progress, ProgressCallback

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Clock = Callable[[], float]

_PLAIN_EVERY_S = 10.0
_DETAIL_CHARS = 100
_BAR_CHARS = 30


@contextmanager
def shown(stream: TextIO | None = None, title: str = "") -> Iterator[ProgressCallback]:
    """Yield a callback that shows what it is told for as long as the context lasts; `title` leads
    every phase, as `run 1 of 2`."""
    stream = stream or sys.stderr
    if stream.isatty():
        from rich.console import Console

        with _live(Console(file=stream)) as show:
            yield Whole(show, title)
    else:
        yield Whole(_Plain(stream), title)


class Whole:
    """Adds to what is shown how much of the whole run is left, by how its parts went so far."""

    def __init__(
        self, show: ProgressCallback, title: str = "", now: Clock = time.monotonic
    ) -> None:
        self.show = show
        self.title = title
        self.now = now
        self.began_s: float | None = None

    def __call__(self, progress: Progress) -> None:
        if self.title:
            progress = replace(progress, phase=f"{self.title}: {progress.phase}")
        self.show(replace(progress, left_s=self._left_s(progress)))

    def _left_s(self, p: Progress) -> float | None:
        if p.part is None or not p.parts:
            return None
        self.began_s = self.now() - p.elapsed_s if self.began_s is None else self.began_s
        here = (p.done or 0.0) / p.total if p.total and p.even else 0.0
        over = (p.part - 1 + min(here, 1.0)) / p.parts
        return None if over <= 0 else (self.now() - self.began_s) * (1 - over) / over


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
        if progress.done > 0 and progress.even:
            left_s = progress.elapsed_s * (progress.total - progress.done) / progress.done
            parts.append(f"about {max(0.0, left_s):.0f} s left")
    if progress.left_s is not None and (progress.parts or 0) > 1:
        parts.append(f"{_span(progress.left_s)} of all loads")
    return parts


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


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
