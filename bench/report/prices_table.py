"""The price book and what an import changed in it, as tables and as plain data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from typing import Any

from rich.console import Console

from bench.money.prices.book import Decline, Key, PriceRow, decline
from bench.money.prices.tables import Change, Imported
from bench.money.since import Effect
from bench.report.grid import Grid, column, numbers, print_grid
from bench.report.numbers import quantity
from bench.values.codec import encode
from bench.values.count_words import count
from bench.values.figure import age_days

SHOWN = 40
_BILL = " bill, USD/month"


def book_document(
    held: dict[Key, PriceRow], known: Iterable[PriceRow], on: date, stale_days: int
) -> dict[str, Any]:
    """The prices that hold, each with its age and its own decline per year, and the decline of all
    prices that have a history (null without any). A decline is positive where prices fall; a
    `change_per_year` is negative there, as in bench trend."""
    known = tuple(known)
    history: dict[Key, list[PriceRow]] = defaultdict(list)
    for row in known:
        history[row.provider, row.model, row.kind].append(row)
    pooled = decline(known)
    prices = []
    for key, row in sorted(held.items()):
        past, age = decline(history[key]), age_days(row.as_of, on)
        prices.append(
            {
                **encode(row),
                "age_days": age,
                "stale": age > stale_days,
                "decline": None if past is None else encode(past),
                "change_per_year": None if past is None else -past.per_year,
            }
        )
    return {
        "on": on.isoformat(),
        "decline": None if pooled is None else encode(pooled),
        "prices": prices,
    }


def print_book(
    out: Console, held: dict[Key, PriceRow], known: Iterable[PriceRow], on: date, stale_days: int
) -> None:
    """The same in the terminal: how prices moved, then each of them."""
    known = tuple(known)
    pooled = decline(known)
    text = "no price has two dates yet, so no decline can be estimated"
    if pooled is not None:
        text = (
            f"{pooled.series} of them have a history and {_yearly(pooled)} "
            f"({pooled.dates} dated prices)"
        )
    out.print(
        f"{count(len(held), 'price')} as of {on.isoformat()}: {text}", style="bold", highlight=False
    )
    rows = []
    for entry in book_document(held, known, on, stale_days)["prices"]:
        past = entry["decline"]
        rows.append(
            (
                f"{entry['provider']}/{entry['model']}"
                f"{'' if entry['verified'] else ' (unverified)'}",
                entry["kind"],
                f"{entry['usd']:g}",
                entry["as_of"],
                f"{entry['age_days']}{' stale' if entry['stale'] else ''}",
                "" if past is None else _moves(past["per_year"]),
                entry["source"],
            )
        )
    columns = (
        column("provider/model"),
        column("kind"),
        *numbers("$"),
        column("as of"),
        *numbers("age, days"),
        column("a year"),
        column("source", wraps=True),
    )
    print_grid(out, Grid(columns=columns, rows=tuple(rows), keys=2))


def _moves(decline: float) -> str:
    """`falls 12 %`, so that no sign has to be known."""
    if round(abs(decline), 2) == 0:
        return "steady"
    return f"{'falls' if decline > 0 else 'rises'} {100 * abs(decline):.0f} %"


def _yearly(found: Decline) -> str:
    """`fell by 5.0% a year`, or rose; with the interval in the same direction."""
    sign = 1 if found.per_year >= 0 else -1
    interval = ""
    if found.low is not None and found.high is not None:
        low, high = sorted((sign * found.low, sign * found.high))
        interval = f" (95 %: {low:.1%} to {high:.1%})"
    return f"{'fell' if sign > 0 else 'rose'} by {sign * found.per_year:.1%} a year{interval}"


def import_document(
    path: str, book: str, found: Imported, new: tuple[Change, ...], effect: Effect | None = None
) -> dict[str, Any]:
    """What was read, every row that was appended with the price it follows, and what a cost
    question then says (null where none was asked)."""
    return {
        "effect": None if effect is None else encode(effect),
        "file": path,
        "shape": found.shape,
        "read": len(found.rows),
        "skipped": found.skipped,
        "left_out": dict(found.left_out),
        "book": book,
        "appended": [
            {
                **encode(c.row),
                "before": None if c.before is None else encode(c.before),
                "relative": c.relative,
            }
            for c in new
        ],
    }


def print_effect(out: Console, effect: Effect) -> None:
    """What an import changed in the answer of a cost question."""
    name = f"bench tco {effect.question}"
    if effect.why is not None:
        out.print(f"{name}: no answer ({effect.why})", markup=False, highlight=False)
        return
    known = [m for m in effect.moved if m.before is not None]
    if not effect.moved:
        out.print(f"{name}: no figure of the answer moved", markup=False, highlight=False)
    for m in known[:SHOWN]:
        after = "none" if m.after is None else quantity(m.after)
        line = f"{name}: {m.name} {quantity(m.before or 0.0)} → {after}"
        out.print(line, markup=False, highlight=False)
    first = [m for m in effect.moved if m.before is None and m.name.endswith(_BILL)]
    if first:
        first.sort(key=lambda m: m.after or 0.0)
        least = f"{first[0].name.removesuffix(_BILL)} {quantity(first[0].after or 0.0)}"
        line = f"{name}: {len(first)} more to compare with, the least {least} USD a month"
        out.print(line, markup=False, highlight=False)


def print_import(
    out: Console, path: str, book: str, found: Imported, new: tuple[Change, ...]
) -> None:
    """How many prices are new, changed or confirmed, the largest changes first."""
    first = sum(change.before is None for change in new)
    moved = [change for change in new if change.relative]
    out.print(
        f"{first} new, {len(moved)} changed, {len(new) - first - len(moved)} confirmed at a "
        "later date",
        style="bold",
        highlight=False,
    )
    rows = []
    for change in sorted(moved, key=lambda c: -abs(c.relative or 0.0))[:SHOWN]:
        before = change.before
        rows.append(
            (
                change.row.key,
                change.row.kind,
                "" if before is None else f"{before.usd:g} ({before.as_of})",
                f"{change.row.usd:g} ({change.row.as_of})",
                f"{change.relative or 0.0:+.1%}",
            )
        )
    if rows:
        columns = (column("provider/model"), column("kind"), *numbers("before", "now", "change"))
        print_grid(out, Grid(columns=columns, rows=tuple(rows), keys=2))
    if len(moved) > SHOWN:
        out.print(f"{count(len(moved) - SHOWN, 'more change', 'are')} in the book", highlight=False)
    for reason, n in sorted(found.left_out.items(), key=lambda r: -r[1])[:SHOWN]:
        out.print(f"left out {n}: {reason}", markup=False, highlight=False)
    out.print(
        f"{path} ({found.shape}): {count(len(found.rows), 'price')} read, "
        f"{count(found.skipped, 'entry')} without a price skipped, "
        f"{count(len(new), 'row')} appended to {book}.",
        markup=False,
        highlight=False,
    )
