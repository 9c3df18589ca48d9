"""A command line taken apart, before anything is made of it.

Why no library does this is in docs/log.md: Hydra has the KEY=VALUE words and their grammar, and
what is left are the two dozen flags below and those of the verbs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.cli.meant import check_closed, check_shown, flag_meant, word_meant
from bench.cli.other_words import other_flag
from bench.config.words import check_once, typed_keys
from bench.values.errors import InputError, nearest
from bench.values.number_text import meant

HYDRA_SWITCHES = ("-m", "--multirun")
HYDRA_OPTIONS = ("--cfg", "-c", "--info", "-i")
CONFIG_DIR = ("--config-dir", "-cd")
SWITCHES = ("--json", "--help", "-h", "--version")
COMMON = (*SWITCHES, *CONFIG_DIR, *HYDRA_SWITCHES, *HYDRA_OPTIONS)
"""Flags that are no verb's own."""


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
        return typed_keys(self.overrides)

    def option(self, name: str) -> str | None:
        """The one value given for an option; None when it was not given.

        InputError for two of them: one would be dropped without a word.
        """
        values = tuple(dict.fromkeys(self.options.get(name, ())))
        if len(values) > 1:
            raise InputError(f"{name} is typed twice, as {values[0]} and {values[1]}: keep one.")
        return values[0] if values else None

    def number(self, name: str) -> float | None:
        """The value of an option that is a number; None when it was not given."""
        value = self.option(name)
        try:
            return None if value is None else float(value)
        except ValueError as error:
            plain = meant(name, value or "", whole=False)
            hint = "" if plain is None else f" Write {plain}."
            raise InputError(f"{name}: {value!r} is not a number.{hint}") from error


def find_verb(words: Sequence[str], verbs: Sequence[str]) -> tuple[str | None, list[str]]:
    """The verb, wherever it stands among the flags, and all other words; None when there is none.

    It is the first word that is neither a flag, nor a flag's value, nor KEY=VALUE. After a flag
    that only a verb can know (`--format md runs`) the word is its value, unless it is a verb.
    """
    before = ""
    for i, word in enumerate(words):
        if word == "--":
            break
        plain = not (word.startswith(("-", "~")) or "=" in word)
        if plain and before not in (*CONFIG_DIR, *HYDRA_OPTIONS):
            a_value = before.startswith("-") and "=" not in before and before not in COMMON
            if word in verbs:
                return word, [*words[:i], *words[i + 1 :]]
            if not a_value:
                check_closed(words, i)
                raise InputError(f"{word!r} is no verb of bench.{word_meant(word, verbs)}")
        before = word
    return None, list(words)


def parse(
    rest: Sequence[str], own_switches: Sequence[str] = (), own_options: Sequence[str] = ()
) -> Arguments:
    """The words beside the verb, apart; InputError for a flag that neither it nor Hydra has."""
    overrides: list[str] = []
    plain: list[str] = []
    hydra: list[str] = []
    dirs: list[str] = []
    own: set[str] = set()
    valued: dict[str, tuple[str, ...]] = {}
    queue = list(rest)
    while queue:
        word = queue.pop(0)
        name, _, value = word.partition("=")
        if word in SWITCHES or word in own_switches:
            own.add(word)
        elif name in own_options:
            valued[name] = (*valued.get(name, ()), _value(name, value, queue))
        elif name in CONFIG_DIR:
            dirs.append(_folder(_value(name, value, queue)))
        elif name in HYDRA_OPTIONS:
            shown = value or (queue.pop(0) if queue else "job")
            check_shown(name, shown)
            hydra += [name, shown]
        elif word in HYDRA_SWITCHES:
            hydra.append(word)
        elif word == "--":
            plain += queue
            break
        elif word.startswith("-"):
            flags = (*COMMON, *own_switches, *own_options)
            hint = other_flag(word, queue) or flag_meant(word, queue) or nearest(word, flags)
            raise InputError(f"{word!r} is no flag of bench.{hint}")
        else:
            (overrides if "=" in word or word.startswith("~") else plain).append(word)
    check_once(overrides)
    return Arguments(
        overrides=tuple(overrides),
        words=tuple(plain),
        hydra_flags=tuple(hydra),
        config_dirs=tuple(dirs),
        as_json="--json" in own,
        flags=frozenset(own - set(SWITCHES)),
        options=valued,
    )


def _value(name: str, value: str, queue: list[str]) -> str:
    """An option's value, after `=` or the next word."""
    value = value or (queue.pop(0) if queue else "")
    if not value:
        raise InputError(f"{name} needs a value.")
    return value


def _folder(name: str) -> str:
    if not Path(name).is_dir():
        raise InputError(f"--config-dir: {name!r} is not a folder.")
    return str(Path(name).absolute())
