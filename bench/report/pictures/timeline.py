"""One load point over time, everything on one time axis."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.measure.timeline import Timeline
from bench.report.pictures import style


def timeline(seen: Timeline, title: str) -> Figure:
    """One panel per quantity; the steady window is shaded. Gaps between readings are bridged."""
    drawing = style.figure(70 + 84 * len(seen.lines))
    axes = drawing.subplots(len(seen.lines), 1, sharex=True, squeeze=False)[:, 0]
    middle = [(a + b) / 2 for a, b in zip(seen.edges_s, seen.edges_s[1:], strict=False)]
    for n, (ax, line) in enumerate(zip(axes, seen.lines, strict=True)):
        known = [(t, v) for t, v in zip(middle, line.values, strict=True) if v is not None]
        if seen.steady_s is not None:
            ax.axvspan(*seen.steady_s, color=style.SHADE, zorder=0, linewidth=0)
        ax.plot(
            [t for t, _ in known],
            [v for _, v in known],
            drawstyle="steps-mid",
            color=style.SERIES[n % len(style.SERIES)],
            linewidth=1.2,
        )
        ax.set_ylim(bottom=0, top=1.0 if not any(v for _, v in known) else None)
        ax.set_title(f"{line.name}, {line.unit}", fontsize=11, pad=3)
        style.ticks(ax, y="linear")
        ax.locator_params(axis="y", nbins=3)
    axes[0].set_xlim(0, seen.edges_s[-1])
    axes[-1].set_xlabel("seconds since the load point began; steady window shaded")
    drawing.suptitle(title, x=0.01, ha="left", fontsize=11)
    drawing.align_ylabels()
    return drawing
