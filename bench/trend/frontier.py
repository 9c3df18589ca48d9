"""What the best closed model costs against the best open one, over time: the gap in money.

On every snapshot of a leaderboard the best closed and the best open model of those whose list price
is known; a table says under which name of the price book a model of the board is sold (an open one
by its maker). Their prices at 3 of 4 tokens prompt make a ratio; a line goes through its logarithm
on the days on which a pair is new.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from bench.money.prices.book import Key, PriceRow, select
from bench.trend.line import Line, fit_line
from bench.trend.prices import BLEND
from bench.trend.rating import is_open
from bench.trend.scales import plain
from bench.trend.snapshots import BOARD, Rating, by_day
from bench.values.figure import first_day


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The best closed and the best open model with a price on one day; USD per million tokens."""

    day: str
    closed: str
    open: str
    closed_usd: float
    open_usd: float
    gap: float
    """Rating of the closed one less that of the open one."""

    @property
    def ratio(self) -> float:
        """How many times the open one's price the closed one's is."""
        return self.closed_usd / self.open_usd


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """The pairs by day, and the line through the logarithm of their ratio."""

    pairs: tuple[Pair, ...]
    line: Line | None

    def ratio_at(self, day: int) -> tuple[float, float, float] | None:
        """The ratio on a day with its 95 % interval; None without one."""
        ends = None if self.line is None else self.line.interval_at(day)
        if self.line is None or ends is None:
            return None
        return math.exp(self.line.at(day)), math.exp(ends[0]), math.exp(ends[1])


@cache
def priced_as() -> Mapping[str, tuple[str, str]]:
    """From a board's plain name to provider and model of the price book."""
    where = resources.files("bench.assets").joinpath("snapshots/priced_as.csv")
    rows = csv.DictReader(io.StringIO(where.read_text("utf-8")))
    return {plain(row["model"]): (row["provider"], row["priced_as"]) for row in rows}


def frontier(ratings: Iterable[Rating], prices: Iterable[PriceRow], board: str = BOARD) -> Frontier:
    """The ratio on every snapshot on which both sides have a price."""
    ratings, prices = tuple(ratings), tuple(prices)
    days = by_day(ratings, board)
    licences = {k: r.licence for day in days.values() for k, r in day.items() if r.licence}
    found = []
    for day, models in days.items():
        ranked = sorted(models.items(), key=lambda pair: -pair[1].rating)
        best: dict[bool, tuple[Rating, float]] = {}
        for key, r in ranked:
            usd = _blend(prices, priced_as().get(key), day)
            if usd is not None:
                best.setdefault(is_open(r.model, r.licence or licences.get(key, "")), (r, usd))
        if len(best) == 2:
            (closed, closed_usd), (opened, open_usd) = best[False], best[True]
            found.append(
                Pair(
                    day=day,
                    closed=closed.model,
                    open=opened.model,
                    closed_usd=closed_usd,
                    open_usd=open_usd,
                    gap=closed.rating - opened.rating,
                )
            )
    # The same two models at the same prices, seen again, are no new witness.
    new = [p for before, p in zip([None, *found], found, strict=False) if not _same(before, p)]
    at = [float(first_day(p.day).toordinal()) for p in new]
    line = fit_line(at, [math.log(p.ratio) for p in new]) if new else None
    return Frontier(pairs=tuple(found), line=line)


def _same(before: Pair | None, now: Pair) -> bool:
    if before is None:
        return False
    names = [(plain(p.closed), plain(p.open), p.ratio) for p in (before, now)]
    return names[0] == names[1]


def _blend(prices: tuple[PriceRow, ...], name: tuple[str, str] | None, day: str) -> float | None:
    """The price that held on a day, or the first that is known of it later; None without one."""
    if name is None:
        return None
    mine = [r for r in prices if (r.provider, r.model) == name and r.kind in BLEND]
    held: dict[Key, PriceRow] = select(mine, day)
    for row in sorted(mine, key=lambda r: first_day(r.as_of)):
        held.setdefault((row.provider, row.model, row.kind), row)
    usd = {key[2]: row.usd for key, row in held.items()}
    if len(usd) < len(BLEND):
        return None
    return sum(share * usd[kind] for kind, share in BLEND.items())
