"""Which flags the installed vLLM has, read from its own files: nothing of it is imported.

Its argument parser is built from text and from fields of its classes, and importing it takes ten
seconds. What is found here is more than its flags, never less: a word that is not among it is none.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from bench.values.errors import InputError, nearest

_WRITTEN = re.compile(r"""["'`]--([a-z0-9][\w-]*)""")
_FIELD = re.compile(r"^ {4}([a-z]\w*) *:", re.M)
_WHERE = ("engine", "config", "entrypoints", "platforms", "utils")
_SURE = {"model", "host", "port", "served-model-name", "max-model-len", "dtype"}
"""Flags that every vLLM has: where they are not found, its files have become others."""


_OURS = {
    "port": "engine.port=N",
    "host": "nothing (bench serves on this machine)",
    "served-model-name": "model.name=NAME",
    "seed": "seed=N",
}
"""Flags that bench gives itself, and how each is asked for."""


def check_ours(args: Sequence[str]) -> None:
    """InputError for a flag that bench sets: the server would be looked for elsewhere, or the run
    stored with another value than it had."""
    for word in args:
        name = word.removeprefix("--").partition("=")[0].replace("_", "-")
        if word.startswith("--") and name in _OURS:
            raise InputError(
                f"engine.args: bench sets --{name} itself; leave it out and type {_OURS[name]}."
            )


def check_flags(args: Sequence[str]) -> None:
    """InputError for a word of `engine.args` that is no flag of the installed vLLM."""
    asked = [word for word in args if word.startswith("--") and len(word) > 2]
    known = flags() if asked else frozenset()
    if not known >= _SURE:
        return
    for word in asked:
        name = re.split(r"[=.+]", word[2:], maxsplit=1)[0].replace("_", "-")
        if not any(have.startswith(short) for short in _forms(name) for have in known):
            raise InputError(
                f"engine.args: the installed vLLM has no flag '--{name}'.{_nearest(name, known)}"
            )


def _forms(name: str) -> tuple[str, ...]:
    """A flag, and what `--no-` before one denies; a parser takes any unique beginning."""
    return (name, name.removeprefix("no-")) if len(name) > len("no-") else (name,)


def _nearest(name: str, known: frozenset[str]) -> str:
    """The closest flag, never the list of all of them."""
    said = nearest(name, known)
    return said if "Did you mean" in said else " `vllm serve --help=all` lists them."


@cache
def flags() -> frozenset[str]:
    """Names that vLLM's files hold as flags or as fields of which it makes some; empty without it.

    With hyphens, without the two before them.
    """
    return frozenset(
        name.replace("_", "-")
        for text in _texts()
        for pattern in (_WRITTEN, _FIELD)
        for name in pattern.findall(text)
    )


def _texts() -> Iterator[str]:
    found = importlib.util.find_spec("vllm")
    if found is None or found.origin is None:
        return
    root = Path(found.origin).parent
    for folder in _WHERE:
        for path in sorted((root / folder).rglob("*.py")):
            yield path.read_text("utf-8", "replace")
