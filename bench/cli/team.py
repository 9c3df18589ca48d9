"""`results_dir=s3://…`: a mirror of that address on this machine, filled as runs are asked for.

A run is measured into the mirror (a spool) and pushed once it has ended; what cannot be pushed now
is pushed by the next command. Verbs that read get the runs that they name; `bench runs` gets a line
of each without its records. `.index.json` at the address holds these lines; whoever finds some
missing adds them, and it may be deleted at any time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.arguments import Arguments
from bench.values.address import is_address
from bench.values.errors import BenchError, InputError
from bench.values.json_text import json_text

if TYPE_CHECKING:
    from bench.sweep.remote import Address

_KEY = "results_dir="
_FOLDERS_ALONE = {
    "jobs": "a sweep is read from a folder that all its nodes see",
    "submit": "its jobs need a folder that all nodes see; bench sync push copies it afterwards",
    "sync": "it is the folder on this side",
}
_STOPPED = (75, 130)
INDEX = ".index.json"
Row = dict[str, Any]


def address_in(arguments: Arguments) -> str | None:
    """The address among the words; None where results_dir is a folder."""
    chosen = [o.removeprefix(_KEY) for o in arguments.overrides if o.startswith(_KEY)]
    return chosen[-1].strip("'\"") if chosen and is_address(chosen[-1].strip("'\"")) else None


def at_address(
    verb: str, address: str, arguments: Arguments, do: Callable[[Arguments], int]
) -> int:
    """Do a verb on the mirror of `address`, with what it names fetched, and push what it made."""
    from bench.sweep.mirror import mirror_of
    from bench.sweep.remote import Address

    if verb in _FOLDERS_ALONE:
        raise InputError(f"results_dir={address}: bench {verb}: {_FOLDERS_ALONE[verb]}.")
    there, mirror = Address(address), mirror_of(address)
    mirror.mkdir(mode=0o700, parents=True, exist_ok=True)
    words, options = _fetched(verb, there, mirror, arguments)
    others = [o for o in arguments.overrides if not o.startswith(_KEY)]
    local = replace(arguments, overrides=(*others, f"{_KEY}{mirror}"), words=words, options=options)
    try:
        code = do(local)
    except BenchError:
        _push(there, mirror)
        raise
    return code if _push(there, mirror) else code or 1


def _fetched(
    verb: str, there: Address, mirror: Path, arguments: Arguments
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Words and options with the runs that they name fetched; `latest` becomes a name."""
    from bench.cli.verb import verb as of
    from bench.sweep.mirror import fetch, named

    words, options = arguments.words, dict(arguments.options)
    bases = options.get("--baseline", ())
    names_runs = of(verb).words == "runs"
    if verb == "claim":  # a claim looks among all of them for its own conditions
        for name in there.names():
            fetch(there, mirror, name)
    if not (words or bases or names_runs):
        return words, options
    known = there.names()
    asked = words or (("latest",) if names_runs and verb not in ("predict", "tco") else ())
    found = {w: named(w, known, mirror, strict=names_runs) for w in (*asked, *bases)}
    if "latest" in found and found["latest"] is None:
        raise InputError(f"there is no run at {there.text} yet: type bench to make one.")
    for name in {n for n in found.values() if n is not None}:
        fetch(there, mirror, name)
    if bases:
        options["--baseline"] = tuple(found[b] or b for b in bases)
    return tuple(found[w] or w for w in words), options


def _push(there: Address, mirror: Path) -> bool:
    """Push what has ended and is not known to be there; False, with a line, where that failed.

    A run with an id that was stopped on the way goes on in this mirror: it waits for its end.
    """
    from bench.sweep.ends import end_of
    from bench.sweep.mirror import note

    done = True
    for record in sorted(mirror.glob("*/*/run.json")):
        name = f"{record.parent.parent.name}/{record.parent.name}"
        if (mirror / ".there" / name.replace("/", "@")).exists():
            continue
        end = end_of(record.parent)
        if end is not None and end.exit_code in _STOPPED:
            print(f"bench: {name} was stopped: it is kept in {mirror}.", file=sys.stderr)
            continue
        try:
            found = there.push(record.parent)
        except BenchError as error:
            print(f"bench: {name} is not pushed, and kept in {mirror}: {error}", file=sys.stderr)
            return False
        if found == "other":
            print(f"bench: {name}: another run of that name is there, or comes.", file=sys.stderr)
            done = False
        elif found is not None:
            note(mirror, name)
    return done


def rows_at(there: Address, mirror: Path, derived: Callable[[Path], Row], code: str) -> list[Row]:
    """The line of every run at an address, oldest first; those that nobody keeps are made here.

    `code` is the digest of what derives: a line that other code made is made anew from the run.
    """
    from bench.sweep.mirror import fetch, stamp

    names = sorted(there.names(), key=stamp)
    known = _index(there, code)
    rows = {n: known[n] for n in names if n in known}
    missing = [n for n in names if n not in rows]
    for part, content in there.read([f"{n}/summary.json" for n in missing]).items():
        with suppress(ValueError, KeyError, TypeError):
            kept = json.loads(content)
            if kept["by"] == code and isinstance(kept["row"], dict):
                rows[part.removesuffix("/summary.json")] = kept["row"]
    for name in (n for n in missing if n not in rows):
        fetch(there, mirror, name)
        if (mirror / name / "run.json").is_file():  # else it is still being pushed
            rows[name] = derived(mirror / name)
    if rows.keys() != known.keys():
        with suppress(BenchError):  # one that may only read goes without
            there.write(INDEX, json_text({"of": code, "rows": rows}).encode())
    return [{**rows[n], "run": n} for n in names if n in rows]


def _index(there: Address, code: str) -> Row:
    found = there.read([INDEX]).get(INDEX)
    with suppress(ValueError, KeyError, TypeError):
        kept = json.loads(found or b"")
        return dict(kept["rows"]) if kept["of"] == code else {}
    return {}
