"""How every picture looks, and how it becomes SVG for the page or a file.

Colours are those of Okabe and Ito (2008), told apart by people with any common colour blindness;
markers, line styles and hatches say the same again for greyscale. matplotlib is imported by the
modules here alone, and only when a picture is drawn.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

WIDTH = 440
"""Width of a picture in CSS pixels: readable on a phone, two beside each other on a screen."""

INK, QUIET, GRID, PAPER, SHADE = "#1a1c1f", "#5d646c", "#d9dce0", "#fefefe", "#eceff2"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++")
VARIABLES = {
    INK: "ink",
    QUIET: "quiet",
    GRID: "grid",
    PAPER: "paper",
    SHADE: "shade",
    **{colour: f"s{n}" for n, colour in enumerate(SERIES, 1)},
}
"""Colours that the page replaces by its own, so that a picture follows light and dark."""

_RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12,
    "text.color": INK,
    "text.parse_math": False,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "figure.facecolor": PAPER,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 6.5,
    "hatch.color": PAPER,
    "hatch.linewidth": 0.9,
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
    "savefig.facecolor": PAPER,
    "figure.constrained_layout.use": True,
}


@contextmanager
def styled() -> Iterator[None]:
    """Our look for everything drawn or saved inside; a user's own matplotlibrc changes nothing."""
    with warnings.catch_warnings(), mpl.rc_context():
        # Letters that the bundled font lacks: the page's font has them, a PNG shows boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def figure(height: int = 300, width: int = WIDTH) -> Figure:
    """An empty figure of so many CSS pixels."""
    return Figure(figsize=(width / 72, height / 72))


def svg(drawing: Figure, name: str) -> str:
    """The figure as an <svg> element for a page: colours as CSS variables, ids begin with `name`.

    Text stays text, escaped by matplotlib. Characters that XML forbids are taken out.
    """
    text = _svg_file(drawing)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    text = text.replace("'DejaVu Sans'", "var(--font)")
    # The caption in the page names the picture; its numbers stand in a table beside it.
    opening = rf'<svg viewBox="\1" role="img" aria-labelledby="caption-{name}">'
    return re.sub(r'<svg[^>]*?viewBox="([^"]*)"[^>]*>', opening, text, count=1)


def image(drawing: Figure, kind: Literal["png", "svg"]) -> bytes:
    """The figure as the bytes of a file; PNG at 200 dots per inch."""
    if kind == "svg":
        return _svg_file(drawing).encode()
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()


def _svg_file(drawing: Figure) -> str:
    buffer = io.StringIO()
    drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "", buffer.getvalue())


def plain(value: float) -> str:
    """A tick as people write it: 0.5, 20, 1,000, 20k, 3M."""
    size = abs(value)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            scale = 1e3 if unit == "k" else limit
            return f"{value / scale:g}{unit}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}"


def ticks(ax: Axes, x: str | None = None, y: str | None = None) -> None:
    """Plain numbers on the axes; `log` makes an axis logarithmic, with as many
    ticks a decade as there is room for."""
    for axis, kind in ((ax.xaxis, x), (ax.yaxis, y)):
        if kind is None:
            continue
        if kind == "log":
            (ax.set_xscale if axis is ax.xaxis else ax.set_yscale)("log")
            low, high = axis.get_view_interval()
            span = high / max(low, 1e-12)
            few, some, all_of = (1.0,), (1.0, 2.0, 5.0), tuple(map(float, range(1, 10)))
            subs = few if span > 300 else some if span > 6 else all_of
            narrow = span < 3  # the digits of a decade are too few there
            whole = LogLocator(subs=subs, numticks=12)
            axis.set_major_locator(MaxNLocator(nbins=6) if narrow else whole)
            axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda v, _: plain(v)))


def legend_below(drawing: Figure, ax: Axes, columns: int = 2) -> None:
    """The legend under the picture, where it hides nothing; none for a single unnamed series."""
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        drawing.legend(
            handles,
            labels,
            loc="outside lower left",
            ncols=columns,
            handlelength=2.6,
            columnspacing=1.4,
        )


def shortened(text: str, length: int = 28) -> str:
    """A name that fits beside a picture; the table below it has the whole of it."""
    return text if len(text) <= length else text[: length - 1] + "…"
