"""The command line: `bench [VERB] …`, its help and its exit codes.

`--help` answers without importing Hydra. Exit codes: 0 done, 1 failed at run time, 2 bad input,
130 interrupted; `bench compare` has its own for its gate.
"""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from bench import __version__
from bench.cli.arguments import parse
from bench.cli.commands import VERBS
from bench.cli.streams import give_up_stdout, steady_streams
from bench.config.compose import GROUPS, options
from bench.values.errors import BenchError, InputError, nearest
from bench.values.outside import plain
from bench.values.redact import redacted_text

_ERROR_CHARACTERS = 6_000


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of `bench`."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminated)
    steady_streams()
    try:
        code = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except BenchError as error:
        print(f"bench: {redacted_text(plain(str(error), _ERROR_CHARACTERS))}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("bench: interrupted; what was measured is kept.", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        give_up_stdout()
        code = 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        give_up_stdout()
        print("bench: standard output is full; what was measured is kept.", file=sys.stderr)
        code = 1
    sys.exit(code)


def _terminated(*_: object) -> None:
    """SIGTERM and SIGHUP unwind like Ctrl-C, so that engines are taken down."""
    raise KeyboardInterrupt


def _dispatch(words: list[str]) -> int:
    name, rest = _verb(words)
    if "--version" in rest:
        print(f"bench {__version__}")
        return 0
    if "-h" in rest or "--help" in rest:
        print(_help(name if words and words[0] in VERBS else None))
        return 0
    verb = VERBS[name]
    arguments = parse(rest, verb.flags, verb.options)
    if arguments.words and not verb.takes_words:
        word = arguments.words[0]
        raise InputError(f"{word!r} is no KEY=VALUE.{nearest(word, (*VERBS, *GROUPS))}")
    return verb.call(arguments)


def _verb(words: list[str]) -> tuple[str, list[str]]:
    """The verb and what follows it; overrides and flags alone mean `run`."""
    if not words or words[0].startswith("-") or "=" in words[0]:
        return "run", words
    if words[0] not in VERBS:
        raise InputError(f"{words[0]!r} is no verb of bench.{nearest(words[0], VERBS)}")
    return words[0], words[1:]


def _help(verb: str | None) -> str:
    if verb is not None:
        return f"{VERBS[verb].summary}\n\nusage: {VERBS[verb].usage}"
    width = max(map(len, VERBS))
    lines = [
        "bench: a measuring instrument for self-hosted LLM inference.",
        "",
        "usage: bench [VERB] [KEY=VALUE ...] [--json]",
        "       bench model=tiny                       launch vLLM, load it, print what it does",
        "       bench model=deepseek-r1 gpus=8 quant=awq",
        "       bench -m engine=vllm,truth seed=1,2    a sweep, as in Hydra",
        "",
        "verbs (the default is run; bench VERB --help says more):",
        *(f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()),
        "",
        "choices (bench KEY=?? for a wrong name lists the valid ones):",
        *(f"  {group:<10}{', '.join(options(group))}" for group in GROUPS),
        "",
        "flags: --json (one JSON document on stdout), --config-dir DIR (your own groups),",
        "       --cfg job (print the composed configuration), --version",
    ]
    return "\n".join(lines)
