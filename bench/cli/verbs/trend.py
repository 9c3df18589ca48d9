"""`bench trend`: how ratings and prices move, with intervals, steps, and when two lines meet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.arguments import Arguments
from bench.cli.composed import own_words
from bench.cli.verb import Flag, Verb
from bench.cli.verbs.snapshot import DEFAULT_FILE, file_text
from bench.config.compose import compose
from bench.values.errors import InputError, StoreError, nearest
from bench.values.json_text import json_text

if TYPE_CHECKING:
    from bench.money.prices.book import PriceRow
    from bench.trend.prices import PriceTrend
    from bench.trend.rating import RatingTrend
    from bench.trend.snapshots import Rating

KINDS = ("rating", "price", "spot", "cost", "frontier")

VERB = Verb(
    usage=("bench trend rating|price|spot|cost|frontier [KEY=VALUE ...] [--json]",),
    more="rating: the best open and closed model of a leaderboard, and when they might meet.\n"
    "price: list prices of tokens; cost: a token of which three quarters are prompt; spot: rents;\n"
    "frontier: what the best closed model costs against the best open one of the same board.\n"
    "Too little data says so; scales that were moved are never joined silently.",
    keys=(
        ("ratings=FILE", f"snapshots of your own, as bench snapshot writes them ({DEFAULT_FILE})"),
        ("board=NAME", "arena-text (the default), arena-coding, or one of your file's"),
        ("provider=NAME", "prices of one provider"),
        ("model=NAME", "prices of one model or GPU"),
        ("prices.book=FILE", "a CSV of your own beside the price book"),
    ),
    flags=(
        Flag(
            name="--page",
            what="write it as one HTML page without network, with prices",
            value="FILE",
        ),
    ),
    words="any",
)


def call(arguments: Arguments) -> int:
    """Print one trend."""
    from bench.report.console import console
    from bench.report.trend_table import print_prices, print_rating
    from bench.trend.document import price_document, rating_document

    if len(arguments.words) != 1 or arguments.words[0] not in KINDS:
        said, *more = arguments.words or ("",)
        if more and said in KINDS:
            raise InputError(f"bench trend {said} takes no further word: leave {more[0]!r} out.")
        near = nearest(said, KINDS) if said else ""
        hint = near if "Did you mean" in near else ""  # all there are stand before it
        raise InputError(f"{f'bench trend {said}'.strip()}: say one of {', '.join(KINDS)}.{hint}")
    kind = arguments.words[0]
    mine = ("ratings", "board") if kind in ("rating", "frontier") else ("provider", "model")
    own, overrides = own_words(arguments, mine, f"trend {kind}")
    _check_read(kind, overrides, arguments)
    if kind == "frontier":
        return _frontier(own["ratings"], own["board"], as_json=arguments.as_json)
    if kind == "rating":
        found = ratings(own["ratings"], own["board"])
        if (path := arguments.option("--page")) is not None:
            every, spot = (prices(k, overrides, arguments.config_dirs) for k in ("price", "spot"))
            return write_page(found, every, spot, path)
        if arguments.as_json:
            print(json_text(rating_document(found), indent=2))
        else:
            print_rating(console(), found)
        return 0
    trend = prices(kind, overrides, arguments.config_dirs, own["provider"], own["model"])
    if arguments.as_json:
        print(json_text(price_document(trend), indent=2))
    else:
        print_prices(console(), trend, kind)
    return 0


def _check_read(kind: str, overrides: Sequence[str], arguments: Arguments) -> None:
    """InputError for a page or a price book that this trend would never look at."""
    page = arguments.option("--page")
    if page is not None and kind != "rating":
        raise InputError(
            f"--page is of ratings with prices beside them: bench trend rating --page {page}."
        )
    if page is not None and arguments.as_json:
        raise InputError("--json and --page are two forms of one answer: keep one.")
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key in ("prices.as_of", "prices.stale_days"):
            raise InputError(
                f"{key} would have no effect on bench trend: it reads the prices of all days; "
                "leave it out."
            )
        if kind == "frontier" or (kind == "rating" and page is None):
            raise InputError(
                f"{key} would have no effect on bench trend {kind}: prices of your own are read "
                "by bench trend price, spot or cost."
            )


def _frontier(name: str | None, board: str | None, *, as_json: bool) -> int:
    """The best closed and open models' prices on every snapshot, and their ratio to come."""
    from bench.money.prices.shipped import shipped as prices_of
    from bench.report.console import console
    from bench.report.trend_table import print_frontier
    from bench.trend.document import frontier_document
    from bench.trend.frontier import frontier
    from bench.trend.snapshots import BOARD

    found = frontier(known_ratings(name, board), prices_of("apis"), board or BOARD)
    if as_json:
        print(json_text(frontier_document(found), indent=2))
    else:
        print_frontier(console(), found)
    return 0


