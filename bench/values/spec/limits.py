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
