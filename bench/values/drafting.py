"""Speculative decoding as a run was told to do it: what names it, and the words without it."""

from __future__ import annotations

from bench.values.engine_flags import flags_of, without_speculation
from bench.values.errors import InputError
from bench.values.spec import RunSpec, VllmSpec


def name_of(spec: RunSpec) -> str | None:
    """`mtp 2`: what drafts and how many tokens a step; None without speculative decoding."""
    try:
        drafted = flags_of(spec).speculative
    except InputError:  # flags that were forced past the fit
        return None
    if drafted is None:
        return None
    method = drafted.get("method") or str(drafted.get("model") or "draft").rpartition("/")[2]
    tokens = drafted.get("num_speculative_tokens")
    return f"{method} {tokens}" if tokens else str(method)


def other_words(spec: RunSpec) -> list[str] | None:
    """engine.args without what is about drafting; None for an engine without flags."""
    return (
        list(without_speculation(spec.engine.args)) if isinstance(spec.engine, VllmSpec) else None
    )
