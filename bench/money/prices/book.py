"""The price book: dated prices kept as history, what held on a date, and how prices decline.

A later row never replaces an earlier one: `select` picks, per (provider, model, kind), the newest
row on or before a date. A date may be a year or a month; it then counts from its first day.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from bench.values.confidence import t_quantile
from bench.values.errors import InputError, nearest
from bench.values.figure import first_day
from bench.values.override_text import as_text, pasted

TokenKind = Literal[
    "input",
    "cached_input",
    "cache_write",
    "output",
    "long_input",
    "long_cached_input",
    "long_output",
    "batch_input",
    "batch_output",
]
RentKind = Literal["rent_on_demand", "rent_reserved", "rent_spot"]
TOKEN_KINDS = frozenset(
    "input cached_input cache_write output long_input long_cached_input long_output batch_input "
    "batch_output".split()
)
RENT_KINDS = frozenset("rent_on_demand rent_reserved rent_spot".split())
DAYS_PER_YEAR = 365.25
USD_PER_MTOK = (1e-4, 1e4)
"""No list price per million tokens lies outside: such a row has another unit."""
USD_PER_GPU_HOUR = (1e-3, 1e3)
"""The same of a rent: a GPU, or a host without one, for an hour."""


@dataclass(frozen=True, kw_only=True)
class PriceRow:
    """One dated price: $/M tokens for token kinds, $/GPU-h for rents (`model` is then the GPU)."""

    provider: str
    model: str
    kind: TokenKind | RentKind
    usd: float
    as_of: str
    source: str
    verified: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.usd) and self.usd > 0):
            raise ValueError(f"usd must be above 0, not {self.usd:g} (leave unknown prices out)")
        least, most = USD_PER_MTOK
        if self.kind in TOKEN_KINDS and not least <= self.usd <= most:
            raise ValueError(
                f"usd is {self.usd:g} per million tokens, which no one asks: is it "
                "a price per token, or per thousand?"
            )
        cheapest, dearest = USD_PER_GPU_HOUR
        if self.kind in RENT_KINDS and not cheapest <= self.usd <= dearest:
            raise ValueError(
                f"usd is {self.usd:g} per GPU and hour, which no one asks: is it a price "
                "per month, or in cents?"
            )
        if not self.source.strip():
            raise ValueError("source must say where the price comes from")
        first_day(self.as_of)

    @property
    def key(self) -> str:
        """What the row prices: `provider/model`."""
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, kw_only=True)
class PricesSpec:
    """The `prices` group. `book` is a CSV of further rows (written by `bench prices import`);
    `shipped` are the package's own histories to add; `as_of` None takes the newest rows, else what
    held on that date. `gpu_names` maps a seller's GPU names to those of the gpu group when offers
    are imported."""

    rows: tuple[PriceRow, ...] = ()
    more_rows: tuple[PriceRow, ...] = ()
    shipped: tuple[Literal["rents", "apis"], ...] = ()
    book: str | None = None
    as_of: str | None = None
    stale_days: int = 90
    gpu_names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.as_of is not None:
            first_day(self.as_of)
        if self.stale_days < 1:
            raise ValueError("stale_days must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Decline:
    """Yearly price decline g (0.2 is -20 %/yr, negative is a rise) with its 95 % t interval,
    None where the history leaves no degree of freedom."""

    per_year: float
    low: float | None
    high: float | None
    dates: int
    series: int


Key = tuple[str, str, str]


PER_HOUR = ", in $ per GPU and hour: "
"""Before what to type for a rent; a table that has no room ends there."""


def row_words(provider: str, model: str, *kinds: str) -> str:
    """What to type for a price that the book lacks."""
    of = f"provider:{as_text(provider)},model:{as_text(model)}"
    rows = (f'{{{of},kind:{kind},usd:X,as_of:"2026-11",source:WHENCE}}' for kind in kinds)
    return pasted(f"prices.more_rows=[{','.join(rows)}]")


def until(rows: Iterable[PriceRow], as_of: str | None) -> tuple[PriceRow, ...]:
    """The rows on or before a date: all that was known then. None takes every row."""
    limit = None if as_of is None else first_day(as_of)
    return tuple(row for row in rows if limit is None or first_day(row.as_of) <= limit)


def select(rows: Iterable[PriceRow], as_of: str | None) -> dict[Key, PriceRow]:
    """The row that holds on `as_of` per (provider, model, kind); of one day the last listed."""
    held: dict[Key, PriceRow] = {}
    for row in until(rows, as_of):
        key = (row.provider, row.model, row.kind)
        if key not in held or first_day(row.as_of) >= first_day(held[key].as_of):
            held[key] = row
    return held


def api_rows(held: Mapping[Key, PriceRow]) -> dict[str, dict[str, PriceRow]]:
    """Token prices by `provider/model`, then by kind."""
    found: dict[str, dict[str, PriceRow]] = defaultdict(dict)
    for row in held.values():
        if row.kind in TOKEN_KINDS:
            found[row.key][row.kind] = row
    return dict(found)


def comparable_apis(
    held: Mapping[Key, PriceRow], compare: tuple[str, ...]
) -> tuple[dict[str, dict[str, PriceRow]], tuple[str, ...]]:
    """The APIs to compare with, and those left out because input or output price is missing.

    An API asked for by name must be complete: InputError names the missing key.
    """
    known = api_rows(held)
    for key in compare:
        if key not in known:
            raise InputError(
                f"tco.api.compare: {key!r} has no price in the book.{nearest(key, known)} A price "
                f"of your own, in $/M tokens: {row_words(*_of(key), 'input', 'output')}."
            )
        for kind in ("input", "output"):
            if kind not in known[key]:
                raise InputError(
                    f"prices: {key} has no {kind!r} price; add a dated row for it, in $/M tokens: "
                    f"{row_words(*_of(key), kind)}."
                )
    if compare:
        return {key: known[key] for key in compare}, ()
    whole = {k: v for k, v in known.items() if "input" in v and "output" in v}
    return whole, tuple(sorted(set(known) - set(whole)))


def _of(key: str) -> tuple[str, str]:
    provider, _, model = key.partition("/")
    return provider, model or "MODEL"


def not_yet_priced(
    rows: Iterable[PriceRow], held: Mapping[Key, PriceRow], compare: tuple[str, ...]
) -> tuple[str, ...]:
    """Of the APIs asked for by name, those whose prices are all later than the date of `held`.

    Empty when that leaves no API to compare with: then the missing price is an error.
    """
    then, ever = api_rows(held), {row.key for row in rows if row.kind in TOKEN_KINDS}
    later = tuple(key for key in compare if key in ever and key not in then)
    return later if len(later) < len(compare) else ()


def rent_row(
    held: Mapping[Key, PriceRow], gpu: str, tier: str, provider: str | None
) -> PriceRow | None:
    """The cheapest dated $/GPU-h of a tier, or None where this GPU has prices but not this one.

    InputError when the GPU or the provider is unknown to the book: never $0.
    """
    rents = [row for row in held.values() if row.kind in RENT_KINDS]
    names = {row.model for row in rents}
    if gpu not in names:
        raise InputError(
            f"tco.server.gpu: {gpu!r} has no rent in the price book.{nearest(gpu, names)} Add "
            f"one{PER_HOUR}{row_words('SELLER', gpu, 'rent_on_demand')}."
        )
    if provider is not None and provider not in {row.provider for row in rents}:
        hint = nearest(provider, {row.provider for row in rents})
        raise InputError(f"tco.rent.provider: {provider!r} is not in the price book.{hint}")
    offers = [row for row in rents if row.model == gpu and row.kind == f"rent_{tier}"]
    offers = [row for row in offers if provider is None or row.provider == provider]
    return min(offers, key=lambda row: row.usd, default=None)


def decline(rows: Iterable[PriceRow]) -> Decline | None:
    """Decline per year from all dated prices: one slope of log price over time, one level per
    series (provider, model, kind); None when no series has two dates.

    Ordinary least squares within series (fixed effects); interval from Student's t.
    """
    import numpy as np  # a tenth of a second, which whoever only looks a price up does not have

    series: dict[Key, dict[date, float]] = defaultdict(dict)
    for row in rows:
        series[row.provider, row.model, row.kind][first_day(row.as_of)] = row.usd
    usable = [points for points in series.values() if len(points) >= 2]
    if not usable:
        return None
    years, logs = [], []
    for points in usable:
        t = np.array([d.toordinal() / DAYS_PER_YEAR for d in points])
        y = np.log(np.array(list(points.values())))
        years.append(t - t.mean())
        logs.append(y - y.mean())
    t, y = np.concatenate(years), np.concatenate(logs)
    slope = float(t @ y / (t @ t))
    free = len(t) - len(usable) - 1
    low = high = None
    if free > 0:
        error = math.sqrt(float(((y - slope * t) ** 2).sum()) / free / float(t @ t))
        reach = t_quantile(free) * error
        low, high = 1 - math.exp(slope + reach), 1 - math.exp(slope - reach)
    return Decline(
        per_year=1 - math.exp(slope), low=low, high=high, dates=len(t), series=len(usable)
    )
