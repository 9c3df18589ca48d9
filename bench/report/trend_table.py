"""Trends in the terminal: the series, their rates with intervals, and what they do not say."""

from __future__ import annotations

from datetime import date

from rich.console import Console

from bench.report.grid import Grid, column, numbers, print_grid
from bench.trend.document import YEAR_ENDS, day_text
from bench.trend.prices import PriceTrend
from bench.trend.rating import RatingTrend, per_month

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


def print_prices(out: Console, t: PriceTrend, title: str) -> None:
    """The series that changed or were watched for a quarter, and the rate over all of them."""
    rows = tuple(
        (
            "/".join(s.key[:2]),
            s.key[2],
            s.first.as_of,
            f"{s.first.usd:.4g}",
            s.last.as_of,
            f"{s.last.usd:.4g}",
            "–" if s.per_year is None else f"{s.per_year:+.0%}",
            "; ".join(f"{x.relative:+.0%} by {x.before}" for x in s.steps) or "none",
        )
        for s in t.series
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
    out.print(price_line(t), markup=False, highlight=False, soft_wrap=True)


def price_line(t: PriceTrend) -> str:
    """The mean change a year, or why there is none."""
    if t.per_year is None or t.low is None or t.high is None:
        return t.why or "no rate"
    return (
        f"{t.per_year:+.0%} a year, 95 % {t.low:+.0%} to {t.high:+.0%}, mean of {t.counted} models "
        f"known over 90 days or more ({t.single} are known on one day only)"
    )
