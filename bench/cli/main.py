"""The command line: `bench [VERB] …`, its help and its exit codes.

`--help` answers without importing Hydra. Exit codes: 0 done, 1 failed at run time, 2 bad input,
130 interrupted, 75 by SIGUSR1; `bench compare` has its own for its gate.
"""

from __future__ import annotations

import errno
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from bench import __version__
from bench.cli.arguments import find_verb, parse
from bench.cli.conflicts import refuse_hydra_keys
from bench.cli.help import of_verb, overview
from bench.cli.interrupts import catch_signals, interrupt_in, taken
from bench.cli.keys import RESULTS_DIR
from bench.cli.meant import word_meant
from bench.cli.streams import give_up_stdout, interrupted_code, shown_error, steady_streams
from bench.cli.team import address_in, at_address
from bench.cli.verb import call, names, verb
from bench.values.errors import BenchError, InputError

_ALLOCATIONS = 50_000
"""Between two looks for garbage: at Python's 700 a tenth of a start goes into looking."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of `bench`."""
    gc.set_threshold(_ALLOCATIONS)
    catch_signals()
    steady_streams()
    try:
        code = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 -- raised again if it is a bug
        code = _ended(error)
    sys.exit(code)


def _ended(error: BaseException) -> int:
    """Say in one line what ended the command; its exit code. What is no known end is raised."""
    interrupt = interrupt_in(error)
    if interrupt is not None:
        taken()
        print(f"bench: {_interrupted(interrupt)}", file=sys.stderr)
        return interrupted_code(interrupt)
    if isinstance(error, BenchError):
        print(f"bench: {shown_error(error)}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        give_up_stdout()
        return 1
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        give_up_stdout()
        print("bench: standard output is full; what was measured is kept.", file=sys.stderr)
        return 1
    if isinstance(error, MemoryError) or "failed to map segment" in str(error):
        said = f" ({shown_error(error)})" if str(error) else ""
        print(f"bench: out of memory{said}: see ulimit -v, or free some.", file=sys.stderr)
        return 1
    raise error


def _interrupted(error: KeyboardInterrupt) -> str:
    """By whom, and what is kept where, as far as the run has said so (`bench.run`)."""
    by, *kept = error.args or ("SIGINT",)
    return " ".join((f"interrupted ({by}).", *kept))


def _has_folder() -> bool:
    """Whether the working folder still exists: relative paths lead nowhere without it."""
    try:
        return Path.cwd().exists()
    except FileNotFoundError:
        return False


def _dispatch(words: list[str]) -> int:
    named, rest = find_verb(words, names())
    flags = rest[: rest.index("--")] if "--" in rest else rest
    if "--version" in flags:
        print(f"bench {__version__}")
        return 0
    if "-h" in flags or "--help" in flags:
        print(overview() if named is None else of_verb(named))
        return 0
    if not _has_folder():
        raise InputError("the folder that this was started in is gone: change to another one (cd).")
    name = named or "run"
    of = verb(name)
    arguments = parse(rest, of.switches, of.options)
    if arguments.words and of.words == "none":
        word = arguments.words[0]
        if word == named:
            raise InputError(f"the verb {word!r} is typed twice.")
        if word in names():
            raise InputError(f"{word!r} and {name!r} are two verbs: type one at a time.")
        keys = [key for key, _ in of.keys]
        if keys == [RESULTS_DIR[0]]:
            raise InputError(f"bench {name} takes {keys[0]}, not {word!r}.")
        raise InputError(f"bench {name} takes KEY=VALUE, not {word!r}.{word_meant(word)}")
    if arguments.hydra_flags and not of.sweeps:
        flag = arguments.hydra_flags[0]
        raise InputError(f"{flag} belongs to bench run: bench {name} has no sweep.")
    refuse_hydra_keys(arguments)
    address = address_in(arguments)
    if address is None or name == "runs":
        return call(name, arguments)
    return at_address(name, address, arguments, lambda local: call(name, local))
