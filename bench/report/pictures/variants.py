"""Variants beside each other: which are beaten in everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from bench.report.pictures import style


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One variant relative to the baseline; None where it was not measured."""

    name: str
    places: Mapping[str, float | None]
    on_front: bool


AXES = {
    "cost": "cost per output token, baseline = 1 (less is better)",
    "latency": "TPOT, baseline = 1 (less is better)",
    "quality": "quality kept, baseline = 1 (more is better)",
}


_LEAST_SPAN = 0.04
"""An axis shows no less than this share of the baseline: less would blow up what is nothing."""


def pareto(standings: Sequence[Standing], across: str, up: str) -> Figure:
    """Two of cost, latency and quality against each other; full markers are not beaten."""
    drawing = style.figure(300)
    ax = drawing.add_subplot()
    for n, s in enumerate(standings):
        x, y = s.places.get(across), s.places.get(up)
        if x is None or y is None:
            continue
        colour = style.SERIES[n % 6]
        ax.plot(
            [x],
            [y],
            marker=style.MARKERS[n % 6],
            color=colour,
            linestyle="none",
            markersize=10,
            markerfacecolor=colour if s.on_front else style.PAPER,
            markeredgewidth=1.8,
            label=style.shortened(s.name),
        )
    ax.axvline(1, color=style.QUIET, linestyle=":", linewidth=1)
    ax.axhline(1, color=style.QUIET, linestyle=":", linewidth=1)
    ax.margins(0.25)
    ax.set_xlim(_at_least(*ax.get_xlim()))
    ax.set_ylim(_at_least(*ax.get_ylim()))
    ax.set_xlabel(AXES[across])
    ax.set_ylabel(AXES[up].replace(" (", "\n("))
    style.ticks(ax, x="linear", y="linear")
    style.legend_below(drawing, ax)
    return drawing


def _at_least(low: float, high: float) -> tuple[float, float]:
    middle, half = (low + high) / 2, max(high - low, _LEAST_SPAN) / 2
    return middle - half, middle + half
