"""Quality: scores of a run, and what a variant keeps of its baseline's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from bench.report.pictures import style


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One row: a value with its 95 % interval and, where guessing scores, the chance level."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    series: str = ""


def dots(rows: Sequence[Dot], *, axis: str, line: float | None = None, words: str = "") -> Figure:
    """A dot and an interval per row on one axis; `line` is a limit to hold them against."""
    drawing = style.figure(110 + sum(30 + 6 * r.name.count("\n") for r in rows))
    ax = drawing.add_subplot()
    series = list(dict.fromkeys(r.series for r in rows))
    for n, row in enumerate(rows):
        s = series.index(row.series)
        low = row.value if row.low is None else row.low
        high = row.value if row.high is None else row.high
        ax.errorbar(
            [row.value],
            [n],
            xerr=[[row.value - low], [high - row.value]],
            capsize=3,
            color=style.SERIES[s % 6],
            marker=style.MARKERS[s % 6],
            elinewidth=1.4,
            linestyle="none",
        )
        if row.chance is not None:
            ax.plot([row.chance], [n], marker="x", color=style.QUIET, linestyle="none")
    for s, name in enumerate(series if any(series) else ()):
        ax.plot(
            [],
            [],
            color=style.SERIES[s % 6],
            marker=style.MARKERS[s % 6],
            linestyle="none",
            label=style.shortened(name),
        )
    if any(r.chance is not None for r in rows):
        ax.plot([], [], marker="x", color=style.QUIET, linestyle="none", label="chance")
    if line is not None:
        ax.axvline(line, color=style.QUIET, linestyle=":", linewidth=1.2, label=words)
    ax.set_yticks(range(len(rows)), [_lines(r.name) for r in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(axis)
    style.ticks(ax, x="linear")
    ax.locator_params(axis="x", nbins=6)
    style.legend_below(drawing, ax)
    return drawing


def _lines(name: str) -> str:
    return "\n".join(style.shortened(line, 22) for line in name.split("\n"))
