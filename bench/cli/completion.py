"""What may follow on the command line: verbs, keys, options of groups, flags, stored runs, claims.

The shell asks with every word typed so far; the answer is whole words, one a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.cli.arguments import COMMON, CONFIG_DIR, find_verb
from bench.cli.verb import Verb, names, verb
from bench.config.compose import conf_dir, options
from bench.values.errors import InputError


def candidates(words: Sequence[str]) -> list[str]:
    """Every word that could stand where the last of `words` (what is typed of it) stands."""
    *before, typed = words or [""]
    dirs = [w for w, flag in zip(before[1:], before, strict=False) if flag in CONFIG_DIR]
    try:
        named, _ = find_verb(before, names())
    except InputError:  # the wrong word is shown once it is called
        return []
    of = verb(named or "run")
    if before and (choices := _values(of, before[-1])) is not None:
        found: Iterable[str] = choices
    elif typed.startswith("-"):
        found = (*COMMON, *of.switches, *of.options)
    elif "=" in typed:
        found = _choices(typed, of, dirs)
    else:
        found = [*_keys(of), *_plain(of, before, dirs)]
        found = [*found, *names()] if named is None else found
    return sorted({word for word in found if word.startswith(typed)})


def _values(of: Verb, flag: str) -> tuple[str, ...] | None:
    """What may follow a flag that takes a value; none known leaves it to the shell (files)."""
    if flag in CONFIG_DIR:
        return ()
    return next((f.choices for f in of.flags if f.name == flag and f.value is not None), None)


def _keys(of: Verb) -> list[str]:
    return [f"{key.partition('=')[0]}=" for key, _ in of.keys]


def _choices(typed: str, of: Verb, dirs: Sequence[str]) -> list[str]:
    """`model=d…`: the options of a group; of several (quant=awq,f…) those of the last.

    A key that is no group has the choices which its line of help names, as force=true|false.
    """
    key, _, value = typed.partition("=")
    first, comma, _ = value.rpartition(",")
    listed = next((k.partition("=")[2] for k, _ in of.keys if k.startswith(f"{key}=")), "")
    known = options(key, dirs) if key.isidentifier() else []
    known = known or (listed.split("|") if "|" in listed else [])
    return [f"{key}={first}{comma}{name}" for name in known]


def _plain(of: Verb, before: Sequence[str], dirs: Sequence[str]) -> list[str]:
    if of.words == "runs":
        asked = [w.partition("=")[2] for w in before if w.startswith("results_dir=")]
        root = Path(asked[-1] if asked else "results").expanduser()
        return [
            "latest",
            *(f"{p.parent.parent.name}/{p.parent.name}" for p in root.glob("*/*/run.json")),
        ]
    if of.words == "claims":
        folders = [conf_dir(), *map(Path, dirs)]
        return [p.stem for folder in folders for p in (folder / "claims").glob("*.yaml")]
    return []
