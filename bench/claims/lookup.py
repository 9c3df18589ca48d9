"""Things published elsewhere (prices, licences, sizes, ranks) against dated, cited references."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from bench.claims.arithmetic import LATER, price_row
from bench.claims.quantity import parse_unit, quantity
from bench.claims.sources import Sources
from bench.claims.spec import Claim, Item, Lookup, Reference, Rent
from bench.claims.verdict import Check, agrees, from_interval, number, say, worst
from bench.money.prices.book import RENT_KINDS, select
from bench.money.prices.shipped import shipped as shipped_prices
from bench.sizing.architecture import from_config
from bench.trend.document import frontier_document, rating_document
from bench.trend.frontier import frontier
from bench.trend.rating import rating_trend
from bench.trend.snapshots import shipped
from bench.values.errors import InputError, nearest

_COUNTED = ("total_params", "active_params")


def check_lookup(claim: Claim, says: Lookup, sources: Sources) -> Check:
    """Every item against its references: refuted if all of them contradict one item."""
    outcomes: list[bool | None] = []
    lines: list[str] = []
    figures: dict[str, float | None] = {}
    for item in says.items:
        if item.trend:
            outcome, more, trend = check_trend(claim, item)
            outcomes.append(outcome)
            lines += more
            figures.update(trend)
            continue
        found = references(claim, item, sources)
        outcome = _agrees(item, found)
        outcomes.append(outcome)
        lines += _lines(item, found, outcome)
        if item.stated is not None:
            figures[f"{item.what}, stated"] = item.stated.value
            for number_, reference in enumerate(r for r in found if r.value is not None):
                key = f"{item.what}, found" + (f" {number_ + 1}" if number_ else "")
                figures[key] = reference.value
    if says.rent is not None:
        outcome, more, rents = check_rent(claim, says.rent, sources)
        outcomes.append(outcome)
        lines += more
        figures.update(rents)
    return Check(kind="lookup", verdict=worst(outcomes), evidence=tuple(lines), figures=figures)


@cache
def _trends() -> Mapping[str, Any]:
    """The shipped data's trends, as `bench trend --json` gives them."""
    ratings = shipped()
    return {
        "rating": rating_document(rating_trend(ratings)),
        "frontier": frontier_document(frontier(ratings, shipped_prices("apis"))),
    }


def check_trend(claim: Claim, item: Item) -> tuple[bool | None, list[str], dict[str, float | None]]:
    """A stated number against the 95 % interval of a trend: outside refutes, a narrow one around it
    confirms, and one that is too wide says nothing."""
    found: Any = _trends()
    for key in item.trend:
        if not isinstance(found, Mapping) or key not in found:
            hint = nearest(key, found if isinstance(found, Mapping) else ())
            raise InputError(f"{claim.name}: {item.what}: trend: {key!r} is no figure.{hint}")
        found = found[key]
    stated = item.stated
    if stated is None or not isinstance(found, Mapping) or found.get("value") is None:
        return None, [f"{item.what}: the data give no such figure"], {}
    value: float = found["value"]
    low, high = found.get("low"), found.get("high")
    command = f"bench trend {item.trend[0]}: {' '.join(item.trend[1:])}"
    said = f"{item.what}: stated {say(stated)}, the data say {number(value)}"
    if low is None or high is None:
        outcome = agrees(stated, value)
        words = f"{said} ({command})"
    else:
        verdict = from_interval(stated, low, high)
        outcome = {"confirmed": True, "refuted": False}.get(verdict)
        words = f"{said}, 95 % interval {number(low)} to {number(high)} ({command})"
    word = {True: "agrees", False: "contradicted", None: "the interval does not decide"}[outcome]
    figures: dict[str, float | None] = {
        "stated": stated.value,
        "trend": value,
        "low": low,
        "high": high,
    }
    return outcome, [f"{words}: {word}", *([f"  {item.note}"] if item.note else [])], figures


