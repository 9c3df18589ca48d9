"""Trends in the terminal: the series, their rates with intervals, and what they do not say."""

from __future__ import annotations

from datetime import date

from rich.console import Console

from bench.report.grid import Grid, column, numbers, print_grid
from bench.trend.document import YEAR_ENDS, day_text
from bench.trend.frontier import Frontier
from bench.trend.prices import PriceSeries, PriceTrend
from bench.trend.rating import RatingTrend, per_month

MOST = 40
NAMES = {
    "open": "best open model, within scales",
    "closed": "best closed model, within scales",
    "gap": "gap between them",
    "open joined": "best open model, scales joined by the models in both",
    "closed joined": "best closed model, scales joined by the models in both",
}


def print_rating(out: Console, t: RatingTrend) -> None:
    """One line per snapshot, a rate per series, and when the two might meet."""
    rows = tuple(
        (day, str(scale), o.model, f"{o.rating:,.0f}", c.model, f"{c.rating:,.0f}", f"{gap:.0f}")
        for day, scale, o, c, gap in zip(
            t.days, t.scales, t.best_open, t.best_closed, t.gaps, strict=True
        )
    )
    columns = (
        column("day"),
        *numbers("scale"),
        column("best open", wraps=True),
        *numbers("rating"),
        column("best closed", wraps=True),
        *numbers("rating", "gap"),
    )
    print_grid(out, Grid(title=t.board, columns=columns, rows=rows))
    for line in rating_lines(t):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    for finding in t.findings:
        out.print(f"[dim]{finding}[/]", highlight=False, soft_wrap=True)


def rating_lines(t: RatingTrend) -> list[str]:
    """The rates and the crossing, a sentence each."""
    found = []
    for name, line in t.lines.items():
        rate = per_month(line)
        if rate is None or line is None:
            found.append(f"{NAMES[name]}: no scale has two dates, or a shift is not known")
            continue
        value, low, high = rate
        ends = "no interval" if low is None else f"95 % {low:+.1f} to {high:+.1f}"
        steps = "".join(
            f"; a step of {s.size:+.0f} after {day_text(s.after_day)}" for s in line.steps
        )
        text = f"{NAMES[name]}: {value:+.1f} points a month, {ends}, {line.points} dates{steps}"
        found.append(text)
    if t.meets is None:
        found.append("when they meet: too little data for a distribution")
        return found
    m = t.meets
    middle, late = (day_text(d) or "never" for d in (m.median_day, m.high_day))
    chances = ", ".join(f"{m.by(_end(y)):.0%} by the end of {y}" for y in YEAR_ENDS)
    found.append(
        f"they meet (if the gap goes on as a line): {chances}; never {m.never:.0%}; median "
        f"{middle}, 97.5 % {late}"
    )
    return found


def _end(year: int) -> int:
    return date(year, 12, 31).toordinal()


def print_frontier(out: Console, found: Frontier) -> None:
    """A line a snapshot, and the ratio at the ends of years with its interval."""
    rows = tuple(
        (
            p.day,
            p.closed,
            f"{p.closed_usd:.3g}",
            p.open,
            f"{p.open_usd:.3g}",
            f"{p.ratio:.1f}",
            f"{p.gap:.0f}",
        )
        for p in found.pairs
    )
    columns = (
        column("day"),
        column("best closed with a price", wraps=True),
        *numbers("USD/Mtok"),
        column("best open with a price", wraps=True),
        *numbers("USD/Mtok", "ratio", "points behind"),
    )
    print_grid(out, Grid(title="3 of 4 tokens prompt, list prices", columns=columns, rows=rows))
    for line in frontier_lines(found):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def frontier_lines(found: Frontier) -> list[str]:
    """The ratio to come, a sentence a year, or that there is too little for one."""
    said = [(y, found.ratio_at(_end(y))) for y in YEAR_ENDS]
    lines = [
        f"end of {y}: {at[0]:.1f} times, 95 % {at[1]:.1f} to {at[2]:.1f} (if it goes on as a line)"
        for y, at in said
        if at is not None
    ]
    return lines or ["too few dates with prices for a line"]


def print_prices(out: Console, t: PriceTrend, title: str) -> None:
    """The series that changed most and those with noise, and the rate over all of them."""
    moved = [s for s in t.series if s.steps or s.line is not None]
    moved.sort(key=lambda s: -abs(s.per_year or 0.0))
    rows = tuple(
        (
            "/".join(s.key[:2]),
            s.key[2],
            s.first.as_of,
            f"{s.first.usd:.4g}",
            s.last.as_of,
            f"{s.last.usd:.4g}",
            _yearly(s),
            "; ".join(f"{x.relative:+.0%} by {x.before}" for x in s.steps) or "none",
        )
        for s in moved[:MOST]
    )
    columns = (
        column("price"),
        column("kind"),
        column("first"),
        *numbers("USD"),
        column("last"),
        *numbers("USD", "a year"),
        column("steps", wraps=True),
    )
    if rows:
        print_grid(out, Grid(title=title, columns=columns, rows=rows))
    left = len(t.series) - len(rows)
    if left:
        out.print(f"{left} more were seen on two days or more: --json", highlight=False)
    out.print(price_line(t), markup=False, highlight=False, soft_wrap=True)


def _yearly(s: PriceSeries) -> str:
    if s.per_year is None:
        return "–"
    if s.low is None or s.high is None:
        return f"{s.per_year:+.0%}"
    if not s.steady:
        return f"{s.per_year:+.0%} (no steady rate)"
    return f"{s.per_year:+.0%} ({s.low:+.0%} to {s.high:+.0%})"


def price_line(t: PriceTrend) -> str:
    """The mean change a year, or why there is none."""
    if t.per_year is None or t.low is None or t.high is None:
        return t.why or "no rate"
    return (
        f"{t.per_year:+.0%} a year, 95 % {t.low:+.0%} to {t.high:+.0%}, mean of {t.counted} {t.of} "
        f"known over 90 days or more ({t.single} prices are known on one day only)"
    )
