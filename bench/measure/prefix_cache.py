"""Share of the prompt tokens that an engine took from its prefix cache, in this place alone."""

from __future__ import annotations

from collections.abc import Sequence

from bench.values.record import PointData


def cached_share(repeats: Sequence[PointData]) -> float | None:
    """Prompt tokens that were not computed ÷ prompt tokens looked up, over the repeats that say so.

    By the engine's own counters; where it publishes none, by the usage of the answers. None where
    neither says.
    """
    pairs = [(_hits(d), d.counted("prefix_cache_queries_total")) for d in repeats]
    known = [(hits, asked) for hits, asked in pairs if hits is not None and asked]
    hits, asked = sum(h for h, _ in known), sum(a for _, a in known)
    if asked <= 0:
        hits, asked = _told(repeats)
    return min(1.0, hits / asked) if asked > 0 else None


def _hits(data: PointData) -> float | None:
    """Tokens found in the engine's own cache, or where it offloads it to (host memory, another
    machine), which is counted apart."""
    own = data.counted("prefix_cache_hits_total")
    elsewhere = data.counted("external_prefix_cache_hits_total")
    return None if own is None else own + (elsewhere or 0.0)


def _told(repeats: Sequence[PointData]) -> tuple[float, float]:
    """(tokens from the cache, all prompt tokens) by the usage of the answers that name both."""
    cached = prompt = 0
    for d in repeats:
        column = d.column("cached_tokens")
        known = (column >= 0) & (d.requests["usage_prompt_tokens"] > 0)
        cached += int(column[known].sum())
        prompt += int(d.requests["usage_prompt_tokens"][known].sum())
    return float(cached), float(prompt)
