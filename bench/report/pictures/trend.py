"""Trends: the best models over time with the band of the line, and when two lines meet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

from matplotlib.figure import Figure

from bench.report.pictures import style
from bench.trend.line import Line

AHEAD_DAYS = 400
"""How far the bands are drawn beyond the last date: about as far as the data reach back."""


def series_over_time(
    names: Sequence[str],
    days: Sequence[float],
    values: Sequence[Sequence[float]],
    lines: Sequence[Line | None],
    unit: str,
) -> Figure:
    """Points as they were seen, the line through them and its 95 % band, and what lies ahead."""
    drawing = style.figure(320)
    ax = drawing.add_subplot()
    for n, (name, seen, line) in enumerate(zip(names, values, lines, strict=True)):
        colour = style.SERIES[n]
        ax.plot(
            list(days),
            list(seen),
            marker=style.MARKERS[n],
            linestyle="none",
            color=colour,
            label=name,
        )
        if line is None:
            continue
        reach = [days[0] + (days[-1] + AHEAD_DAYS - days[0]) * i / 40 for i in range(41)]
        ax.plot(reach, [line.at(d) for d in reach], linestyle=style.DASHES[n], color=colour)
        ends = [line.interval_at(d) for d in reach]
        known = [(d, e) for d, e in zip(reach, ends, strict=True) if e is not None]
        if known:
            ax.fill_between(
                [d for d, _ in known],
                [e[0] for _, e in known],
                [e[1] for _, e in known],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
    ax.axvline(days[-1], color=style.QUIET, linestyle=":", linewidth=1)
    ends_of_quarters = [
        date(y, m, 1).toordinal()
        for y in range(date.fromordinal(int(days[0])).year, 2100)
        for m in (1, 7)
        if days[0] - 31 <= date(y, m, 1).toordinal() <= days[-1] + AHEAD_DAYS
    ]
    ax.set_xticks(ends_of_quarters, [f"{date.fromordinal(d):%Y-%m}" for d in ends_of_quarters])
    ax.set_ylabel(unit)
    style.ticks(ax, y="linear")
    style.legend_below(drawing, ax)
    return drawing


def chances(years: Sequence[int], shares: Sequence[float]) -> Figure:
    """The probability that two lines have met by the end of each year."""
    drawing = style.figure(220)
    ax = drawing.add_subplot()
    bars = ax.bar([str(y) for y in years], [100 * s for s in shares], color=style.SERIES[0])
    ax.bar_label(bars, [f"{s:.0%}" for s in shares])
    ax.set_ylim(0, 108)
    ax.set_ylabel("met by the end of the year, %")
    return drawing


def prices_over_time(
    names: Sequence[str],
    days: Sequence[Sequence[float]],
    values: Sequence[Sequence[float]],
    lines: Sequence[Line | None],
    unit: str,
) -> Figure:
    """Market prices as they were seen on a logarithmic axis, where a steady rate is a straight
    line, and that line with its 95 % band within the dates."""
    drawing = style.figure(320)
    ax = drawing.add_subplot()
    ax.set_yscale("log")
    for n, (name, at, seen, line) in enumerate(zip(names, days, values, lines, strict=True)):
        colour = style.SERIES[n % len(style.SERIES)]
        mark = style.MARKERS[n % len(style.MARKERS)]
        ax.plot(
            list(at),
            list(seen),
            marker=mark,
            markersize=3.5,
            linestyle="none",
            color=colour,
            label=name,
        )
        if line is None:
            continue
        reach = [at[0] + (at[-1] - at[0]) * i / 40 for i in range(41)]
        ends = [line.interval_at(d) for d in reach]
        ax.plot(reach, [math.exp(line.at(d)) for d in reach], color=colour, linewidth=1.2)
        known = [(d, e) for d, e in zip(reach, ends, strict=True) if e is not None]
        if known and not line.steps:  # a band is of the newest level, which is not the first one
            low, high = ([math.exp(e[i]) for _, e in known] for i in (0, 1))
            ax.fill_between([d for d, _ in known], low, high, color=colour, alpha=0.15, linewidth=0)
    first, last = min(d[0] for d in days), max(d[-1] for d in days)
    years = [
        date(y, 1, 1).toordinal()
        for y in range(date.fromordinal(int(first)).year, date.fromordinal(int(last)).year + 2)
    ]
    shown = [d for d in years if first - 31 <= d <= last + 31]
    ax.set_xticks(shown, [f"{date.fromordinal(d):%Y}" for d in shown])
    ax.set_ylabel(unit)
    style.ticks(ax, y="log")
    style.legend_below(drawing, ax)
    return drawing
