"""A command line taken apart, before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.values.errors import InputError, nearest

_HYDRA_FLAGS = ("-m", "--multirun", "--cfg", "-c", "--info", "-i")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """A command line taken apart: Hydra overrides, plain words, and this program's own flags."""

    overrides: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    hydra_flags: tuple[str, ...] = ()
    config_dirs: tuple[str, ...] = ()
    as_json: bool = False
    flags: frozenset[str] = frozenset()
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def typed_keys(self) -> frozenset[str]:
        """The keys of the overrides that were typed."""
        return frozenset(o.partition("=")[0].lstrip("+") for o in self.overrides)

    def option(self, name: str) -> str | None:
        """The last value given for an option; None when it was not given."""
        values = self.options.get(name)
        return values[-1] if values else None


def parse(
    rest: list[str], own_flags: Sequence[str] = (), own_options: Sequence[str] = ()
) -> Arguments:
    """The words after the verb, apart; InputError for a flag that neither it nor Hydra has."""
    overrides: list[str] = []
    plain: list[str] = []
    hydra: list[str] = []
    dirs: list[str] = []
    as_json = False
    own: set[str] = set()
    valued: dict[str, tuple[str, ...]] = {}
    queue = list(rest)
    while queue:
        word = queue.pop(0)
        if word == "--json":
            as_json = True
        elif word in own_flags:
            own.add(word)
        elif (name := word.partition("=")[0]) in own_options:
            value = word.partition("=")[2] or (queue.pop(0) if queue else "")
            if not value:
                raise InputError(f"{name} needs a value.")
            valued[name] = (*valued.get(name, ()), value)
        elif word.startswith(("--config-dir", "-cd")):
            name = word.partition("=")[2] or (queue.pop(0) if queue else "")
            if not Path(name).is_dir():
                raise InputError(f"--config-dir: {name!r} is not a folder.")
            dirs.append(str(Path(name).absolute()))
        elif word in ("--cfg", "-c", "--info", "-i"):
            hydra += [word, queue.pop(0) if queue else "job"]
        elif word in _HYDRA_FLAGS:
            hydra.append(word)
        elif word.startswith("-"):
            flags = (
                "--json",
                "--help",
                "--version",
                "--config-dir",
                *_HYDRA_FLAGS,
                *own_flags,
                *own_options,
            )
            raise InputError(f"{word!r} is no flag of bench.{nearest(word, flags)}")
        else:
            (overrides if "=" in word or word.startswith("~") else plain).append(word)
    return Arguments(
        overrides=tuple(overrides),
        words=tuple(plain),
        hydra_flags=tuple(hydra),
        config_dirs=tuple(dirs),
        as_json=as_json,
        flags=frozenset(own),
        options=valued,
    )


def number(arguments: Arguments, name: str) -> float | None:
    """The value of an option that is a number; None when it was not given."""
    value = arguments.option(name)
    try:
        return None if value is None else float(value)
    except ValueError as error:
        raise InputError(f"{name}: {value!r} is not a number.") from error
