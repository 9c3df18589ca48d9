"""simonw/llm-prices (github.com/simonw/llm-prices): prices with the days from and until they hold.

Two shapes: one list of `prices` of all vendors, and a vendor's file with the `price_history` of
its models. Every row becomes what is known: the price on its first day, and on its last day or,
where it still holds, on the day of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

KINDS = {"input": "input", "output": "output", "input_cached": "cached_input"}


def is_llm_prices(table: object) -> bool:
    """Whether a JSON document has one of the two shapes."""
    return isinstance(table, Mapping) and (
        isinstance(table.get("prices"), list)
        or ("vendor" in table and isinstance(table.get("models"), list))
    )


def llm_prices(table: Mapping[str, Any], as_of: str) -> Iterator[dict[str, Any] | None]:
    """Fields of the book's rows; None for an entry without a usable price."""
    read_at = str(table.get("updated_at") or as_of)[:10]
    for entry in _entries(table):
        days = _days(entry, read_at)
        prices = {k: entry.get(word) for word, k in KINDS.items()}
        known = {
            k: float(v) for k, v in prices.items() if isinstance(v, (int, float)) and v > 0
        }  # bool is no price, and 0 is none
        if not known or not days or not entry.get("id"):
            yield None
            continue
        for day in days:
            for kind, usd in known.items():
                yield {
                    "provider": str(entry.get("vendor") or "unknown"),
                    "model": str(entry["id"]),
                    "kind": kind,
                    "usd": usd,
                    "as_of": day,
                }


def _entries(table: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for entry in table.get("prices") or ():
        if isinstance(entry, Mapping):
            yield entry
    for model in table.get("models") or ():
        if isinstance(model, Mapping):
            for price in model.get("price_history") or ():
                yield {"vendor": table.get("vendor"), "id": model.get("id"), **price}


def _days(entry: Mapping[str, Any], read_at: str) -> list[str]:
    """The days on which the entry's price is known to have held, none later than the file."""
    first, end = entry.get("from_date"), entry.get("to_date")
    found = [str(first)] if first else []
    if end and str(end) <= read_at:
        found.append((date.fromisoformat(str(end)) - timedelta(days=1)).isoformat())
    elif not first or str(first) <= read_at:
        found.append(read_at)
    return sorted({d for d in found if d <= read_at})
