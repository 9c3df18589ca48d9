"""Pictures of a cost answer: what a token is made of, when buying pays, and what moves it."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.numbers import quantity
from bench.report.pictures import style
from bench.tco.series import Curve, Step
from bench.tco.uncertainty import Bar

_LEVELS = {"marginal": 0, "utilised": 1, "loaded": 2}


def waterfall(steps: Sequence[Step], title: str) -> Figure:
    """$/M tokens step by step up to the fully loaded cost; the hatch says up to which level."""
    drawing = style.figure(120 + 42 * (len(steps) + 1))
    ax = drawing.add_subplot()
    total, named = 0.0, set[str]()
    for n, step in enumerate(steps):
        usd, s = float(step.cost), _LEVELS[step.level]
        words = None if step.level in named else f"up to {step.level}"
        ax.barh(
            n,
            usd,
            0.62,
            total,
            color=style.SERIES[s],
            hatch=style.HATCHES[s],
            edgecolor=style.PAPER,
            linewidth=0.6,
            label=words,
        )
        named.add(step.level)
        total += usd
        ax.plot([total, total], [n - 0.31, n + 1.31], color=style.QUIET, linewidth=0.8)
        _beside(ax, total, n, usd)
    ax.barh(len(steps), total, 0.62, color=style.QUIET, label="fully loaded")
    _beside(ax, total, len(steps), total)
    names = [textwrap.fill(step.what, 20) for step in steps]
    ax.set_yticks(range(len(steps) + 1), [*names, "fully loaded"])
    ax.set_ylim(len(steps) + 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.set_xlim(0, total * 1.2 if total > 0 else 1)
    ax.set_xlabel("$ per M tokens")
    ax.set_title(title)
    ax.locator_params(axis="x", nbins=5)
    style.ticks(ax, x="linear")
    style.legend_below(drawing, ax)
    return drawing


def _beside(ax: Axes, x: float, y: float, usd: float) -> None:
    ax.annotate(quantity(usd), (x, y), (4, 0), textcoords="offset points", va="center", fontsize=11)


def breakeven(
    curve: Curve, apis: Mapping[str, float], demand: float, title: str, ways: Mapping[str, float]
) -> Figure:
    """$/M tokens of the servers over demand, with its P5 to P95, against each API's price; what the
    other `ways` to have the servers (own, rented) cost at this demand stands beside it."""
    drawing = style.figure(330 + 17 * (len(apis) // 2))
    ax = drawing.add_subplot()
    volumes = curve.mtok_per_month
    if {"p5", "p95"} <= curve.bands.keys():
        low, high = curve.bands["p5"] / volumes, curve.bands["p95"] / volumes
        ax.fill_between(
            volumes, low, high, color=style.SERIES[5], alpha=0.35, linewidth=0, label="P5 to P95"
        )
    ax.plot(
        volumes,
        curve.monthly_usd / volumes,
        color=style.SERIES[0],
        label="servers, as the cost has them",
    )
    _ways(ax, ways, demand)
    models = Counter(name.rpartition("/")[2] for name in apis)
    for n, (name, usd) in enumerate(apis.items(), 1):
        model = name.rpartition("/")[2]
        ax.axhline(
            usd,
            color=style.SERIES[n % 6],
            linestyle=style.DASHES[n % 6],
            linewidth=1.2,
            label=style.shortened(model if models[model] == 1 else name, 25),
        )
    ax.axvline(demand, color=style.INK, linewidth=0.8, label="this demand")
    ax.set_xlim(volumes[0], volumes[-1])
    ax.set_xlabel("demand, M tokens per month")
    ax.set_ylabel("$ per M tokens")
    ax.set_title(title)
    style.ticks(ax, x="log", y="log")
    style.legend_below(drawing, ax)
    return drawing


def _ways(ax: Axes, ways: Mapping[str, float], demand: float) -> None:
    """Each way to have the servers, at the demand: bought beside rented."""
    for n, (name, usd) in enumerate(ways.items()):
        ax.plot(
            [demand],
            [usd],
            marker=style.MARKERS[n % len(style.MARKERS)],
            color=style.INK,
            markerfacecolor=style.PAPER,
            markersize=8,
            linestyle="none",
            zorder=4,
            label=f"{name}, at this demand: ${quantity(usd)}",
        )


def tornado(bars: Sequence[Bar], centre: float, title: str) -> Figure:
    """The fully loaded cost with each input at its P10 and its P90, widest first."""
    drawing = style.figure(110 + 30 * len(bars))
    ax = drawing.add_subplot()
    for n, bar in enumerate(bars):
        for value, s in ((bar.result_p10, 0), (bar.result_p90, 1)):
            words = None if n else ("input at P10", "input at P90")[s]
            ax.barh(
                n,
                value - centre,
                0.62,
                centre,
                color=style.SERIES[s],
                label=words,
                hatch=style.HATCHES[s],
                edgecolor=style.PAPER,
                linewidth=0.6,
            )
    ax.axvline(centre, color=style.INK, linewidth=1)
    ax.set_yticks(range(len(bars)), [style.shortened(_short(b.key), 24) for b in bars])
    ax.set_ylim(len(bars) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("fully loaded, $ per M tokens")
    ax.set_title(title)
    style.ticks(ax, x="linear")
    ax.locator_params(axis="x", nbins=6)
    style.legend_below(drawing, ax)
    return drawing


_NAMES = {
    "fte": "staff (FTE)",
    "capex_usd": "purchase price",
    "usd_per_kwh": "$ per kWh",
    "spares": "spare servers",
    "peak_to_mean": "peak ÷ mean demand",
}


def _short(key: str) -> str:
    last = key.rpartition(".")[2]
    return _NAMES.get(last, last.replace("_", " ").replace("usd", "$"))
