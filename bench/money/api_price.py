"""What an API charges per M tokens of a mix: cache hits, batch share, long context, discount."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.money.prices.book import PriceRow
from bench.values import units as u
from bench.values.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Shares between 0 and 1. `batch_discount` stands in for batch prices the book lacks."""

    w_in: u.FloatArray
    cache_hit_rate: u.FloatArray
    discount: u.FloatArray
    batch_share: u.FloatArray
    long_context_share: u.FloatArray
    batch_discount: u.FloatArray | None = None


@dataclass(frozen=True, kw_only=True)
class Blend:
    """A blended price, the kinds of price that entered it, and what was charged otherwise."""

    price: u.Rate[u.Usd, u.Mtok]
    used: tuple[str, ...]
    caveats: tuple[str, ...]


def api_blend(key: str, rows: Mapping[str, PriceRow], terms: Terms) -> Blend:
    """p = (1-d)*[w_in*((1-eta)*p_in + eta*p_hit) + w_out*p_out], then long context and batch.

    A tier the API has no price for is charged at its plain price, and a caveat says so.
    InputError when the plain input or output price is missing.
    """
    caveats: list[str] = []
    used: list[str] = []

    def price(kind: str, instead: str | None = None) -> u.Rate[u.Usd, u.Mtok]:
        if kind in rows:
            used.append(kind)
            return u.usd_per_mtok(rows[kind].usd)
        if instead is None:
            raise InputError(f"prices: {key} has no {kind!r} price; add a dated row for it.")
        caveats.append(f"{key}: no {kind} price in the book, charged at its {instead} price")
        return price(instead)

    def mix(tier: str) -> u.Rate[u.Usd, u.Mtok]:
        plain = not tier
        fresh = price(f"{tier}input", None if plain else "input")
        out = price(f"{tier}output", None if plain else "output")
        eta = terms.cache_hit_rate
        if np.any(eta > 0) and tier != "batch_":
            instead = f"{tier}input" if f"{tier}input" in rows else "input"
            hit = price(f"{tier}cached_input", instead)
            fresh = fresh * (1 - eta) + hit * eta
            if "cache_write" in rows:
                caveats.append(
                    f"{key}: tokens written to its cache are charged as plain input, "
                    f"its list says {rows['cache_write'].usd:g} $/M"
                )
        return fresh * terms.w_in + out * (1 - terms.w_in)

    total = mix("")
    if np.any(terms.long_context_share > 0):
        share = terms.long_context_share
        total = total * (1 - share) + mix("long_") * share
    if np.any(terms.batch_share > 0):
        share = terms.batch_share
        if "batch_input" not in rows and terms.batch_discount is not None:
            batch = mix("") * (1 - terms.batch_discount)
        else:
            batch = mix("batch_")
        total = total * (1 - share) + batch * share
    return Blend(
        price=total * (1 - terms.discount),
        used=tuple(dict.fromkeys(used)),
        caveats=tuple(dict.fromkeys(caveats)),
    )
