"""OpenRouter's list of models (openrouter.ai/api/v1/models): prices per token, as texts.

A price of -1 depends on the model that a router picks; 0 is a free variant with limits of its own:
neither is a price. What answers with more than text is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.values.factors import TOKENS_PER_MTOK

KINDS = {
    "prompt": "input",
    "completion": "output",
    "input_cache_read": "cached_input",
    "input_cache_write": "cache_write",
}


def is_openrouter(table: object) -> bool:
    """Whether a JSON document is that list."""
    entries = table.get("data") if isinstance(table, Mapping) else None
    return isinstance(entries, list) and any(
        isinstance(e, Mapping) and isinstance(e.get("pricing"), Mapping) for e in entries
    )


def openrouter(
    table: Mapping[str, Any], as_of: str, left_out: dict[str, int]
) -> Iterator[dict[str, Any] | None]:
    """Fields of the book's rows; None for an entry without a usable price."""
    for entry in table["data"]:
        if not isinstance(entry, Mapping) or not entry.get("id"):
            yield None
            continue
        about = entry.get("architecture")
        gives = about.get("output_modalities") if isinstance(about, Mapping) else None
        if isinstance(gives, list) and gives != ["text"]:
            reason = f"answers in {', '.join(map(str, gives))[:40]}"
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        found = list(_prices(entry.get("pricing")))
        if not found:
            yield None
        for kind, usd in found:
            yield {
                "provider": "openrouter",
                "model": str(entry["id"]),
                "kind": kind,
                "usd": usd,
                "as_of": as_of,
            }


def _prices(pricing: object) -> Iterator[tuple[str, float]]:
    for word, kind in KINDS.items():
        value = pricing.get(word) if isinstance(pricing, Mapping) else None
        try:
            usd = round(float(value) * TOKENS_PER_MTOK, 9) if value is not None else 0.0
        except (TypeError, ValueError, OverflowError):
            continue
        if 1e-4 <= usd <= 1e4:
            yield kind, usd
