"""From claim files to claims: one claim per file, or several that share who, where and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from bench.claims.spec import Claim
from bench.values.codec import MissingKeysError, decode
from bench.values.errors import InputError, nearest
from bench.values.figure import past_day

MANY = "claims"
FILLED = ("who", "where", "as_of", "quote")
"""Keys that a skeleton leaves null and that every claim has."""


def claims_of(
    stem: str,
    data: object,
    path: str,
    bad: list[InputError] | None = None,
    today: date | None = None,
) -> tuple[Claim, ...]:
    """The claims of one file; InputError names the file and the field that is wrong.

    A file with a key `claims` holds several: each entry takes the other keys unless it has its
    own, and is called stem/key. With `bad`, an entry that is wrong goes there and the others stay.
    With `today`, nothing in it may be of a later day.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{path}: a claim is a group of keys; bench claim --new writes one.")
    if MANY not in data:
        return (_claim(stem, data, path, today),)
    shared = {k: v for k, v in data.items() if k != MANY}
    many = data[MANY]
    if not isinstance(many, Mapping) or not many:
        raise InputError(f"{path}: {MANY}: {many!r} is not a group of named claims.")
    found = []
    for key, own in many.items():
        where = f"{path}: {MANY}.{key}"
        if not isinstance(own, Mapping):
            raise InputError(f"{where}: {own!r} is not a group of keys.")
        try:
            found.append(_claim(f"{stem}/{key}", {**shared, **own}, where, today))
        except InputError as error:
            if bad is None:
                raise
            bad.append(error)
    return tuple(found)


def _claim(name: str, data: Mapping[Any, Any], path: str, today: date | None) -> Claim:
    for key in ("name", "file"):
        if key in data:
            raise InputError(f"{path}: {key}: a claim is called after its file; take this key out.")
    unfilled = [k for k in FILLED if k in data and data[k] is None]
    if unfilled:
        raise InputError(
            f"{path}: fill in {', '.join(unfilled)}: null is for what the source of a number "
            "leaves unsaid, and these are always known."
        )
    try:
        claim = decode(Claim, {**data, "name": name}, path)
    except MissingKeysError as error:
        raise InputError(f"{error}{_what_to_write(error)}") from error
    for where, as_of in _dates(data, path):
        if today is None:
            break
        try:
            past_day(as_of, today)
        except ValueError as error:
            raise InputError(f"{where}.{error}.") from error
    return claim


def _what_to_write(error: MissingKeysError) -> str:
    """The lines to add where a source leaves something unsaid, and where all keys are explained."""
    unsaid = ", ".join(f"{name}: null" for name, null in error.names.items() if null)
    written = f" Where the source does not say: {unsaid}." if unsaid else ""
    return f"{written} bench claim --new NAME writes every key."


def _dates(data: object, path: str) -> Iterator[tuple[str, str]]:
    """Every `as_of` of a claim that was decoded, and where it stands."""
    children = dict(enumerate(data)) if isinstance(data, list) else data
    for key, value in children.items() if isinstance(children, Mapping) else ():
        if key == "as_of" and value is not None:
            yield path, str(value)
        else:
            yield from _dates(
                value, f"{path}[{key}]" if isinstance(data, list) else f"{path}.{key}"
            )


def chosen(names: Sequence[str], claims: Iterable[Claim]) -> tuple[Claim, ...]:
    """The named claims in the order asked for: full names, the part after the slash where it is
    the only one, or a file's name for all it holds."""
    every = tuple(claims)
    found: dict[str, Claim] = {}
    for name in names:
        matches = [c for c in every if c.name == name]
        matches = matches or [c for c in every if c.name.startswith(f"{name}/")]
        short = [c for c in every if c.name.rpartition("/")[2] == name]
        if not matches and len(short) > 1:
            full = ", ".join(c.name for c in short)
            raise InputError(f"claim {name!r} could be any of: {full}.")
        matches = matches or short
        if not matches:
            known = {part for c in every for part in (c.name, *c.name.split("/"))}
            hint = nearest(name, known)
            hint = hint if "Did you mean" in hint else " bench claim --all names them all."
            raise InputError(f"there is no claim {name!r}.{hint}")
        found.update((c.name, c) for c in matches)
    return tuple(found.values())
