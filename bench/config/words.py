"""KEY=VALUE words as they are typed, before anything is composed of them."""

from __future__ import annotations

from collections.abc import Sequence

from bench.values.errors import InputError


def typed_keys(overrides: Sequence[str]) -> frozenset[str]:
    """The keys of the overrides that were typed."""
    return frozenset(o.partition("=")[0].lstrip("+") for o in overrides)


def check_once(overrides: Sequence[str]) -> None:
    """InputError for a key typed twice with two values: one would be dropped without a word."""
    seen: dict[str, str] = {}
    for override in overrides:
        key = override.partition("=")[0].lstrip("+")
        if seen.get(key, override) != override:
            raise InputError(f"{key} is typed twice, as {seen[key]!r} and {override!r}: keep one.")
        seen[key] = override
