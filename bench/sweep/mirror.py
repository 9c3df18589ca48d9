"""The mirror of an address on this machine: what was measured for it, and what was fetched."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bench.sweep.remote import Address
from bench.values.address import is_address
from bench.values.errors import InputError, nearest


def mirror_of(address: str) -> Path:
    """Where an address is mirrored on this machine: below BENCH_MIRRORS, else the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bench" / "stores"
    root = Path(os.environ.get("BENCH_MIRRORS") or cache)
    name = re.sub(r"[^\w.-]+", "-", address).strip("-")[:60]
    return root / f"{name}-{hashlib.sha256(address.rstrip('/').encode()).hexdigest()[:8]}"


def mirrored(results_dir: str, name: str | None = None) -> tuple[str, str | None]:
    """For programs: the folder that stands for `results_dir` here, with one run fetched (its name
    comes back) or all of them."""
    if not is_address(results_dir):
        return results_dir, name
    there, mirror = Address(results_dir), mirror_of(results_dir)
    mirror.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = there.names()
    wanted = known if name is None else [named(name, known, mirror, strict=True)]
    for run in (n for n in wanted if n is not None):
        fetch(there, mirror, run)
    return str(mirror), name if name is None else wanted[0] or name


def named(word: str, known: Sequence[str], mirror: Path, *, strict: bool) -> str | None:
    """The run there that a word means; None for a file or a run of this machine."""
    if Path(word, "run.json").exists() or Path(word).is_file():
        return None
    if word == "latest":
        here = [f"{p.parent.parent.name}/{p.parent.name}" for p in mirror.glob("*/*/run.json")]
        return max({*known, *here}, key=stamp, default=None)
    matches = [n for n in known if n == word or n.endswith(f"/{word}")]
    if len(matches) == 1:
        return matches[0]
    if (mirror / word / "run.json").exists() or not strict:
        return None
    if matches:
        raise InputError(f"{word!r} names {len(matches)} runs; say <model>/<run>.")
    hint = nearest(word, known) if len(known) <= 1000 else " bench runs lists them."
    raise InputError(f"there is no run {word!r} there.{hint}")


def stamp(name: str) -> str:
    found = re.search(r"\d{8}-\d{6}[\d-]*$", name)
    return found[0] if found else ""


def fetch(there: Address, mirror: Path, name: str) -> None:
    if there.pull(name, mirror):
        note(mirror, name)


def note(mirror: Path, name: str) -> None:
    """Remember that a run of the mirror is there: it is not pushed again."""
    with suppress(OSError):
        (mirror / ".there").mkdir(exist_ok=True)
        (mirror / ".there" / name.replace("/", "@")).touch()
