"""How a latency is distributed at each load point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from bench.measure.histogram import Histogram
from bench.report.pictures import style


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One load point: its histogram and its median and p99 (ms) as the tables have them."""

    load: str
    histogram: Histogram
    p50_ms: float | None
    p99_ms: float | None


def latency(rows: Sequence[Spread], *, name: str, limit_ms: float | None, limit: str) -> Figure:
    """One hill per load point on one logarithmic axis: height is the share of values. A limit far
    above all of them is left out."""
    drawing = style.figure(110 + 38 * len(rows))
    ax = drawing.add_subplot()
    for n, row in enumerate(rows):
        base, tallest = float(len(rows) - 1 - n), max(row.histogram.shares)
        tops = [base + 0.82 * s / tallest for s in row.histogram.shares]
        ax.stairs(
            tops,
            row.histogram.edges_ms,
            baseline=base,
            fill=True,
            color=style.SERIES[5],
            alpha=0.55,
            linewidth=0,
        )
        ax.stairs(tops, row.histogram.edges_ms, baseline=base, color=style.INK, linewidth=0.8)
        for value, marker, words in ((row.p50_ms, "|", "median"), (row.p99_ms, "v", "p99")):
            if value is not None:
                ax.plot(
                    [value],
                    [base + (0.3 if marker == "|" else 0.12)],
                    marker=marker,
                    color=style.SERIES[1],
                    markersize=16 if marker == "|" else 7,
                    markeredgewidth=1.8,
                    linestyle="none",
                    zorder=3,
                    label=words if n == 0 else None,
                )
    if limit_ms is not None and limit_ms < 3 * max(r.histogram.edges_ms[-1] for r in rows):
        ax.axvline(limit_ms, color=style.QUIET, linestyle=":", linewidth=1.2, label=limit)
    ax.set_yticks([len(rows) - 1 - n + 0.3 for n in range(len(rows))], [r.load for r in rows])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(-0.08, len(rows))
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(f"{name}, ms")
    style.ticks(ax, x="log")
    style.legend_below(drawing, ax, 3)
    return drawing
