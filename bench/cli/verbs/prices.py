"""`bench prices`: the price book of APIs and GPUs, and importing public price tables into it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.ask.costs import book_rows
from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.composed import own_words
from bench.cli.price_effect import Ask, effect_of, moved_by
from bench.cli.verb import Verb
from bench.config.compose import catalogue, compose, split_results_dir
from bench.values.errors import InputError, StoreError, nearest
from bench.values.json_text import json_text
from bench.values.outside import text_file

if TYPE_CHECKING:
    from bench.money.prices.book import PricesSpec
    from bench.money.prices.tables import Change

VERB = Verb(
    usage=(
        "bench prices [prices.book=FILE] [prices.as_of=DATE] [--json]",
        "bench prices import FILE [RUN] [provider=NAME] [as_of=DATE] [prices.book=FILE]",
    ),
    more="Reads LiteLLM, llm-prices, OpenRouter, offers of GPUs (SkyPilot's catalogue, gpuhunt's,\n"
    "the table that instances.vantage.sh exports) and the book's own CSV. What an import changes\n"
    "in the answer of bench tco is shown at once: of the RUN named, or of tco=NAME.",
    keys=(
        ("provider=NAME", "whose prices an imported file holds"),
        ("region=NAME", "of offers of GPUs, those of one region (the lowest of all)"),
        ("as_of=DATE", "the day of an imported file that has no dates (today)"),
        ("prices.book=FILE", "a CSV of your own; imports are appended to it"),
        ("prices.as_of=DATE", "the book as it stood on that day"),
        (
            "tco=NAME",
            "the cost question that an import is shown in (worked-example; with RUN as bench tco)",
        ),
        keys.RESULTS_DIR,
    ),
    words="files",
)


def call(arguments: Arguments) -> int:
    """List the book, or `import FILE` into it."""
    from bench.money.prices.book import PricesSpec
    from bench.values.codec import decode

    results_dir, words = split_results_dir(arguments.overrides)
    arguments = replace(arguments, overrides=tuple(words))
    own, overrides = own_words(arguments, ("provider", "as_of", "region", "tco"), "prices")
    path = None
    if arguments.words:
        if arguments.words[0] != "import" or len(arguments.words) not in (2, 3):
            hint = (
                "" if arguments.words[0] == "import" else nearest(arguments.words[0], ("import",))
            )
            hint = hint if "Did you mean" in hint else ""
            raise InputError(f"bench prices takes nothing, or: import FILE [RUN].{hint}")
        path = arguments.words[1]
    for key in (k for k, value in own.items() if value is not None and path is None):
        raise InputError(f"{key} is of an imported file: bench prices import FILE {key}=…")
    spec = decode(PricesSpec, compose(overrides, arguments.config_dirs, "cost")["prices"], "prices")
    question, names = own.pop("tco"), arguments.words[2:]
    if path is None:
        return run(spec, as_json=arguments.as_json)
    effect = effect_of(question, overrides, arguments.config_dirs, names, results_dir)
    return run(
        spec,
        import_path=path,
        provider=own["provider"],
        region=own["region"],
        as_of=own["as_of"],
        as_json=arguments.as_json,
        effect=effect,
    )


DEFAULT_BOOK = "prices.csv"


def run(
    spec: PricesSpec,
    *,
    import_path: str | None = None,
    provider: str | None = None,
    as_of: str | None = None,
    region: str | None = None,
    text: str | None = None,
    as_json: bool = False,
    effect: Ask | None = None,
) -> int:
    """List the book as of its date, or import a file into it; returns 0.

    An import is dated `as_of` (today when None) where the file has no dates, and is appended to
    the book's CSV: nothing there is changed or removed. `text` is its content where it was fetched;
    `effect` asks the cost question that it is shown in.
    """
    from bench.values.figure import past_day

    now = datetime.now(tz=UTC).date()
    today = now.isoformat()
    if import_path is None:
        _show(spec, today, as_json)
    else:
        try:
            past_day(as_of or today, now)
        except ValueError as error:
            raise InputError(f"{error}.") from error
        offer = Given(provider=provider, region=region, as_of=as_of or today, text=text)
        _import(spec, import_path, offer, effect, as_json=as_json)
    return 0


def _show(spec: PricesSpec, today: str, as_json: bool) -> None:
    from bench.money.prices.book import select, until
    from bench.report.console import console
    from bench.report.prices_table import book_document, print_book
    from bench.values.figure import first_day

    rows = book_rows(spec)
    held, known = select(rows, spec.as_of), until(rows, spec.as_of)
    on = first_day(spec.as_of or today)
    if as_json:
        print(json_text(book_document(held, known, on, spec.stale_days), indent=2))
    else:
        print_book(console(), held, known, on, spec.stale_days)


@dataclass(frozen=True, kw_only=True)
class Given:
    """What was typed about a file: whose prices, of which region and day."""

    provider: str | None
    region: str | None
    as_of: str
    text: str | None = None


def _import(
    spec: PricesSpec, path: str, given: Given, effect: Ask | None, *, as_json: bool
) -> None:
    from bench.money.prices.shipped import configured
    from bench.money.prices.tables import changes, read_prices
    from bench.report.console import console
    from bench.report.prices_table import import_document, print_effect, print_import

    text = given.text if given.text is not None else text_file(path, "prices import")
    found = read_prices(
        text,
        path,
        as_of=given.as_of,
        provider=given.provider,
        region=given.region,
        gpu_names=spec.gpu_names,
        gpus=[n for n in catalogue().gpus if n not in ("auto", "cpu")],
    )
    for key, value in (("provider", given.provider), ("region", given.region)):
        if value is not None and not found.shape.startswith("GPU offers"):
            raise InputError(
                f"{key} would have no effect: {path} ({found.shape}) names its providers "
                "itself; leave it out."
            )
    book = Path(spec.book or DEFAULT_BOOK)
    known = configured(spec)
    if book.exists():
        known += read_prices(
            text_file(str(book), "prices.book"), str(book), as_of="1970", provider=None
        ).rows
    new = changes(known, found.rows)
    moved = None if effect is None else moved_by(effect, known, [c.row for c in new])
    if new:
        _append(book, new)
    if as_json:
        print(json_text(import_document(path, str(book), found, new, moved), indent=2))
        return
    out = console()
    print_import(out, path, str(book), found, new)
    if moved is not None:
        print_effect(out, moved)
    if spec.book is None:
        out.print(f"Use them with prices.book={book}.", markup=False)


def _append(book: Path, new: tuple[Change, ...]) -> None:
    from bench.money.prices.tables import book_lines

    try:
        fresh = not book.exists() or book.stat().st_size == 0
        with book.open("a", encoding="utf-8") as file:
            file.write(book_lines((change.row for change in new), header=fresh))
    except OSError as error:
        raise StoreError(f"{book}: {error.strerror}.") from error
