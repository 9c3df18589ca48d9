"""Text of any kind inside a KEY=VALUE word, as Hydra's grammar reads it back."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence


def quoted(text: str) -> str:
    """The text in double quotes. A backslash is escaped where a quote follows it, and only there:
    elsewhere Hydra takes two for two."""
    inner = re.sub(r'(\\*)"', lambda found: 2 * found[1] + r"\"", text)
    end = len(inner) - len(inner.rstrip("\\"))
    return f'"{inner}{end * chr(92)}"'


_PLAIN = re.compile(r"-{0,2}[A-Za-z][\w./:@%+-]*")
_VALUES = ("true", "false", "null", "nan", "inf")


def engine_args(words: Sequence[str]) -> str:
    """`engine.args=[…]` as Hydra reads it; what Hydra would take for something else is quoted, and
    a number after its flag need not be."""
    after_flag = [False, *(w.startswith("-") for w in words)]
    said = [
        w if _is_plain(w) or (flag and w.isdecimal()) else quoted(w)
        for w, flag in zip(words, after_flag, strict=False)
    ]
    return f"engine.args=[{','.join(said)}]"


def override(key: str, text: str) -> str:
    """`KEY=TEXT`, its text quoted where Hydra would take it for something else."""
    return f"{key}={as_text(text)}"


def as_text(text: str) -> str:
    """The text, quoted where Hydra would take it for something else."""
    return text if _is_plain(text) else quoted(text)


def pasted(word: str) -> str:
    """A KEY=VALUE as a shell takes it, in quotes where it holds some itself or braces, of which a
    shell would make several words."""
    return shlex.quote(word) if '"' in word or "{" in word else word


def _is_plain(word: str) -> bool:
    return bool(_PLAIN.fullmatch(word)) and word.lower() not in _VALUES
