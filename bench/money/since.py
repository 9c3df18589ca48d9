"""What changed since an earlier answer: the same question then and now, price by price.

Prices that the answer rests on are put in one after another, in the order of their dates, and each
is held to what it moves. The steps add up to the whole difference; with another order each could
move another share of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.money.answer import TcoAnswer, priced
from bench.money.prices.book import Key, PriceRow, select
from bench.values.figure import first_day

Ask = Callable[[tuple[PriceRow, ...], str | None], TcoAnswer]
"""The question's answer with these rows of the price book, as it stood on a date (None: now)."""
NOT_YET = "9998"
BEFORE_THAT = "9997"
"""The date of prices that are known but not put in yet, and the one that leaves those out."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """One figure of the answer before and after; None where there is none."""

    name: str
    before: float | None
    after: float | None


@dataclass(frozen=True, kw_only=True)
class Change:
    """Prices that are put in at once, and the figures that they moved: one that is another now, or
    all of an API that had none."""

    rows: tuple[PriceRow, ...]
    before: tuple[PriceRow | None, ...]
    moved: tuple[Moved, ...]


@dataclass(frozen=True, kw_only=True)
class Since:
    """The difference of two answers: every figure that moved, and what moved it."""

    since: str
    figures: tuple[Moved, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What new prices moved in the answer to a question; `why` where there is no answer."""

    question: str
    moved: tuple[Moved, ...] = ()
    why: str | None = None


def figures_of(answer: TcoAnswer) -> dict[str, float | None]:
    """The figures of an answer that decisions hang on, in USD a month and M tokens a month."""
    found: dict[str, float | None] = {
        "own bill, USD/month": float(answer.bill.total),
        "own cost, USD/Mtok": float(answer.levels.loaded.blended),
    }
    for option in answer.options:
        if option.bill is not None and option.basis != answer.basis:
            found[f"{option.basis} bill, USD/month"] = float(option.bill.total)
    for api in answer.apis:
        found[f"{api.key} bill, USD/month"] = float(api.monthly)
        found[f"{api.key} break-even, Mtok/month"] = api.breakeven.first
    return found


def figures_of_document(stored: Mapping[str, Any]) -> dict[str, float | None]:
    """The same figures of a stored answer (`bench tco --json`); KeyError where it is none."""
    found: dict[str, float | None] = {
        "own bill, USD/month": stored["monthly_usd"],
        "own cost, USD/Mtok": stored["levels"]["loaded"]["usd_per_mtok_blended"],
    }
    for basis, option in stored["options"].items():
        if option.get("monthly_usd") is not None and basis != stored["basis"]:
            found[f"{basis} bill, USD/month"] = option["monthly_usd"]
    for key, api in stored["apis"].items():
        found[f"{key} bill, USD/month"] = api["monthly_usd"]
        found[f"{key} break-even, Mtok/month"] = stored["breakeven_mtok_per_month"][key]
    return found


def moved(
    before: Mapping[str, float | None], after: Mapping[str, float | None]
) -> tuple[Moved, ...]:
    """The figures that differ by more than rounding."""
    names = dict.fromkeys((*before, *after))
    found = (Moved(name=n, before=before.get(n), after=after.get(n)) for n in names)
    return tuple(m for m in found if not _same(m.before, m.after))


def _same(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))


def since(ask: Ask, rows: tuple[PriceRow, ...], then: str) -> Since:
    """The answer of a date beside the one of now, and the prices between them."""
    old, new = ask(rows, then), ask(rows, None)
    held_then, held_now = select(rows, then), select(rows, None)
    used = {(r.provider, r.model, r.kind) for a in (old, new) for r in _used(a)}
    changed = [
        (key, row)
        for key, row in held_now.items()
        if key in used and (key not in held_then or held_then[key].usd != row.usd)
    ]
    priced_then = {row.key for row in held_then.values()}
    groups: dict[object, list[tuple[Key, PriceRow]]] = {}
    for key, row in sorted(changed, key=lambda pair: first_day(pair[1].as_of)):
        groups.setdefault(key if row.key in priced_then else row.key, []).append((key, row))
    figures, steps, waiting = figures_of(old), [], list(groups.values())
    put_in: list[tuple[Key, PriceRow]] = []
    while waiting:
        group = waiting.pop(0)
        put_in += group
        book = _book(held_then, put_in, [pair for g in waiting for pair in g])
        after = figures_of(ask(book, BEFORE_THAT))
        steps.append(
            Change(
                rows=tuple(row for _, row in group),
                before=tuple(held_then.get(key) for key, _ in group),
                moved=moved(figures, after),
            )
        )
        figures = after
    return Since(since=then, figures=moved(figures_of(old), figures_of(new)), changes=tuple(steps))


def _used(answer: TcoAnswer) -> Iterable[PriceRow]:
    return priced(answer.apis, answer.options).values()


def _book(
    held: Mapping[Key, PriceRow],
    put_in: Iterable[tuple[Key, PriceRow]],
    later: Iterable[tuple[Key, PriceRow]],
) -> tuple[PriceRow, ...]:
    """The prices of then, some replaced by those of now; what is new and not put in yet is known,
    but later than any answer, as `prices.as_of` has it."""
    now = dict(held) | dict(put_in)
    unknown = [replace(row, as_of=NOT_YET) for key, row in later if key not in held]
    return (*now.values(), *unknown)
