"""Memory: what the fit predicted beside what the engine took."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bench.report.numbers import quantity
from bench.report.pictures import style


def memory(bars: Mapping[str, Mapping[str, float]]) -> Figure:
    """One stacked bar per entry: parts by name, in GiB, in the order given."""
    drawing = style.figure(120 + 46 * len(bars))
    ax = drawing.add_subplot()
    parts = list(dict.fromkeys(part for bar in bars.values() for part in bar))
    for place, bar in enumerate(bars.values()):
        left = 0.0
        for part, gib in bar.items():
            n = parts.index(part)
            ax.barh(
                place,
                gib,
                0.62,
                left,
                color=style.SERIES[n % len(style.SERIES)],
                hatch=style.HATCHES[n % len(style.HATCHES)],
                edgecolor=style.PAPER,
                linewidth=0.6,
            )
            left += gib
        ax.annotate(
            f"{quantity(left)} GiB",
            (left, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=11,
        )
    for n, part in enumerate(parts):
        ax.add_patch(
            Rectangle(
                (0, 0),
                0,
                0,
                facecolor=style.SERIES[n % len(style.SERIES)],
                linewidth=0,
                hatch=style.HATCHES[n % len(style.HATCHES)],
                label=part,
            )
        )
    ax.set_yticks(range(len(bars)), list(bars))
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.margins(x=0.16)
    ax.set_xlim(left=0)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("memory of the whole deployment, GiB")
    style.ticks(ax, x="linear")
    style.legend_below(drawing, ax)
    return drawing
