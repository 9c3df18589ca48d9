"""The page of trends: what is expected, how sure that is, and what it rests on."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from bench.report.page.blocks import Block, Cell, Page, Picture, Section, Table, Text, word
from bench.report.trend_table import NAMES, price_line, rating_lines
from bench.trend.document import YEAR_ENDS, day_text
from bench.trend.prices import PriceSeries, PriceTrend
from bench.trend.rating import RatingTrend, per_month
from bench.values.figure import first_day

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 15
MOST_DRAWN = 6


def trend_page(t: RatingTrend, prices: PriceTrend, rents: PriceTrend, made: str) -> Page:
    """Four sections: in short, ratings, prices, spot rents; sources last."""
    return Page(
        title="Open and closed models: where the trends lead",
        sections=[
            _short(t, prices, rents),
            _ratings(t),
            _prices(prices),
            _rents(rents),
            _rests(t, rents),
        ],
        made=made,
    )


def _short(t: RatingTrend, prices: PriceTrend, rents: PriceTrend) -> Section:
    """What a manager reads in a minute."""
    gap, first, last = t.gaps[-1], t.days[0], t.days[-1]
    text = (
        f"On {last} the best open model ({t.best_open[-1].model}) stood {gap:.0f} points behind "
        f"the best closed one ({t.best_closed[-1].model}); on {first} it was {t.gaps[0]:.0f}. "
    )
    rate = per_month(t.lines["gap"])
    if rate is not None and rate[1] is not None and rate[2] is not None:
        sure = "shrinks" if rate[2] < 0 else "grows" if rate[1] > 0 else None
        text += (
            f"The gap {sure} by {abs(rate[0]):.1f} points a month. "
            if sure
            else f"Whether it shrinks is not certain: {rate[0]:+.1f} points a month, 95 % "
            f"{rate[1]:+.1f} to {rate[2]:+.1f}. "
        )
    if t.meets is not None:
        chance = t.meets.by(date(YEAR_ENDS[0], 12, 31).toordinal())
        text += (
            f"Parity by the end of {YEAR_ENDS[0]} has a chance of {chance:.0%}, if it goes on so."
        )
    blocks: list[Block] = [Text(text=text, lead="Ratings.")]
    blocks.append(Text(text=f"List prices: {price_line(prices)}.", lead="Prices."))
    blocks.append(Text(text=f"Spot rents of GPUs: {price_line(rents)}.", lead="Rents."))
    return Section(name="short", heading="In short", blocks=blocks)


def _ratings(t: RatingTrend) -> Section:
    days = [float(first_day(d).toordinal()) for d in t.days]
    blocks: list[Block] = []
    if t.added is not None:
        values = [
            [b.rating + s for b, s in zip(series, t.added, strict=True)]
            for series in (t.best_closed, t.best_open)
        ]
        lines = [t.lines["closed joined"], t.lines["open joined"]]

        def draw_ratings() -> Figure:
            from bench.report.pictures.trend import series_over_time

            names = ("best closed model", "best open model")
            return series_over_time(names, days, values, lines, "rating, points")

        caption = (
            "The best models, on the newest scale: earlier ones moved by the shift of the models "
            "in both snapshots. Lines with their 95 % bands; right of the dotted line nothing "
            "was seen."
        )
        blocks.append(Picture(name="ratings", caption=caption, draw=draw_ratings))

    def draw_gap() -> Figure:
        from bench.report.pictures.trend import series_over_time

        return series_over_time(
            ("gap",), days, [list(t.gaps)], [t.lines["gap"]], "best closed less best open, points"
        )

    caption = "The gap within each snapshot, which no moved scale touches, and its line."
    blocks.append(Picture(name="gap", caption=caption, draw=draw_gap))
    if t.meets is not None:
        shares = [t.meets.by(date(y, 12, 31).toordinal()) for y in YEAR_ENDS]

        def draw_chances() -> Figure:
            from bench.report.pictures.trend import chances

            return chances(YEAR_ENDS, shares)

        caption = (
            f"When the line of the gap reaches zero; never in {t.meets.never:.0%} of what the data "
            f"allow, median {day_text(t.meets.median_day) or 'never'}."
        )
        blocks.append(Picture(name="parity", caption=caption, draw=draw_chances))
    blocks += [_rates(t), _snapshots(t)]
    return Section(name="ratings", heading="Ratings", blocks=blocks)


def _rates(t: RatingTrend) -> Table:
    rows = []
    for name, line in t.lines.items():
        value, low, high = per_month(line) or (None, None, None)
        rows.append([word(NAMES[name]), *(_points(v) for v in (value, low, high))])
    return Table(
        caption="Points a month, with the ends of the 95 % interval",
        columns=("series", "a month", "from", "to"),
        rows=rows,
    )


def _points(value: float | None) -> Cell:
    return word(None) if value is None else Cell(text=f"{value:+.1f}", value=value)


def _snapshots(t: RatingTrend) -> Table:
    rows = [
        [
            word(day),
            word(o.model),
            Cell(text=f"{o.rating:,.0f}", value=o.rating),
            word(c.model),
            Cell(text=f"{c.rating:,.0f}", value=c.rating),
            Cell(text=f"{gap:.0f}", value=gap),
            word(scale),
        ]
        for day, o, c, gap, scale in zip(
            t.days, t.best_open, t.best_closed, t.gaps, t.scales, strict=True
        )
    ]
    return Table(
        caption="What was seen; ratings of different scales are not one series",
        columns=("day", "best open", "rating", "best closed", "rating", "gap", "scale"),
        rows=rows,
        left=(0, 1, 3),
    )


def _prices(prices: PriceTrend) -> Section:
    """Those that changed, the largest changes first; of the others their number."""
    changed = [s for s in prices.series if s.steps]
    changed.sort(key=lambda s: -max(abs(x.relative) for x in s.steps))
    rows = [_price(s) for s in changed[:SHOWN]]
    table = Table(
        caption=f"List prices that changed, USD per million tokens ({len(rows)} of {len(changed)}; "
        f"{len(prices.series) - len(changed)} more were seen on two days and did not)",
        columns=("price", "kind", "first", "last", "a year"),
        rows=rows,
        left=(0, 1),
    )
    blocks: list[Block] = [Text(text=price_line(prices)), *([table] if rows else [])]
    return Section(name="prices", heading="List prices", blocks=blocks)


def _price(s: PriceSeries) -> list[Cell]:
    rate = word(None)
    if s.per_year is not None:
        known = s.low is not None and s.high is not None
        ends = f"{s.low:+.0%} to {s.high:+.0%}" if known and s.steady else ""
        ends = "no steady rate" if known and not s.steady else ends
        rate = Cell(text=f"{s.per_year:+.0%}", value=s.per_year, note=ends)
    return [
        word("/".join(s.key[:2])),
        word(s.key[2]),
        Cell(text=f"{s.first.usd:.4g}", value=s.first.usd, note=s.first.as_of),
        Cell(text=f"{s.last.usd:.4g}", value=s.last.usd, note=s.last.as_of),
        rate,
    ]


def _rents(rents: PriceTrend) -> Section:
    """Spot rents: a picture of one seller's GPUs, and every series with its rate."""
    rows = [_price(s) for s in rents.series]
    table = Table(
        caption="Spot rents, USD per GPU-hour with its share of the host, and their change a year "
        "with a 95 % interval",
        columns=("seller and GPU", "kind", "first", "last", "a year"),
        rows=rows,
        left=(0, 1),
    )
    blocks: list[Block] = [Text(text=price_line(rents))]
    drawn = _drawn(rents)
    if drawn:

        def draw() -> Figure:
            from bench.report.pictures.trend import prices_over_time

            return prices_over_time(
                [s.key[1] for s in drawn],
                [[float(first_day(p.as_of).toordinal()) for p in s.points] for s in drawn],
                [[p.usd for p in s.points] for s in drawn],
                [s.line if s.steady else None for s in drawn],
                "USD/GPU-hour, spot",
            )

        where = "a line, with its 95 % band, where the months show a steady rate"
        caption = f"Spot rents at {drawn[0].key[0]}; {where}."
        blocks.append(Picture(name="rents", caption=caption, draw=draw))
    return Section(name="rents", heading="Spot rents", blocks=[*blocks, *([table] if rows else [])])


def _drawn(rents: PriceTrend) -> list[PriceSeries]:
    """The series with lines of the seller that has most of them."""
    lined = [s for s in rents.series if s.line is not None]
    if not lined:
        return []
    sellers = [s.key[0] for s in lined]
    most = max(sorted(set(sellers)), key=sellers.count)
    return [s for s in lined if s.key[0] == most][:MOST_DRAWN]


def _rests(t: RatingTrend, rents: PriceTrend) -> Section:
    blocks: list[Block] = [Text(text=line) for line in (*rating_lines(t), *t.findings)]
    sources = sorted({s.last.source.partition(",")[0].partition(" at ")[0] for s in rents.series})
    if sources:
        blocks.append(Text(text=f"Spot rents: {', '.join(sources)}; each row names its commit."))
    text = (
        "Ratings: LM Arena text, from two public repositories (named in each row of the "
        "snapshots). Open means that weights can be downloaded. A straight line is an assumption: "
        "new models come in jumps, and seven dates cannot tell a line from a curve."
    )
    return Section(name="rests", heading="What it rests on", blocks=[*blocks, Text(text=text)])
