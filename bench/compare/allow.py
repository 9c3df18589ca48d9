"""What `--allow` can name: a key that runs may differ in, or the beginning of one."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Sequence

from bench.compare.likeness import MACHINE, NOTED
from bench.values.errors import InputError, nearest
from bench.values.spec import RunSpec

_FREE = ("quality", "served", "packages")
"""Groups whose further parts are tasks, conditions or packages: any name may follow."""
_OTHERS = ("speculation", "server", "server.image", "provenance")


def check_allowed(keys: Sequence[str]) -> None:
    """InputError with the nearest key for one that no difference is called."""
    known = (*_keys(), *_FREE, *_OTHERS, *(f"provenance.{key}" for key in (*MACHINE, *NOTED)))
    roots = {".".join(name.split(".")[:2]) for name in known}
    for key in keys:
        head, *rest = key.split(".")
        if key in known or (rest and (head in _FREE or ".".join((head, rest[0])) in roots)):
            continue
        deep = [k for k in known if k.rpartition(".")[2] == key]
        hint = f" Did you mean {deep[0]}?" if len(deep) == 1 else nearest(key, known)
        hint = hint if "Did you mean" in hint else " bench compare names each that differs."
        raise InputError(f"--allow: {key!r} is no key of a run.{hint}")


def _keys() -> Iterator[str]:
    """Every group of a run and every key of a group, as typed."""
    for name, hint in typing.get_type_hints(RunSpec).items():
        yield name
        for kind in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(kind):
                yield from (f"{name}.{f.name}" for f in dataclasses.fields(kind))
