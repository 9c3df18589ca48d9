"""Limits, checked on construction: the ValueError names the field, `codec.decode` adds the path."""

from __future__ import annotations


def require(condition: bool, text: str) -> None:
    """ValueError with `text`, which starts with the field's name, unless the condition holds."""
    if not condition:
        raise ValueError(text)


def require_port(port: int | None) -> None:
    """ValueError unless it is a TCP port, or None for a free one."""
    require(
        port is None or 1 <= port <= 65535, "port must be in [1, 65535], or null for a free one"
    )


A_YEAR_S = 31_536_000


def require_wait(seconds: float) -> None:
    """`start_timeout_s` is a time that somebody would wait."""
    require(seconds > 0, "start_timeout_s must be above 0")
    require(seconds <= A_YEAR_S, f"start_timeout_s must be at most {A_YEAR_S:,}")


def require_name(name: str, key: str) -> None:
    """`name` is one, not a text."""
    require(len(name) <= 1000, f"{key} has {len(name):,} characters, at most 1,000 are a name")
