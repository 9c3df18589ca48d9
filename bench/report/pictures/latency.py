"""How a latency is distributed at each load point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.measure.histogram import TOGETHER_MS, Histogram
from bench.report.pictures import style


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One load point of one variant (None: the only one): its histogram and its median and p99 (ms)
    as the tables have them."""

    load: str
    variant: str | None = None
    histogram: Histogram
    p50_ms: float | None
    p99_ms: float | None


_EDGE = 0.01
"""Share of the values that the axis may leave out at its lower end, of each hill."""


def latency(rows: Sequence[Spread], *, name: str, limit_ms: float | None, limit: str) -> Figure:
    """A row per load point on one logarithmic axis, variants over one another: height is the share
    of values. The axis begins where the values do; a limit far above all of them is left out."""
    loads = list(dict.fromkeys(r.load for r in rows))
    variants = list(dict.fromkeys(r.variant for r in rows))
    drawing = style.figure(110 + 38 * len(loads) + 12 * (len(variants) - 1))
    ax = drawing.add_subplot()
    named = set[str | None]()
    for row in rows:
        place, n = len(loads) - 1 - loads.index(row.load), variants.index(row.variant)
        first = row.variant not in named
        named.add(row.variant)
        _hill(ax, row, float(place), n if len(variants) > 1 else None, first=first)
    highest = max(r.histogram.edges_ms[-1] for r in rows)
    if limit_ms is not None and limit_ms < 3 * highest:
        ax.axvline(limit_ms, color=style.QUIET, linestyle=":", linewidth=1.2, label=limit)
    ax.set_yticks([len(loads) - 1 - n + 0.3 for n in range(len(loads))], loads)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(-0.08, len(loads))
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(f"{name}, ms")
    shown = [highest] if limit_ms is None or limit_ms >= 3 * highest else [highest, limit_ms]
    ax.set_xlim(min(begins_ms(r.histogram) for r in rows) / 1.06, max(shown) * 1.06)
    style.ticks(ax, x="log")
    style.legend_below(drawing, ax, 2 if len(variants) > 1 else 3)
    return drawing


def begins_ms(histogram: Histogram) -> float:
    """Where the values begin that are drawn: what came together and a few stragglers left out."""
    seen = 0.0
    for edge, share in zip(histogram.edges_ms, histogram.shares, strict=False):
        if edge < TOGETHER_MS and any(e >= TOGETHER_MS for e in histogram.edges_ms[:-1]):
            continue
        seen += share
        if seen > _EDGE:
            return edge
    return histogram.edges_ms[0]


def _hill(ax: Axes, row: Spread, base: float, n: int | None, *, first: bool) -> None:
    """One hill with its median and p99; `n` is the variant where several share the row, `first`
    the hill that the legend is made of."""
    colour = style.SERIES[5] if n is None else style.SERIES[n % len(style.SERIES)]
    mark = style.SERIES[1] if n is None else colour
    drawn = [
        0.0 if edge < TOGETHER_MS else share
        for edge, share in zip(row.histogram.edges_ms, row.histogram.shares, strict=False)
    ]
    shares = drawn if any(drawn) else list(row.histogram.shares)
    tops = [base + 0.82 * s / max(shares) for s in shares]
    edges = row.histogram.edges_ms
    ax.stairs(
        tops,
        edges,
        baseline=base,
        fill=True,
        color=colour,
        alpha=0.55 if n is None else 0.3,
        linewidth=0,
    )
    line = style.INK if n is None else colour
    named = row.variant if n is not None and first else None
    ax.stairs(
        tops,
        edges,
        baseline=base,
        color=line,
        linewidth=0.8 if n is None else 1.3,
        linestyle=style.DASHES[(n or 0) % 4],
        label=named and style.shortened(named),
    )
    for value, marker, words in ((row.p50_ms, "|", "median"), (row.p99_ms, "v", "p99")):
        if value is not None:
            ax.plot(
                [value],
                [base + (0.3 if marker == "|" else 0.12)],
                marker=marker,
                color=mark,
                markersize=16 if marker == "|" else 7,
                markeredgewidth=1.8,
                linestyle="none",
                zorder=3,
                label=words if first and not n else None,
            )
