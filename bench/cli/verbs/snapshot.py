"""`bench snapshot`: add a dated leaderboard to your history, and say what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.arguments import Arguments
from bench.cli.verb import Flag, Verb
from bench.values.errors import InputError, StoreError, nearest
from bench.values.json_text import json_text
from bench.values.outside import regular

if TYPE_CHECKING:
    from bench.trend.snapshots import Changed, Rating

DEFAULT_FILE = "ratings.csv"
SHOWN = 8
OF_PRICES = ("provider", "region", "prices.book")

VERB = Verb(
    usage=(
        "bench snapshot import FILE [as_of=DATE] [source=TEXT] [board=NAME] [ratings=FILE]",
        "bench snapshot import PRICES [as_of=DATE] [provider=NAME] [prices.book=FILE]",
    ),
    more="Reads Arena's CSV and JSON and the tidy CSV of this project, and says\n"
    "what changed since the one before. Price tables (LiteLLM, llm-prices, OpenRouter, offers of\n"
    "GPUs) go to the price book, as bench prices import does it. Nothing is fetched by itself.",
    keys=(
        ("as_of=DATE", "the day of a file that has no dates (today)"),
        ("source=TEXT", "where it is from (the file's name)"),
        ("board=NAME", "arena-text; arena-coding, arena-math, … are categories of Arena's JSON"),
        ("ratings=FILE", f"the CSV that it is appended to ({DEFAULT_FILE})"),
        ("provider=NAME region=NAME", "of offers of GPUs: whose they are, and of which region"),
        ("prices.book=FILE", "the CSV that prices are appended to (prices.csv)"),
    ),
    flags=(Flag(name="--from", what="fetch this address first", value="URL"),),
    words="files",
)


def call(arguments: Arguments) -> int:
    """Import one file."""
    from bench.money.prices.tables import is_price_table
    from bench.trend.snapshots import BOARD, changed, read_ratings, shipped
    from bench.values.figure import past_day

    now = datetime.now(tz=UTC).date()
    own = {"as_of": now.isoformat(), "source": "", "board": BOARD, "ratings": DEFAULT_FILE}
    own |= dict.fromkeys(OF_PRICES, "")
    for override in arguments.overrides:
        key, _, value = override.partition("=")
        if key not in own:
            raise InputError(f"{key!r} is no key of bench snapshot; it takes {', '.join(own)}.")
        own[key] = value
    try:
        past_day(own["as_of"], now)
    except ValueError as error:
        raise InputError(f"{error}.") from error
    address = arguments.option("--from")
    if arguments.words[:1] != ("import",) or len(arguments.words) != (1 if address else 2):
        near = nearest(next(iter(arguments.words), ""), ("import",))
        hint = near if "Did you mean" in near and arguments.words[:1] != ("import",) else ""
        raise InputError(f"bench snapshot takes: import FILE (or import --from URL).{hint}")
    name = address or arguments.words[1]
    text = fetched(name) if address else file_text(name)
    priced = is_price_table(text)
    if priced:
        _refuse(("board", "ratings"), arguments, f"{name} holds prices")
        return _prices(arguments, name, text, own)
    board = own["board"]
    new = read_ratings(text, name, as_of=own["as_of"], source=own["source"] or name, board=board)
    _refuse(OF_PRICES, arguments, f"{name} holds ratings")
    book = Path(own["ratings"])
    known = shipped()
    if book.exists():
        known += read_ratings(file_text(str(book)), str(book), as_of="1970", source=str(book))
    have = {(r.as_of, r.board, r.model): r.rating for r in known}
    added = tuple(r for r in new if have.get((r.as_of, r.board, r.model)) != r.rating)
    found = changed(known, new, new[0].board if new else board)
    if added:
        _append(book, added)
    if arguments.as_json:
        print(json_text(_document(name, book, new, added, found), indent=2))
    else:
        _print(name, book, new, added, found)
    return 0


def _refuse(keys: Sequence[str], arguments: Arguments, why: str) -> None:
    """InputError for a typed key that files of the other kind have."""
    for key in sorted(arguments.typed_keys & {*keys}):
        raise InputError(f"{key} would have no effect: {why}; leave it out.")


def _prices(arguments: Arguments, name: str, text: str, own: Mapping[str, str]) -> int:
    """A price table: into the price book, which keeps history as the ratings do."""
    from bench.cli.price_effect import effect_of
    from bench.cli.verbs.prices import run
    from bench.config.compose import compose
    from bench.money.prices.book import PricesSpec
    from bench.values.codec import decode

    words = [f"prices.book={own['prices.book']}"] if own["prices.book"] else []
    spec = decode(PricesSpec, compose(words, arguments.config_dirs, "cost")["prices"], "prices")
    return run(
        spec,
        import_path=own["source"] or name,
        text=text,
        provider=own["provider"] or None,
        region=own["region"] or None,
        as_of=own["as_of"],
        as_json=arguments.as_json,
        effect=effect_of("worked-example", words, arguments.config_dirs, (), "results"),
    )


def file_text(name: str) -> str:
    """A text file's content; InputError says what is wrong with it."""
    try:
        return regular(Path(name)).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"snapshot: {name}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"snapshot: {name} is not a text file.") from error


def fetched(address: str) -> str:
    """What an address answers; InputError where it does not answer with a page."""
    from bench.web.fetch import fetch

    try:
        reply = fetch(address, timeout_s=30.0)
    except OSError as error:
        raise InputError(f"snapshot: {address}: {error}.") from error
    if reply.status != 200:
        raise InputError(f"snapshot: {address} answers with status {reply.status}.")
    return reply.text


def _append(book: Path, added: tuple[Rating, ...]) -> None:
    from bench.trend.snapshots import lines

    try:
        fresh = not book.exists() or book.stat().st_size == 0
        with book.open("a", encoding="utf-8") as file:
            file.write(lines(added, header=fresh))
    except OSError as error:
        raise StoreError(f"{book}: {error.strerror}.") from error


def _document(
    name: str, book: Path, new: tuple[Rating, ...], added: tuple[Rating, ...], c: Changed
) -> dict[str, object]:
    return {
        "file": name,
        "ratings": str(book),
        "rows": len(new),
        "added": len(added),
        "before": c.before,
        "new": list(c.new),
        "gone": list(c.gone),
        "moved": [{"model": m, "points": p} for m, p in c.moved if p],
    }


def _print(
    name: str, book: Path, new: tuple[Rating, ...], added: tuple[Rating, ...], c: Changed
) -> None:
    from bench.report.console import console

    out = console()
    out.print(f"{name}: {len(new)} ratings, {len(added)} added to {book}", markup=False)
    if c.before is None:
        out.print("no earlier snapshot of this board to compare with", markup=False)
        return
    for word, models in (("new", c.new), ("gone", c.gone)):
        more = f" and {len(models) - SHOWN} more" if len(models) > SHOWN else ""
        shown = f": {', '.join(models[:SHOWN])}{more}" if models else ""
        out.print(f"since {c.before}: {len(models)} {word}{shown}", markup=False)
    moved = [f"{m} {p:+.1f}" for m, p in c.moved[:SHOWN] if p]
    if moved:
        out.print(f"largest changes, points: {', '.join(moved)}", markup=False)
