"""Throughput against interactivity: what the hardware gives, over what each user gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.measure.metrics import Metric
from bench.report.pictures import style


@dataclass(frozen=True, kw_only=True)
class Place:
    """One load point: tokens/s/user, tokens/s/GPU, and whether it kept the SLO (None: unknown)."""

    load: str
    per_user: Metric
    per_gpu: Metric
    slo_met: bool | None


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The load points of one run or variant, in the order in which they were asked for."""

    name: str
    places: Sequence[Place]


def throughput(curves: Sequence[Curve], *, unit: str, slo_per_user: float, slo_text: str) -> Figure:
    """Points with their 95 % intervals, joined per run; the shaded region keeps the SLO's TPOT.

    A hollow point failed the SLO (or it was not measured): its TTFT may be too long, too.
    """
    drawing = style.figure(330)
    ax = drawing.add_subplot()
    for n, curve in enumerate(curves):
        places = [p for p in curve.places if None not in (p.per_user.value, p.per_gpu.value)]
        x = [p.per_user.value or 0.0 for p in places]
        y = [p.per_gpu.value or 0.0 for p in places]
        colour = style.SERIES[n % len(style.SERIES)]
        dash = style.DASHES[n % len(style.DASHES)]
        marker = style.MARKERS[n % len(style.MARKERS)]
        ax.errorbar(
            x,
            y,
            xerr=_reach([p.per_user for p in places]),
            yerr=_reach([p.per_gpu for p in places]),
            color=colour,
            linestyle=dash,
            marker="none",
            elinewidth=1,
            capsize=2.5,
        )
        for p, at_x, at_y in zip(places, x, y, strict=True):
            fill = colour if p.slo_met else style.PAPER
            ax.plot([at_x], [at_y], marker=marker, color=colour, markerfacecolor=fill, zorder=3)
            # Labels of every other curve stand on its other side.
            ax.annotate(
                p.load,
                (at_x, at_y),
                (-6, -14) if n % 2 else (6, 6),
                fontsize=10,
                textcoords="offset points",
                ha="right" if n % 2 else "left",
                color=style.QUIET,
            )
        label = style.shortened(curve.name)
        ax.plot([], [], color=colour, linestyle=dash, marker=marker, label=label)
    ax.set_xlim(left=0)
    ax.set_ylim(0, ax.get_ylim()[1] * 1.06)
    _limit(ax, slo_per_user, slo_text)
    ax.plot(
        [],
        [],
        color=style.QUIET,
        linestyle="none",
        marker="o",
        markerfacecolor=style.PAPER,
        label="hollow: SLO not kept, or not known",
    )
    ax.set_xlabel("interactivity, tokens/s per user")
    ax.set_ylabel(f"output, {unit}")
    style.ticks(ax, x="linear", y="linear")
    style.legend_below(drawing, ax, 1)
    return drawing


def _limit(ax: Axes, per_user: float, words: str) -> None:
    """The region that keeps the TPOT; a limit far beyond what was reached is said, and does not
    press the measurement against the edge."""
    right = ax.get_xlim()[1] * 1.08
    label = f"SLO: {words} (right of it)"
    if per_user > _FAR * right:
        label = f"SLO: {words}, beyond this axis: kept by none"
    else:
        right = max(right, per_user * 1.15)
        ax.axvspan(per_user, right, color=style.SHADE, zorder=0, linewidth=0)
        ax.axvline(per_user, color=style.QUIET, linestyle=":", linewidth=1.2)
    ax.set_xlim(0, right)
    ax.plot([], [], color=style.QUIET, linestyle=":", label=label)


_FAR = 2.0
"""From how many times the axis on a limit is not drawn."""


def _reach(metrics: Sequence[Metric]) -> list[list[float]]:
    """Distances to the ends of the intervals, 0 where there is none."""
    low = [max(0.0, (m.value or 0.0) - m.ci_low) if m.ci_low is not None else 0.0 for m in metrics]
    high = [
        max(0.0, m.ci_high - (m.value or 0.0)) if m.ci_high is not None else 0.0 for m in metrics
    ]
    return [low, high]
