"""Predictions as terminal tables: figures with their bands beside plan and bound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console

from bench.report.grid import Grid, column, numbers, print_grid
from bench.report.markup import escape
from bench.report.numbers import quantity
from bench.values.count_words import count
from bench.values.prediction import Band, Prediction, PredictionError

FIGURES = (
    ("output_tokens_per_s", "tokens/s"),
    ("ttft_p50_ms", "TTFT ms"),
    ("tpot_p50_ms", "TPOT ms"),
    ("output_tokens_per_s_per_user", "per user"),
    ("energy_per_output_token_j", "J/token"),
    ("usd_per_mtok", "$/M tokens"),
)
NEW = {
    "same": "this model on this GPU and engine is in the evidence",
    "model": "GPU and engine are in the evidence, this model in this quantisation on them is not",
    "gpu": "the engine is in the evidence, but not on this GPU",
    "engine": "this engine is not in the evidence",
}


def banded(b: Band | None) -> str:
    """`1,200 (900–1,500)`; – where it is not predicted."""
    return "–" if b is None else f"{quantity(b.value)} ({quantity(b.low)}–{quantity(b.high)})"


def print_predictions(found: Sequence[Prediction], out: Console, title: str) -> None:
    """A row per load point, then what the band rests on."""
    out.print(f"[bold]predicted[/] · {escape(title)}", highlight=False, soft_wrap=True)
    rows = tuple(
        (
            p.load,
            *(banded(p.figures.get(name)) for name, _ in FIGURES),
            _rate(p.expected_tokens_per_s),
            _rate(p.bound_tokens_per_s),
        )
        for p in found
    )
    titles = [f"{title}, predicted" for _, title in FIGURES]
    columns = (column("load"), *numbers(*titles, "plan tokens/s", "bound tokens/s"))
    print_grid(out, Grid(columns=columns, rows=rows))
    for text in about(found):
        out.print(f"[dim]{escape(text)}[/]", highlight=False, soft_wrap=True)


def about(found: Sequence[Prediction]) -> Iterator[str]:
    """What the predictions rest on, and what they are not."""
    first = found[0]
    own = ""
    if first.own_rows:
        of = "all" if first.own_of_model == first.own_rows else f"{first.own_of_model}"
        rows = count(first.own_rows, "load point")
        own = f" and {rows} of your own on this device ({of} of this model)"
    yield f"In brackets 80 % bands, from {first.rows} published rows{own}: {NEW[first.novelty]}."
    for words in first.nearest:
        yield f"nearest: {words}"
    for note in dict.fromkeys(n for p in found for n in p.notes):
        at = [p.load for p in found if note in p.notes]
        where = "" if len(at) == len(found) else f" at {', '.join(at)}"
        yield f"note{where}: {note}"
    yield (
        "Predicted is fitted to measurements of others; the plan is what a well-run server does at "
        "the hardware's published limits, the bound what nothing exceeds at that load without "
        "speculation (bench fit: at any load). $/M tokens of output at the GPU's listed rents."
    )


def error_line(e: PredictionError) -> str:
    """`predicted output_tokens_per_s at c4: 830 (700–980), measured 810: +2.5 %, inside …`."""
    place = "inside the 80 % band" if e.inside else "outside the 80 % band"
    return (
        f"predicted {e.metric} at {e.load}: {banded(e.predicted)}, measured "
        f"{quantity(e.measured)}: {e.error:+.1%}, {place}{overlap_words(e)}"
    )


def overlap_words(e: PredictionError) -> str:
    """What a measured interval adds where the value lies outside; it changes no verdict."""
    if e.inside or e.overlaps is None:
        return ""
    reach = f"{quantity(e.measured_low or 0.0)}–{quantity(e.measured_high or 0.0)}"
    does = "overlaps it and counts as outside all the same" if e.overlaps else "does not reach it"
    return f"; its own 95 % interval over repeats, {reach}, {does}"


def _rate(value: float | None) -> str:
    return "–" if value is None else quantity(value)
