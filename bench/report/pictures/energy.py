"""Energy per token at each load point."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from bench.measure.metrics import Metric
from bench.report.pictures import style


def energy(
    loads: Sequence[str], gross: Sequence[Metric], above_idle: Sequence[Metric], title: str
) -> Figure:
    """J per output token with its 95 % interval: all of it, and what idling does not explain."""
    drawing = style.figure(290)
    ax = drawing.add_subplot()
    for n, (name, metrics) in enumerate((("gross", gross), ("above idle", above_idle))):
        known = [(i, m) for i, m in enumerate(metrics) if m.value is not None]
        if not known:
            continue
        reach = [
            [0.0 if m.ci_low is None else (m.value or 0.0) - m.ci_low for _, m in known],
            [0.0 if m.ci_high is None else m.ci_high - (m.value or 0.0) for _, m in known],
        ]
        ax.errorbar(
            [i for i, _ in known],
            [m.value or 0.0 for _, m in known],
            yerr=reach,
            color=style.SERIES[n],
            marker=style.MARKERS[n],
            linestyle=style.DASHES[n],
            capsize=3,
            elinewidth=1,
            label=name,
        )
    ax.set_xticks(range(len(loads)), list(loads))
    ax.set_xlim(-0.4, len(loads) - 0.6)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("load point")
    ax.set_ylabel("J per output token")
    ax.set_title(title)
    style.ticks(ax, y="linear")
    style.legend_below(drawing, ax)
    return drawing
