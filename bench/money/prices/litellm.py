"""LiteLLM's table of models (BerriAI/litellm, model_prices_and_context_window.json): USD per token.

Text for text alone: image, embedding and speech models have prices of other things. Prices of long
prompts stand under names that say from where on, or in `tiered_pricing`, a list by ranges; two
steps are kept with their threshold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bench.money.prices.book import USD_PER_MTOK
from bench.money.prices.offers import price
from bench.values.factors import TOKENS_PER_MTOK

KINDS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input",
    "input_cost_per_token_cache_hit": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "input_cost_per_token_batches": "batch_input",
    "output_cost_per_token_batches": "batch_output",
}
LONG_KINDS = {
    "input_cost_per_token": "long_input",
    "output_cost_per_token": "long_output",
    "cache_read_input_token_cost": "long_cached_input",
}
LONG = re.compile(r"^(?P<base>\w+)_above_(?P<from>\d+k)_tokens$")
KEPT_TIERS = 2
"""A short prompt's price and a long one's: the book has no more."""
TEXT_MODES = ("chat", "completion", "responses")


def is_litellm(table: object) -> bool:
    """Whether the first entries of a JSON object are of this table."""
    entries = list(table.values())[:20] if isinstance(table, Mapping) else []
    names = {"litellm_provider", *KINDS}
    return any(isinstance(e, Mapping) and names & e.keys() for e in entries)


def litellm(
    table: Mapping[str, Any], path: str, as_of: str, left_out: dict[str, int]
) -> Iterator[dict[str, Any] | None]:
    """Fields of the book's rows; None for an entry without a usable price."""
    for name, entry in table.items():
        if name == "sample_spec" or not isinstance(entry, Mapping):
            continue
        mode = entry.get("mode")
        if mode is not None and mode not in TEXT_MODES:
            _count(left_out, f"mode {str(mode)[:40]}, which is not text for text", 1)
            continue
        seller = entry.get("litellm_provider")
        seller = str(seller) if seller else name.split("/")[0] if "/" in name else "unknown"
        source = f"{path}; {entry['source']}" if entry.get("source") else path
        more = len(_tiers(entry)) - KEPT_TIERS
        if more > 0:
            _count(left_out, "price steps by prompt length beyond the second", more)
        found = list(_token_prices(entry))
        if not found:
            yield None
        for kind, usd, above in found:
            yield {
                "provider": seller,
                "model": name.removeprefix(f"{seller}/"),
                "kind": kind,
                "usd": usd,
                "as_of": as_of,
                "source": source + above,
            }


def _count(left_out: dict[str, int], reason: str, many: int) -> None:
    left_out[reason] = left_out.get(reason, 0) + many


def _token_prices(entry: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    """Kinds, $/M tokens and, for a long prompt's, from where on; the file has $/token."""
    seen: set[str] = set()
    for name, value, above in _named(entry):
        kind = LONG_KINDS.get(name) if above else KINDS.get(name)
        found = price(value)
        if kind is None or found is None or kind in seen:
            continue
        usd = round(found * TOKENS_PER_MTOK, 9)
        if USD_PER_MTOK[0] <= usd <= USD_PER_MTOK[1]:
            seen.add(kind)
            yield kind, usd, f"; above {above} tokens" if above else ""


def _named(entry: Mapping[str, Any]) -> Iterator[tuple[str, object, str]]:
    """Names of prices, what they are, and from which prompt on ("" from the first token)."""
    for name, value in entry.items():
        long = LONG.match(name)
        yield (long["base"], value, long["from"]) if long else (name, value, "")
    for place, tier in enumerate(_tiers(entry)[:KEPT_TIERS]):
        above = f"{tier['range'][0] / 1000:g}k" if place else ""
        yield from ((name, value, above) for name, value in tier.items() if name != "range")


def _tiers(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Prices by prompt length, the shortest first; none where they are not as LiteLLM has them."""
    tiers = entry.get("tiered_pricing")
    found = [t for t in tiers if isinstance(t, Mapping)] if isinstance(tiers, list) else []
    known = [t for t in found if isinstance(t.get("range"), list) and _start(t) is not None]
    return sorted(known, key=lambda t: _start(t) or 0.0)


def _start(tier: Mapping[str, Any]) -> float | None:
    start = tier["range"][0] if tier["range"] else None
    return float(start) if isinstance(start, (int, float)) else None
