"""Text of any kind inside a KEY=VALUE word, as Hydra's grammar reads it back."""

from __future__ import annotations

import re


def quoted(text: str) -> str:
    """The text in double quotes. A backslash is escaped where a quote follows it, and only there:
    elsewhere Hydra takes two for two."""
    inner = re.sub(r'(\\*)"', lambda found: 2 * found[1] + r"\"", text)
    end = len(inner) - len(inner.rstrip("\\"))
    return f'"{inner}{end * chr(92)}"'