def references(claim: Claim, item: Item, sources: Sources) -> tuple[Reference, ...]:
    """The item's own references, the catalogue's field and the price book's row."""
    found = list(item.references)
    if item.catalogue:
        found.append(_from_catalogue(claim, item, sources))
    if item.price is not None:
        row, later = price_row(sources.prices, item.price, claim.as_of)
        if row is not None:
            text = f"{row.key} {row.kind}, {row.source}{LATER if later else ''}"
            found.append(Reference(value=row.usd, source=text, as_of=row.as_of))
    return tuple(found)


def _from_catalogue(claim: Claim, item: Item, sources: Sources) -> Reference:
    name, field = item.catalogue
    model = sources.catalogue.models.get(name)
    if model is None:
        hint = nearest(name, sources.catalogue.models)
        raise InputError(f"{claim.name}: {item.what}: there is no model {name!r}.{hint}")
    if field in _COUNTED:
        count = getattr(from_config(model.config), field)
        return Reference(
            value=count / 1e9, source=f"counted from the architecture of {name}", as_of=model.as_of
        )
    value: Any = model
    for part in field.split("."):
        value = getattr(value, part)
    source = (
        f"{name}: {field} ({model.source.split()[0].rstrip(',')})"
        if model.source
        else f"{name}: {field}"
    )
    if isinstance(value, str):
        return Reference(text=value, source=source, as_of=model.as_of)
    return Reference(value=float(value), source=source, as_of=model.as_of)


def _agrees(item: Item, found: tuple[Reference, ...]) -> bool | None:
    """Whether any reference agrees; None when there is none to ask."""
    if not found:
        return None
    if item.stated is not None:
        stated = item.stated
        return any(r.value is not None and agrees(stated, r.value) for r in found)
    return any(r.text is not None and _plain(r.text) == _plain(item.text or "") for r in found)


def _plain(text: str) -> str:
    """A name without case, punctuation and the word licence: `Apache 2.0` is `Apache-2.0`."""
    words = "".join(c if c.isalnum() else " " for c in text.casefold()).split()
    return "".join(w for w in words if w not in ("licence", "license"))


def _lines(item: Item, found: tuple[Reference, ...], outcome: bool | None) -> list[str]:
    said = say(item.stated) if item.stated is not None else f"“{item.text}”"
    unit = item.stated.unit if item.stated is not None else ""
    word = {True: "agrees", False: "contradicted", None: "no dated reference at hand"}[outcome]
    if outcome is False:
        word += f", it is {_value(found[0], unit)}"
    lines = [f"{item.what}: stated {said}: {word}"]
    for reference in found:
        lines.append(f"  {_value(reference, unit)} ({reference.source}, {reference.as_of})")
    return [*lines, f"  {item.note}"] if item.note else lines


def _value(reference: Reference, unit: str) -> str:
    return reference.text or f"{number(reference.value or 0.0)} {unit}".rstrip()


def check_rent(
    claim: Claim, rent: Rent, sources: Sources
) -> tuple[bool | None, list[str], dict[str, float | None]]:
    """A range of rents against dated offers of that tier; None when the book has none."""
    parse_unit(rent.stated.unit)
    rows = [r for r in select(sources.prices, claim.as_of).values() if r.model in rent.gpus]
    tier = [r for r in rows if r.kind == f"rent_{rent.tier}"]
    names = ", ".join(rent.gpus)
    lines = [f"{rent.tier.replace('_', '-')} rent of {names}: stated {say(rent.stated)}"]
    figures: dict[str, float | None] = {"offers": float(len(tier))}
    for row in (*tier, *(r for r in rows if r.kind in RENT_KINDS and r not in tier)):
        lines.append(
            f"  {row.model} {row.kind.removeprefix('rent_').replace('_', '-')} {row.usd:.2f} "
            f"USD/GPU/h ({row.source}, {row.as_of})"
        )
    if not tier:
        lines.append(f"  the book has no dated {rent.tier.replace('_', '-')} offer of these GPUs")
        return None, lines, figures
    prices = [quantity(r.usd, "USD/GPU/h").to(parse_unit(rent.stated.unit)) for r in tier]
    figures |= {"lowest": min(prices), "highest": max(prices)}
    lines[0] += f"; offers go from {min(prices):.2f} to {max(prices):.2f}"
    low, high = rent.stated.band
    return min(prices) >= low and max(prices) <= high, lines, figures