def write_page(found: RatingTrend, every: PriceTrend, spot: PriceTrend, path: str) -> int:
    """Write the page; StoreError when it cannot be written."""
    from bench import __version__
    from bench.report.page.build import html
    from bench.report.page.trend import trend_page

    day = datetime.now(tz=UTC).date().isoformat()
    text = html(trend_page(found, every, spot, f"bench {__version__}, {day}"))
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}.") from error
    print(path)
    return 0


def ratings(name: str | None, board: str | None = None) -> RatingTrend:
    """The trend of the shipped snapshots and those of a file; the default one where it exists."""
    from bench.trend.rating import rating_trend
    from bench.trend.snapshots import BOARD

    return rating_trend(known_ratings(name, board), board or BOARD)


def known_ratings(name: str | None, board: str | None) -> tuple[Rating, ...]:
    """The shipped ratings and those of a file; InputError for a board that neither has."""
    from bench.trend.snapshots import read_ratings, shipped

    known = shipped()
    path = name or (DEFAULT_FILE if Path(DEFAULT_FILE).exists() else None)
    if path is not None:
        known += read_ratings(file_text(path), path, as_of="1970", source=path)
    boards = {r.board for r in known}
    if board is not None and board not in boards:
        raise InputError(f"board={board}: no snapshot of it.{nearest(board, boards)}")
    return known


def prices(
    kind: str,
    overrides: tuple[str, ...],
    config_dirs: tuple[str, ...],
    provider: str | None = None,
    model: str | None = None,
) -> PriceTrend:
    """The trend of list prices: of tokens (price), of blended tokens (cost) or of spot rents."""
    from bench.money.prices.book import TOKEN_KINDS, PricesSpec
    from bench.money.prices.shipped import shipped
    from bench.trend.prices import blended, price_trend
    from bench.values.codec import decode

    spec = decode(PricesSpec, compose(list(overrides), config_dirs, "cost")["prices"], "prices")
    rows = [
        r
        for r in (*shipped("apis"), *shipped("rents"), *spec.rows, *spec.more_rows, *_book(spec))
        if (r.kind in TOKEN_KINDS if kind != "spot" else r.kind == "rent_spot")
        and provider in (None, r.provider)
        and model in (None, r.model)
    ]
    if not rows:
        known = (*shipped("apis"), *shipped("rents"), *spec.rows, *spec.more_rows, *_book(spec))
        named = {r.model for r in known if provider in (None, r.provider)}
        hint = nearest(model, named) if model is not None and named else ""
        if not named and provider is not None:
            hint = nearest(provider, {r.provider for r in known})
        raise InputError(
            f"no {kind} is known of {provider or 'any provider'}, {model or 'any model'}.{hint}"
        )
    return price_trend(blended(rows) if kind == "cost" else rows, market=kind == "spot")


def _book(spec: object) -> tuple[PriceRow, ...]:
    from bench.money.prices.tables import read_prices

    book = getattr(spec, "book", None)
    if book is None:
        return ()
    return read_prices(file_text(book), book, as_of="1970", provider=None).rows
