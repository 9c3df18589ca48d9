"""`bench --help` and `bench VERB --help`, made of what the verbs say of themselves."""

from __future__ import annotations

from collections.abc import Iterable

from bench.cli.verb import names, summary, verb
from bench.config.compose import GROUPS, options

_COMMON = (
    ("--json", "one JSON document on stdout"),
    ("--config-dir DIR", "a folder with groups of your own, beside those of bench"),
)


def overview() -> str:
    """What bench is, its verbs and what can be chosen; nothing is imported for it."""
    lines = [
        "bench: a measuring instrument for self-hosted LLM inference.",
        "",
        "usage: bench [VERB] [KEY=VALUE ...] [--json]",
        "       bench model=tiny                       launch vLLM, load it, print what it does",
        "       bench model=deepseek-r1 gpus=8 quant=awq",
        "       bench -m engine=vllm,truth seed=1,2    a sweep, as in Hydra",
        "",
        "verbs (the default is run; bench VERB --help says more):",
        *_table((name, summary(name)) for name in names()),
        "",
        "choices (bench KEY=?? for a wrong name lists the valid ones):",
        *(f"  {group:<10}{', '.join(options(group))}" for group in GROUPS),
        "",
        "flags, before or after the verb:",
        *_table((*_COMMON, ("--cfg job", "print the composed run"), ("--version", ""))),
    ]
    return "\n".join(lines)


def of_verb(name: str) -> str:
    """A verb's summary, usage, keys and flags."""
    of = verb(name)
    flags = [
        (" ".join(filter(None, (f.name, f.value))), _told(f.what, f.choices)) for f in of.flags
    ]
    lines = [summary(name), "", *_usage(of.usage)]
    if of.more:
        lines += ["", of.more]
    if of.keys:
        lines += ["", "keys:", *_table(of.keys)]
    return "\n".join([*lines, "", "flags:", *_table((*flags, *_COMMON))])


def _told(what: str, choices: tuple[str, ...]) -> str:
    return f"{what}: {', '.join(choices)}" if choices else what


def _usage(usage: tuple[str, ...]) -> list[str]:
    return [f"{'usage:' if i == 0 else '      '} {line}" for i, line in enumerate(usage)]


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max(len(left) for left, _ in rows)
    return [f"  {left:<{width}}  {right}".rstrip() for left, right in rows]
