"""What a word was probably meant to be: the KEY=VALUE that a plain word or a flag stands for."""

from __future__ import annotations

from collections.abc import Sequence

from bench.config.compose import GROUPS, options
from bench.values.errors import InputError, nearest

_KEYS = (
    *GROUPS,
    "gpus",
    "seed",
    "results_dir",
    "checkpoints_dir",
    "tco",
    "prices",
    "power",
    "force",
)
"""Keys that people type as words or as flags; any with a dot counts, too."""

_SPEEDS = ("tok/s", "tokens/s", "tps", "ttft", "tpot", "itl", "throughput", "latency")

_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_SHOWN = {"--cfg": ("job", "hydra", "all"), "-c": ("job", "hydra", "all")}


def word_meant(word: str, others: Sequence[str] = ()) -> str:
    """A clause for a plain word that is none of `others`: the key, or the choice, it names."""
    if word in _KEYS:
        return f" Keys are typed with their value: {word}={_example(word)}."
    if word.lower() == "help":
        return " It is a flag: bench --help, bench VERB --help."
    if word.lower() in _SPEEDS:
        return " What is measured is always printed: bench measures, bench runs lists stored runs."
    for group in GROUPS:
        if word not in ("auto", "none") and word in options(group):
            return f" Did you mean {group}={word}?"
    return nearest(word, others or GROUPS)


def flag_meant(flag: str, following: Sequence[str]) -> str:
    """A clause for a flag that is a key with dashes before it; empty when it is none."""
    key, _, value = flag.lstrip("-").replace("-", "_").partition("=")
    if key not in _KEYS and "." not in key:
        return ""
    value = value or next((w for w in following if not w.startswith("-")), "") or _example(key)
    return f" Keys have no dashes: {key}={value}."


def check_closed(words: Sequence[str], at: int) -> None:
    """InputError where a word is the rest of a list that a blank broke, `a=[1 4]`."""
    for i, word in enumerate(words[:at]):
        if "=" in word and word.count("[") > word.count("]"):
            rest = range(i, len(words))
            end = next((j for j in rest if words[j].endswith("]")), len(words) - 1)
            whole = ",".join(w.strip(",") for w in words[i : end + 1])
            raise InputError(f"{word!r} is a list without an end: no blanks in it, as {whole}")


def check_shown(flag: str, what: str) -> None:
    """InputError for a word after Hydra's --cfg or --info that it does not know."""
    valid = _SHOWN.get(flag, _INFO)
    if what not in valid:
        raise InputError(f"{flag} {what}: it shows one of {', '.join(valid)}.")


def _example(key: str) -> str:
    if key == "force":
        return "true"
    return options(key)[-1] if key in GROUPS else "…"
