"""Pictures of a cost answer: what a token is made of, when buying pays, and what moves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.pictures import style
from bench.tco.curve import CurvePoint
from bench.tco.uncertainty import Bar


def waterfall(parts: Mapping[str, float], title: str) -> Figure:
    """$/M tokens part by part up to the fully loaded cost."""
    drawing = style.figure(290)
    ax = drawing.add_subplot()
    total, names = 0.0, []
    for n, (name, usd) in enumerate(parts.items()):
        ax.bar(n, usd, 0.62, total, color=style.SERIES[n % 6], hatch=style.HATCHES[n % 6],
               edgecolor=style.PAPER, linewidth=0.6)  # fmt: skip
        ax.plot([n - 0.31, n + 1.31], [total + usd, total + usd], color=style.QUIET, linewidth=0.8)
        _above(ax, n, total + usd, usd)
        total += usd
        names.append(name)
    ax.bar(len(names), total, 0.62, color=style.QUIET)
    _above(ax, len(names), total, total)
    ax.set_xticks(range(len(names) + 1), [*names, "fully\nloaded"])
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="x", visible=False)
    ax.margins(y=0.12)
    ax.set_ylabel("$ per M tokens")
    ax.set_title(title)
    style.ticks(ax, y="linear")
    return drawing


def _above(ax: Axes, x: float, y: float, usd: float) -> None:
    ax.annotate(f"{usd:,.3g}", (x, y), (0, 3), textcoords="offset points", ha="center", fontsize=11)


def breakeven(
    curve: Sequence[CurvePoint], apis: Mapping[str, float], demand: float, title: str
) -> Figure:
    """$/M tokens of one's own servers over demand, with its P5 to P95, against each API's price."""
    drawing = style.figure(330 + 17 * (len(apis) // 2))
    ax = drawing.add_subplot()
    volumes = [p.mtok_per_month for p in curve]
    if all(p.p5 is not None and p.p95 is not None for p in curve):
        low, high = [p.p5 or 0.0 for p in curve], [p.p95 or 0.0 for p in curve]
        ax.fill_between(volumes, low, high, color=style.SERIES[5], alpha=0.35, linewidth=0,
                        label="P5 to P95")  # fmt: skip
    ax.plot(volumes, [p.usd_per_mtok for p in curve], color=style.SERIES[0], label="own servers")
    for n, (name, usd) in enumerate(apis.items(), 1):
        ax.axhline(usd, color=style.SERIES[n % 6], linestyle=style.DASHES[n % 6],
                   linewidth=1.2, label=style.shortened(name, 25))  # fmt: skip
    ax.axvline(demand, color=style.QUIET, linestyle=":", linewidth=1.2, label="this demand")
    ax.set_xlim(volumes[0], volumes[-1])
    ax.set_xlabel("demand, M tokens per month")
    ax.set_ylabel("$ per M tokens")
    ax.set_title(title)
    style.ticks(ax, x="log", y="log")
    style.legend_below(drawing, ax)
    return drawing


def tornado(bars: Sequence[Bar], centre: float, title: str) -> Figure:
    """The fully loaded cost with each input at its P10 and its P90, widest first."""
    drawing = style.figure(110 + 30 * len(bars))
    ax = drawing.add_subplot()
    for n, bar in enumerate(bars):
        for value, s in ((bar.result_p10, 0), (bar.result_p90, 1)):
            words = None if n else ("input at P10", "input at P90")[s]
            ax.barh(n, value - centre, 0.62, centre, color=style.SERIES[s], label=words,
                    hatch=style.HATCHES[s], edgecolor=style.PAPER, linewidth=0.6)  # fmt: skip
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


def _short(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ")
