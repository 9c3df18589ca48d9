"""List prices over time: what changed when, a yearly rate per series, and over all of them.

A list price has no noise: a series has steps, which are facts, and no interval of its own. What has
one is the mean over models, each counted once, on the log scale (Student's t): input and output of
one model move together, and counted apart would make the interval too narrow. Series watched for
less than a quarter say nothing about a year and are left out.

A spot price is a market's: its rate is that of a line through its logarithm, with an interval and
steps apart from drift (`line`). A GPU counts once, however many regions sell it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise

import numpy as np

from bench.money.prices.book import DAYS_PER_YEAR, Key, PriceRow
from bench.trend.line import Line, fit_line
from bench.values.confidence import t_quantile
from bench.values.figure import first_day

LEAST_DAYS = 90
LEAST_MODELS = 3
WIDEST = 5.0
"""An interval that reaches a price six times as high in a year says nothing of a rate."""
LEAST_POINTS = 6
"""Dates below which a market price has no line: two would always fit one."""
BLEND = {"input": 0.75, "output": 0.25}
"""Shares of a token's price where input and output are one: three of four tokens are prompt."""


@dataclass(frozen=True, kw_only=True)
class PriceStep:
    """A change of a list price: between which days, from what to what, in USD."""

    after: str
    before: str
    usd_before: float
    usd: float
    relative: float
    """The change as a share; of a market price, of its level apart from its drift."""


@dataclass(frozen=True, kw_only=True)
class PriceSeries:
    """One price over time. `per_year` is the change a year between its first and last known day
    (0.2 is +20 %), None where those are less than 90 days apart; of a market price it is the line's
    and has an interval."""

    key: Key
    days: int
    first: PriceRow
    last: PriceRow
    steps: tuple[PriceStep, ...]
    per_year: float | None
    low: float | None = None
    high: float | None = None
    points: tuple[PriceRow, ...] = ()
    line: Line | None = None
    """Through the logarithm of a market price."""

    @property
    def steady(self) -> bool:
        """Whether the interval of its rate says something of it."""
        return self.high is not None and self.high <= WIDEST


@dataclass(frozen=True, kw_only=True)
class PriceTrend:
    """All series with two known days, and the mean change a year over the `counted` models of
    those of 90 days or more with its 95 % interval; None where there are too few (`why`)."""

    series: tuple[PriceSeries, ...]
    single: int
    per_year: float | None
    low: float | None
    high: float | None
    counted: int
    why: str | None
    of: str = "models"
    """What is counted, once each."""


def price_trend(rows: Iterable[PriceRow], *, market: bool = False) -> PriceTrend:
    """The trend of the rows' series; `market` for prices that have noise."""
    every: dict[Key, dict[date, PriceRow]] = defaultdict(dict)
    for row in rows:
        every[row.provider, row.model, row.kind][first_day(row.as_of)] = row
    make, of = (_market, "GPUs") if market else (_series, "models")
    series = tuple(make(k, dict(sorted(v.items()))) for k, v in every.items() if len(v) > 1)
    by_model: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for s in series:
        if s.per_year is not None:
            by_model[s.key[1:2] if market else s.key[:2]].append(math.log1p(s.per_year))
    rates = np.array([float(np.mean(found)) for found in by_model.values()])
    single = len(every) - len(series)
    if len(rates) < LEAST_MODELS:
        why = (
            f"prices of {len(rates)} {of} are known over {LEAST_DAYS} days or more, {single} on "
            f"one day only: too little for a rate ({LEAST_MODELS} needed)"
        )
        return PriceTrend(
            series=series,
            single=single,
            per_year=None,
            low=None,
            high=None,
            counted=len(rates),
            why=why,
            of=of,
        )
    mean = float(rates.mean())
    error = float(rates.std(ddof=1)) / math.sqrt(len(rates))
    reach = t_quantile(len(rates) - 1) * error
    return PriceTrend(
        series=series,
        single=single,
        per_year=math.expm1(mean),
        low=math.expm1(mean - reach),
        high=math.expm1(mean + reach),
        counted=len(rates),
        why=None,
        of=of,
    )


def _series(key: Key, points: dict[date, PriceRow]) -> PriceSeries:
    rows, days = list(points.values()), list(points)
    span = (days[-1] - days[0]).days
    rate = None
    if span >= LEAST_DAYS:
        rate = (rows[-1].usd / rows[0].usd) ** (DAYS_PER_YEAR / span) - 1
    return PriceSeries(
        key=key,
        days=span,
        first=rows[0],
        last=rows[-1],
        steps=tuple(
            PriceStep(
                after=a.as_of,
                before=b.as_of,
                usd_before=a.usd,
                usd=b.usd,
                relative=b.usd / a.usd - 1,
            )
            for a, b in pairwise(rows)
            if a.usd != b.usd
        ),
        per_year=rate,
    )


def _market(key: Key, points: dict[date, PriceRow]) -> PriceSeries:
    """A series with noise: a line through the logarithms, where there are dates enough for one."""
    plain = _series(key, points)
    if len(points) < LEAST_POINTS or plain.days < LEAST_DAYS:
        return plain
    rows = list(points.values())
    days = [float(d.toordinal()) for d in points]
    line = fit_line(days, [math.log(r.usd) for r in rows])
    ends = None if line is None else line.slope_interval()
    if line is None or ends is None:
        return plain
    at = dict(zip(days, rows, strict=True))
    return replace(
        plain,
        steps=tuple(
            PriceStep(
                after=at[s.after_day].as_of,
                before=at[s.before_day].as_of,
                usd_before=at[s.after_day].usd,
                usd=at[s.before_day].usd,
                relative=math.expm1(s.size),
            )
            for s in line.steps
        ),
        per_year=math.expm1(line.slope * DAYS_PER_YEAR),
        low=math.expm1(ends[0] * DAYS_PER_YEAR),
        high=math.expm1(ends[1] * DAYS_PER_YEAR),
        points=tuple(rows),
        line=line,
    )


def blended(rows: Iterable[PriceRow]) -> tuple[PriceRow, ...]:
    """The price of a token of which three quarters are prompt, on every day on which input or
    output changed and both are known."""
    models: dict[tuple[str, str], dict[str, list[PriceRow]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in rows:
        if row.kind in BLEND:
            models[row.provider, row.model][row.kind].append(row)
    found: list[PriceRow] = []
    for kinds in models.values():
        every = sorted((r for rs in kinds.values() for r in rs), key=lambda r: first_day(r.as_of))
        now: dict[str, float] = {}
        last: dict[str, PriceRow] = {}
        for row in every:
            now[row.kind] = row.usd
            if len(now) == len(BLEND):
                usd = sum(BLEND[k] * v for k, v in now.items())
                last[row.as_of] = PriceRow(
                    provider=row.provider,
                    model=row.model,
                    kind="input",
                    usd=usd,
                    as_of=row.as_of,
                    source=f"{row.source}; 3:1 of input and output",
                )
        found += last.values()
    return tuple(found)
