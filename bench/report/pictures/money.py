"""Pictures of a cost answer: what a token is made of, when buying pays, and what moves it."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.money.series import Curve, Step
from bench.money.uncertainty import Bar
from bench.report.numbers import quantity
from bench.report.pictures import style

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


def ways(bars: Mapping[str, Mapping[str, float]], apis: Mapping[str, float], title: str) -> Figure:
    """$/M tokens of every way to have the answers, on one axis: owned and rented servers stacked
    by what they are made of (`bars`), and what each API asks."""
    drawing = style.figure(120 + 30 * (len(bars) + len(apis)))
    ax = drawing.add_subplot()
    for n, parts in enumerate(bars.values()):
        left = 0.0
        for s, (part, usd) in enumerate(parts.items()):
            ax.barh(
                n,
                usd,
                0.62,
                left,
                color=style.SERIES[s],
                hatch=style.HATCHES[s],
                edgecolor=style.PAPER,
                linewidth=0.6,
                label=part if n == 0 else None,
            )
            left += usd
        _beside(ax, left, n, left)
    for n, usd in enumerate(apis.values(), len(bars)):
        label = "an API's price" if n == len(bars) else None
        ax.barh(n, usd, 0.62, color=style.QUIET, label=label)
        _beside(ax, usd, n, usd)
    names = [*bars, *(style.shortened(name, 20) for name in _called(apis))]
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.14)
    ax.set_xlim(left=0)
    ax.set_xlabel("$ per M tokens, input and output as they occur")
    ax.set_title(title)
    ax.locator_params(axis="x", nbins=5)
    style.ticks(ax, x="linear")
    style.legend_below(drawing, ax)
    return drawing


def breakeven(
    curve: Curve, apis: Mapping[str, float], demand: float, title: str, basis: str
) -> Figure:
    """$/M tokens of the servers over demand, with its P5 to P95, against each API's price; what the
    other ways to have the servers (own, rented) cost runs beside it. `basis`: the way asked for."""
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
        label=f"servers, {basis}",
    )
    _ways(ax, curve, basis)
    for n, (name, usd) in enumerate(zip(_called(apis), apis.values(), strict=True), 1):
        ax.axhline(
            usd,
            color=style.SERIES[1 + (n - 1) % 4],  # the sixth is the band's
            linestyle=style.DASHES[n % 6],
            linewidth=1.6,
            label=style.shortened(name, 25),
        )
    ax.axvline(demand, color=style.INK, linewidth=0.8, label="this demand")
    ax.set_xlim(volumes[0], volumes[-1])
    ax.set_xlabel("demand, M tokens per month")
    ax.set_ylabel("$ per M tokens")
    ax.set_title(title)
    style.ticks(ax, x="log", y="log")
    style.legend_below(drawing, ax)
    return drawing


def _called(apis: Iterable[str]) -> list[str]:
    """The models of the APIs; with the provider where two offer the same."""
    models = Counter(name.rpartition("/")[2] for name in apis)
    return [m if models[m := name.rpartition("/")[2]] == 1 else name for name in apis]


def _ways(ax: Axes, curve: Curve, basis: str) -> None:
    """Every other way to have the servers over demand: bought beside rented."""
    others = {name: usd for name, usd in curve.ways.items() if name.replace("_", " ") != basis}
    for n, (name, usd) in enumerate(others.items(), 1):
        ax.plot(
            curve.mtok_per_month,
            usd / curve.mtok_per_month,
            color=style.QUIET,
            linestyle=style.DASHES[n % len(style.DASHES)],
            linewidth=1.4,
            label=f"servers, {name.replace('_', ' ')}",
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
