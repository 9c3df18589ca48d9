"""Strict translation between plain data (YAML, JSON) and the frozen values of this package.

`decode` refuses unknown and missing keys and wrong types, naming the offending path and the
nearest valid name; `encode` is its inverse. The same code reads configurations and stored runs.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast

from bench.values.errors import InputError, choices, nearest
from bench.values.number_text import as_number, example, meant, share_meant

T = TypeVar("T")
_MOST = 2**64  # no seed, count, size or clock is beyond; a float of more digits overflows


def decode(kind: type[T], data: object, path: str = "") -> T:
    """Build a `kind` from plain data; InputError names the place below `path` that does not fit.

    Without `path`, places are keys as one types them: `load.concurrency`.
    """
    return cast(T, _decode(kind, data, path))


def encode(value: object) -> Any:
    """Plain dicts, lists and scalars for a value; tuples become lists and paths strings.

    NaN and infinity, which JSON has no word for, become None: not measured.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _at(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _said(path: str, text: str) -> InputError:
    return InputError(f"{path}: {text}" if path else text[:1].upper() + text[1:])


def _decode(kind: Any, data: object, path: str) -> Any:
    if kind is Any:
        return data
    origin = typing.get_origin(kind)
    if origin is Literal:
        words = typing.get_args(kind)
        if data in words:
            return data
        hint = choices(str(data), list(map(str, words)))
        raise InputError(f"{path}: {data!r} is not one of its values.{hint}")
    if origin in (Union, types.UnionType):
        return _decode_union(typing.get_args(kind), data, path)
    if origin is tuple:
        return _decode_tuple(typing.get_args(kind), data, path)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(data, Mapping):
            raise _mismatch(path, "a mapping", data)
        value_kind = typing.get_args(kind)[1]
        return {str(k): _decode(value_kind, v, _at(path, k)) for k, v in data.items()}
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(cast(type, kind), data, path)
    return _decode_scalar(kind, data, path)


def _decode_union(members: Sequence[Any], data: object, path: str) -> Any:
    if data is None and type(None) in members:
        return None
    members = [m for m in members if m is not type(None)]
    values = [m for m in members if dataclasses.is_dataclass(m)]
    if isinstance(data, Mapping) and values:
        member = _by_kind(values, data, path)
        _refuse_other_kinds(member, values, data, path)
        return _decode(member, data, path)
    rest = _joined([m for m in members if m not in values] or values)
    errors: list[InputError] = []
    for member in rest:
        try:
            return _decode(member, data, path)
        except InputError as error:
            errors.append(error)
    raise errors[0]


def _joined(members: Sequence[Any]) -> list[Any]:
    """The same with all literals as one, so that a wrong word is held against every right one."""
    words = [m for m in members if typing.get_origin(m) is Literal]
    if len(words) < 2:
        return list(members)
    every = tuple(word for m in words for word in typing.get_args(m))
    return [Literal[every], *(m for m in members if m not in words)]


def _by_kind(values: Sequence[Any], data: Mapping[Any, Any], path: str) -> Any:
    """The member of a union of dataclasses whose `kind` literal the data names."""
    if len(values) == 1:
        return values[0]
    by_name = {typing.get_args(_hints(v)["kind"])[0]: v for v in values}
    name = data.get("kind")
    if not isinstance(name, str) or name not in by_name:
        hint = nearest(str(name), by_name)
        raise InputError(f"{_at(path, 'kind')}: {name!r} is unknown.{hint}")
    return by_name[name]


def _refuse_other_kinds(
    member: Any, values: Sequence[Any], data: Mapping[Any, Any], path: str
) -> None:
    """InputError for a key that another kind of the union has: it says which."""
    own = {f.name for f in dataclasses.fields(member)}
    for key in data:
        others = [v for v in values if key not in own and key in _hints(v)]
        if others:
            kinds = " or ".join(f"{path}={typing.get_args(_hints(v)['kind'])[0]}" for v in others)
            raise InputError(f"{_at(path, str(key))} belongs to {kinds}, not to {data['kind']!r}.")


def _decode_tuple(args: tuple[Any, ...], data: object, path: str) -> tuple[Any, ...]:
    item = args[0]
    if isinstance(data, (int, float)) and not isinstance(data, bool):
        data = [data]  # `load.concurrency=8` means one load point
    if isinstance(data, str) or not isinstance(data, Sequence):
        raise InputError(
            f"{path}: {_shown(data)} is not a list: write {_list_of(path, item, data)}."
        )
    if args[-1] is not Ellipsis:
        if len(data) != len(args):
            raise _mismatch(path, f"a list of {len(args)}", data)
        return tuple(
            _decode(a, d, f"{path}[{i}]") for i, (a, d) in enumerate(zip(args, data, strict=True))
        )
    return tuple(_decode(item, d, f"{path}[{i}]") for i, d in enumerate(data))


def _list_of(path: str, item: Any, data: object) -> str:
    """A list as it is written: of what was typed, where it is words, else of some numbers."""
    if item in (int, float):
        figures = None
        if isinstance(data, str):
            figures = [meant(path, part, whole=item is int) for part in data.split(",")]
        return f"[{','.join(map(str, figures))}]" if figures and all(figures) else "[1,4,16]"
    known = typing.get_args(item) if typing.get_origin(item) is typing.Literal else ()
    is_word = item is str or data in known
    return f"[{data}]" if is_word and isinstance(data, str) and data else "[…]"


def _decode_dataclass(kind: type, data: object, path: str) -> Any:
    if not isinstance(data, Mapping):
        names = ", ".join(_at(path, f.name) for f in dataclasses.fields(kind) if f.init)
        raise _mismatch(path, f"a group of keys ({names})", data)
    hints = _hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind) if f.init}
    for key in data:
        if key not in fields:
            raise _said(path, f"unknown key {str(key)!r}.{nearest(str(key), fields)}")
    values, missing = {}, list[MissingKeysError]()
    for key, value in data.items():
        try:
            values[key] = _decode_field(fields[key], hints[key], value, _at(path, key))
        except MissingKeysError as error:
            missing.append(error)
    if lacking := [f for f in fields.values() if _is_needed(f) and f.name not in data]:
        missing.insert(
            0, MissingKeysError(path, {f.name: _takes_null(hints[f.name]) for f in lacking})
        )
    if missing:
        raise MissingKeysError.of_all(missing)
    try:
        return kind(**values)
    except ValueError as error:
        raise InputError(f"{_at(path, str(error))}{share_meant(str(error), values)}") from error


