"""The errors a user can meet, and the exit code of each.

BenchError              a run-time failure: one line, exit 1
├── InputError          something the user typed or configured: one line, exit 2
├── EngineError         the served engine failed; carries the path of its log
└── StoreError          results could not be written or read
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


class BenchError(Exception):
    """A failure worth one clear line; anything else that escapes is a bug, with its traceback."""

    exit_code = 1


class InputError(BenchError):
    """What was asked for is wrong; the text says what, and what to change."""

    exit_code = 2


class EngineError(BenchError):
    """The engine did not start, died or refused; `code` says how, `log_path` where to look."""

    def __init__(self, text: str, *, code: str, log_path: Path | None = None) -> None:
        super().__init__(text if log_path is None else f"{text} Log: {log_path}")
        self.code = code
        self.log_path = log_path


class StoreError(BenchError):
    """Results could not be written or read; `full` when there was no room for them."""

    def __init__(self, text: str, *, full: bool = False) -> None:
        super().__init__(text)
        self.full = full


def nearest(name: str, valid: Iterable[str]) -> str:
    """A clause naming the closest valid names: " Did you mean 'x'?" or " Valid: a, b.".

    Of names that differ from the one typed in case and marks alone, or that begin or end with it,
    all are meant: " Did you mean 'h100-nvl', 'h100-pcie' or 'h100-sxm'?".
    """
    names = sorted(valid)
    plain = {n.casefold(): n for n in names}
    close = difflib.get_close_matches(name.casefold(), plain, n=1, cutoff=0.6)
    close = [plain[n] for n in close]
    family = _family(name, close[0], names) if close else []
    if meant := _alike(name, names) or family or close:
        return f" Did you mean {_or(meant)}?"
    if len(", ".join(names)) <= _MOST_LISTED:
        return f" Valid: {', '.join(names)}." if names else ""
    first = difflib.get_close_matches(name, names, n=8, cutoff=0.0)
    return f" Valid: {', '.join(first)} and {len(names) - len(first)} more."


_MOST_LISTED = 330
"""Characters of a list of names: more is no line that anyone reads."""
_FEW = 16
_MEANT_BY: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("rent", "rented", "cloud", "lease"), ("on_demand", "reserved", "spot")),
    **dict.fromkeys(("buy", "bought", "owned", "purchase", "on_prem", "onprem"), ("own",)),
    **dict.fromkeys(("exponential", "random"), ("poisson",)),
}
"""What others call a choice that has no letters of the word."""


def choices(name: str, valid: Sequence[str]) -> str:
    """A clause with what was probably meant, and all there is to choose from where that is short:
    " Did you mean 'a'? Valid: a, b."."""
    words = [w for w in _MEANT_BY.get(name.strip().casefold(), ()) if w in valid]
    meant = f" Did you mean {_or(words)}?" if words else nearest(name, valid)
    if "Did you mean" not in meant or len(valid) > _FEW:
        return meant
    return f"{meant} Valid: {', '.join(sorted(valid))}."


def _or(names: Sequence[str]) -> str:
    *others, last = map(repr, names)
    return f"{', '.join(others)}{' or ' if others else ''}{last}"


_MOST_ALIKE = 8


def _alike(name: str, names: list[str]) -> list[str]:
    """The names that are the same but for case and marks, else those that have it as a word of
    theirs, else those that begin with it; none where it says too little, or too many do."""
    typed = _plain(name)
    if same := [n for n in names if _plain(n) == typed]:
        return same
    words = [n for n in names if _has_word(n, name)]
    found = words or [n for n in names if _plain(n).startswith(typed)]
    return found if len(typed) >= 3 and len(found) <= _MOST_ALIKE else []


def _family(name: str, nearest_one: str, names: list[str]) -> list[str]:
    """The names of the same family, h100-… of h100-80gb, where the nearest in letters is of
    another one."""
    head = _parts(name)[0]
    if not re.search(r"\d", head) or _parts(nearest_one)[0] == head:
        return []
    return [n for n in names if _parts(n)[0] == head]


def _parts(name: str) -> list[str]:
    return re.split(r"[^a-z0-9.]+", name.casefold())


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _has_word(name: str, typed: str) -> bool:
    """Whether the parts of `typed` are parts of `name` in a row: 4090 of rtx-4090."""
    parts, wanted = _parts(name), _parts(typed)
    return any(parts[i : i + len(wanted)] == wanted for i in range(len(parts)))
