"""What a verb says of itself, and the table of verbs: the files of `bench/cli/verbs/`.

A verb is one file there. The first line of its docstring is its line in `bench --help`, `VERB` its
words, keys and flags, and `call(arguments)` does it and returns the exit code. The table reads
names and first lines as text: nothing is imported until a verb is called or asked for help, and a
verb's file imports what is heavy inside its functions.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.cli.arguments import Arguments

_FOLDER = Path(__file__).parent / "verbs"


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A flag of one verb: what it does in a line, and its value's name where it takes one."""

    name: str
    what: str
    value: str | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verb:
    """How a verb is called. `keys` are the KEY=VALUE that matter, as typed, with a line each."""

    usage: tuple[str, ...]
    more: str = ""
    """Free text of the help, after the usage."""
    keys: tuple[tuple[str, str], ...] = ()
    flags: tuple[Flag, ...] = ()
    words: Literal["none", "runs", "claims", "files", "any"] = "none"
    """What plain words may follow; completion offers stored runs and claims by name."""
    sweeps: bool = False
    """Whether Hydra's own flags (-m, --cfg) mean something here."""

    @property
    def switches(self) -> tuple[str, ...]:
        """Names of the flags without a value."""
        return tuple(f.name for f in self.flags if f.value is None)

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the flags that take a value."""
        return tuple(f.name for f in self.flags if f.value is not None)


def names() -> tuple[str, ...]:
    """Every verb, by its file."""
    return tuple(sorted(p.stem for p in _FOLDER.glob("*.py") if not p.stem.startswith("_")))


def summary(name: str) -> str:
    """What a verb does: the first line of its file, after the colon."""
    with (_FOLDER / f"{name}.py").open(encoding="utf-8") as file:
        first = file.readline()
    return first.strip().strip('"').partition(": ")[2].rstrip(".")


def verb(name: str) -> Verb:
    """A verb's words, keys and flags."""
    found = importlib.import_module(f"bench.cli.verbs.{name}").VERB
    assert isinstance(found, Verb)
    return found


def call(name: str, arguments: Arguments) -> int:
    """Do it; the exit code."""
    do: Callable[[Arguments], int] = importlib.import_module(f"bench.cli.verbs.{name}").call
    return do(arguments)
