"""What must never be stored or shown: one redactor, through which every record passes.

A key reaches a run in three ways: as the value of a setting whose name says so (`--api-key KEY`,
`engine.env.HF_TOKEN`), by its shape (`Bearer …`, `sk-…`, `hf_…`), and echoed by a server or a log.
The first two are known by their looks, the third by the values that the environment holds and that
settings of this process gave (`remember`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "«hidden»"

_SETTING = re.compile(
    r"(?:^|[_.-])(?:(?:api|access|secret|private|auth)[_-]?key"
    r"|(?:hf|hub|api|auth|access|bearer|session|refresh|secret)[_-]token"
    r"|secret|password|passwd|authorization|credentials?)$|^-*token$",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$")
"""In capitals, as variables of the environment are: `eos_token` of a tokeniser is no key."""

_SHAPE = re.compile(
    r"(?i:(?<=bearer )[\w.~+/=-]{6,})"
    r"|\b(?:sk|pk|rk)-[\w-]{12,}|\bhf_[A-Za-z0-9]{12,}|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|\bAKIA[0-9A-Z]{16}\b|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
_SHORTEST = 6
"""A shorter value of a variable is no key, and hiding it would garble innocent text."""

_remembered: set[str] = set()
"""Keys that were seen as settings: for the life of the process, as the environment is."""


def remember(settings: Any) -> None:
    """Keep the keys that settings hold (a command line, an environment, plain data): they are
    hidden from now on wherever they are echoed."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            if isinstance(value, str) and names_a_secret(name):
                keep(value)
            else:
                remember(value)
    elif isinstance(settings, (list, tuple)):
        hide = False
        for word in settings:
            if not isinstance(word, str):
                remember(word)
            elif hide and not word.startswith("--"):
                keep(word)
            else:
                name, _, value = word.partition("=")
                if names_a_secret(name.lstrip("-")) and value:
                    keep(value)
            hide = isinstance(word, str) and word.startswith("-") and names_a_secret(word)


def keep(value: str) -> None:
    """Hide one key from now on, line by line: read from a file it may have an end of line."""
    _remembered.update(v for v in map(str.strip, value.split("\n")) if len(v) >= _SHORTEST)


def redacted(value: Any, known: frozenset[str] | None = None) -> Any:
    """Plain data without keys: texts, lists and mappings, names of settings beside their values."""
    known = held() if known is None else known
    if isinstance(value, str):
        return redacted_text(value, known)
    if isinstance(value, Mapping):
        return {
            k: HIDDEN if isinstance(v, str) and v and names_a_secret(k) else redacted(v, known)
            for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return _words(list(value), known)
    return value


def redacted_text(text: str, known: frozenset[str] | None = None) -> str:
    """One text without what is a key by its shape or by the environment."""
    # The longest first: one may be part of another.
    for secret in sorted(held() if known is None else known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _SHAPE.sub(HIDDEN, text)


def names_a_secret(name: object) -> bool:
    """Whether a setting of this name holds a key: `HF_TOKEN`, `--api-key`; not `max_tokens`."""
    return isinstance(name, str) and bool(_SETTING.search(name) or _VARIABLE.search(name))


def held(env: Mapping[str, str] | None = None) -> frozenset[str]:
    """The values of the environment's variables whose names say that they hold a key, line by
    line, and what was remembered."""
    env = os.environ if env is None else env
    values = (v.strip() for k, v in env.items() if names_a_secret(k) for v in v.split("\n"))
    return frozenset(v for v in values if len(v) >= _SHORTEST) | _remembered


def _words(words: list[Any], known: frozenset[str]) -> list[Any]:
    """A list, as a command line may be: what follows `--api-key`, as a word or after `=`."""
    found = []
    hide = False
    for word in words:
        if hide and isinstance(word, str) and not word.startswith("--"):
            found.append(HIDDEN)
        elif isinstance(word, str) and word.startswith("-") and "=" in word:
            name = word.partition("=")[0]
            found.append(f"{name}={HIDDEN}" if names_a_secret(name) else redacted(word, known))
        else:
            found.append(redacted(word, known))
        hide = isinstance(word, str) and word.startswith("-") and names_a_secret(word)
    return found
