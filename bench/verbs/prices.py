"""`bench prices`: the price book, how its prices moved, and importing public tables into it."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from bench.errors import InputError, StoreError
from bench.figure import age_days, first_day
from bench.prices.book import Key, PriceRow, PricesSpec, decline, select
from bench.prices.tables import Change, book_lines, changes, read_prices
from bench.report.terminal import console

DEFAULT_BOOK = "prices.csv"
SHOWN = 40


def run(
    spec: PricesSpec, *, import_path: str | None = None, provider: str | None = None,
    as_of: str | None = None,
) -> int:  # fmt: skip
    """List the book as of its date, or import a file into it; returns 0.

    An import is dated `as_of` (today when None) where the file has no dates, and is appended to
    the book's CSV: nothing there is changed or removed.
    """
    today = datetime.now(tz=UTC).date().isoformat()
    if import_path is None:
        _show(spec, today)
    else:
        _import(spec, import_path, provider, as_of or today)
    return 0


def book_rows(spec: PricesSpec) -> tuple[PriceRow, ...]:
    """All rows: those of the configuration, then those of the CSV that `book` names."""
    rows = spec.rows + spec.more_rows
    if spec.book is None:
        return rows
    text = _read(spec.book, "prices.book")
    return rows + read_prices(text, spec.book, as_of="1970", provider=None).rows


def _read(name: str, key: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{key}: {name}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{key}: {name} is not a text file.") from error


def _show(spec: PricesSpec, today: str) -> None:
    rows = book_rows(spec)
    held = select(rows, spec.as_of)
    on = first_day(spec.as_of or today)
    history: dict[Key, list[PriceRow]] = defaultdict(list)
    for row in rows:
        history[row.provider, row.model, row.kind].append(row)
    table = Table(title=f"Prices as of {spec.as_of or today}", title_justify="left")
    for column in ("provider/model", "kind", "$", "as of", "age, days", "decline/yr", "source"):
        table.add_column(column)
    for key, row in sorted(held.items()):
        age = age_days(row.as_of, on)
        past = decline(history[key])
        table.add_row(
            row.key + ("" if row.verified else " (unverified)"), row.kind, f"{row.usd:g}",
            row.as_of, f"{age}{' stale' if age > spec.stale_days else ''}",
            "" if past is None else f"{past.per_year:.0%}", row.source,
        )  # fmt: skip
    out = console()
    out.print(table)
    pooled = decline(rows)
    if pooled is None:
        out.print("No price has two dates yet, so no decline can be estimated.")
        return
    interval = "" if pooled.low is None or pooled.high is None else (
        f" (95 %: {pooled.low:.1%} to {pooled.high:.1%})"
    )  # fmt: skip
    out.print(f"All {pooled.series} prices with history: {pooled.per_year:.1%} a year"
                  f"{interval}, from {pooled.dates} dated prices.")  # fmt: skip


def _import(spec: PricesSpec, path: str, provider: str | None, as_of: str) -> None:
    text = _read(path, "prices import")
    found = read_prices(text, path, as_of=as_of, provider=provider, gpu_names=spec.gpu_names)
    book = Path(spec.book or DEFAULT_BOOK)
    known = spec.rows + spec.more_rows
    if book.exists():
        known += read_prices(_read(str(book), "prices.book"), str(book), as_of="1970",
                             provider=None).rows  # fmt: skip
    new = changes(known, found.rows)
    if new:
        _append(book, tuple(change.row for change in new))
    out = console()
    out.print(_summary(new), markup=False)
    if any(change.relative for change in new):
        out.print(_changed(new))
    out.print(
        f"{path} ({found.shape}): {len(found.rows)} prices read, {found.skipped} entries without "
        f"a price skipped, {len(new)} rows appended to {book}.", markup=False,
    )  # fmt: skip
    if spec.book is None:
        out.print(f"Use them with prices.book={book}.", markup=False)


def _append(book: Path, rows: tuple[PriceRow, ...]) -> None:
    try:
        fresh = not book.exists() or book.stat().st_size == 0
        with book.open("a", encoding="utf-8") as file:
            file.write(book_lines(rows, header=fresh))
    except OSError as error:
        raise StoreError(f"{book}: {error.strerror}.") from error


def _summary(new: tuple[Change, ...]) -> str:
    first = sum(change.before is None for change in new)
    moved = sum(bool(change.relative) for change in new)
    return f"{first} new, {moved} changed, {len(new) - first - moved} confirmed at a later date"


def _changed(new: tuple[Change, ...]) -> Table:
    moved = [change for change in new if change.relative]
    table = Table(title="Changed prices", title_justify="left")
    for column in ("provider/model", "kind", "before", "now", "change"):
        table.add_column(column)
    for change in sorted(moved, key=lambda c: -abs(c.relative or 0.0))[:SHOWN]:
        before = change.before
        table.add_row(change.row.key, change.row.kind,
                      "" if before is None else f"{before.usd:g} ({before.as_of})",
                      f"{change.row.usd:g} ({change.row.as_of})",
                      f"{change.relative or 0.0:+.1%}")  # fmt: skip
    if len(moved) > SHOWN:
        table.caption = f"{len(moved) - SHOWN} more in the book"
    return table