class MissingKeysError(InputError):
    """Keys that a group needs and that were not written: all of them, of every group at once."""

    def __init__(self, path: str, names: Mapping[str, bool], text: str = "") -> None:
        said = ", ".join(map(repr, names))
        keys = f"the key {said} is missing." if len(names) == 1 else f"the keys {said} are missing."
        super().__init__(text or str(_said(path, keys)))
        self.names = dict(names)
        """Each with whether null stands for what is not known."""

    @classmethod
    def of_all(cls, errors: Sequence[MissingKeysError]) -> MissingKeysError:
        """Several as one."""
        names = {name: null for error in errors for name, null in error.names.items()}
        *others, last = (str(error) for error in errors)
        return cls("", names, "; ".join([*(text.rstrip(".") for text in others), last]))


def _is_needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _takes_null(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def _decode_field(field: dataclasses.Field[Any], hint: Any, value: object, path: str) -> Any:
    """One value; where a word stands for a number, the error says which number it could be."""
    try:
        return _decode(hint, value, path)
    except _NoNumberError as error:
        whole = "whole number" in str(error)
        raise InputError(
            f"{error} Write {'a whole' if whole else 'a'} number, as "
            f"{example(path, field.default, whole=whole)}."
        ) from None


def _decode_scalar(kind: Any, data: object, path: str) -> Any:
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        try:
            return float(data)
        except OverflowError:
            raise _said(path, "the number is too large.") from None
    if kind is int and isinstance(data, int) and abs(data) > _MOST:
        raise _said(path, "the number is too large.")
    if kind is Path and isinstance(data, str):
        return Path(data)
    if kind is str and isinstance(data, date) and not isinstance(data, datetime):
        return data.isoformat()  # YAML makes a date of 2026-02-17: the text as it was written
    if isinstance(data, kind) and not (kind in (int, float) and isinstance(data, bool)):
        return data
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    raise _mismatch(path, names.get(kind, getattr(kind, "__name__", str(kind))), data)


def _mismatch(path: str, wanted: str, data: object) -> InputError:
    if wanted in _NUMBERS and isinstance(data, str):
        return _no_number(path, wanted, data)
    return InputError(f"{path}: {_shown(data)} is not {wanted}{_remedy(path, wanted, data)}.")


class _NoNumberError(InputError):
    """A text where a number belongs, and nothing says which number was meant."""


_NUMBERS = ("a number", "a whole number")


def _no_number(path: str, wanted: str, text: str) -> InputError:
    """The error that says how the number is written, where what was meant is plain."""
    whole = wanted == "a whole number"
    said, plain = f"{path}: {text!r} is not {wanted}", as_number(text, whole=whole)
    scaled = meant(path, text, whole=whole)
    if plain is not None and (scaled is None or scaled == plain):
        return InputError(f"{said}: write {plain}.")
    return _NoNumberError(f"{said}.") if scaled is None else InputError(f"{said}. Write {scaled}.")


def _shown(data: object) -> str:
    """A value as it would be written in a file, not as Python holds it."""
    if isinstance(data, bool):
        return str(data).lower()
    return str(data) if isinstance(data, date) else repr(data)


def _remedy(path: str, wanted: str, data: object) -> str:
    """How the value is written, where what was meant is plain."""
    if wanted == "a text" and isinstance(data, bool):
        return ' (YAML reads yes, no, on and off so): put the word in quotes, "yes"'
    if path.endswith("as_of") and isinstance(data, (int, float)) and not 1000 <= data <= 9999:
        return """: write a date, '"2026-11"'"""
    if wanted == "a text" and isinstance(data, (int, float)):
        return f""": quote it, '"{data}"'"""
    if isinstance(data, datetime):
        return f": write the date alone, {data.date()}"
    if (
        wanted == "a whole number"
        and isinstance(data, float)
        and data.is_integer()
        and abs(data) < 1e15
    ):
        return f": write {int(data)}"
    return ""
