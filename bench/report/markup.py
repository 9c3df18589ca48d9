"""Text for rich's console: what comes from outside neither styles a line nor moves the cursor."""

from __future__ import annotations

from rich import markup

from bench.values.outside import plain

_LINE = 20_000


def escape(text: str) -> str:
    """`text` as it reads, for a console that takes markup."""
    return markup.escape(plain(text, _LINE))
