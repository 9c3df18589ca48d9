"""Stored runs at another address: any that fsspec knows, `s3://…`, `gs://…`, `sftp://…`, a folder.

A run is measured onto this machine's disk, never onto a network's, and copied when it has ended.
run.json goes last, so that a run is there whole or not at all; one that is there is never changed.
Any number of machines may push to one address and pull from it at once: whoever pushes a run marks
its folder first, and one that sees another's mark leaves it alone.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.store import list_runs
from bench.values.errors import BenchError, InputError, nearest

_MARK = ".pushed-by-"
_NOT_COPIED = ("claim.json", "ending.json", "run.json")


@dataclass(frozen=True, kw_only=True)
class Copied:
    """What a push or a pull did, by names of runs; `other` are there with another run.json, or are
    being pushed by somebody else."""

    copied: tuple[str, ...]
    there: tuple[str, ...]
    other: tuple[str, ...]
    running: tuple[str, ...] = ()


def push(results_dir: str, address: str) -> Copied:
    """Copy every run that has ended to `address`. BenchError when that cannot be done."""
    files, root = _at(address)
    found_of: dict[str, list[str]] = {"copied": [], "there": [], "other": []}
    running: list[str] = []
    for folder in list_runs(results_dir):
        name = f"{folder.parent.name}/{folder.name}"
        record = (folder / "run.json").read_bytes()
        if not _has_ended(record):
            running.append(name)
            continue
        with _saying(address):
            found = _there(files, f"{root}/{name}", record) or _put(
                files, folder, f"{root}/{name}", record
            )
        found_of[found].append(name)
    return Copied(
        copied=tuple(found_of["copied"]),
        there=tuple(found_of["there"]),
        other=tuple(found_of["other"]),
        running=tuple(running),
    )


def _there(files: Any, target: str, record: bytes) -> str | None:
    """Whether a run is there, or another one of its name; None when neither is."""
    if not files.exists(f"{target}/run.json"):
        return None
    return "there" if files.cat_file(f"{target}/run.json") == record else "other"


def _put(files: Any, folder: Path, target: str, record: bytes) -> str:
    """Copy one run, run.json last, unless somebody else is about it."""
    files.makedirs(target, exist_ok=True)
    mark = f"{target}/{_MARK}{uuid.uuid4().hex}"
    files.pipe_file(mark, b"")
    try:
        files.invalidate_cache()
        marks = [p for p in map(str, files.ls(target, detail=False)) if f"/{_MARK}" in p]
        if len(marks) > 1:
            return "other"  # each of two may see the other: neither writes, and nothing is mixed
        found = _there(files, target, record)
        if found is not None:
            return found
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            part = path.relative_to(folder).as_posix()
            if part not in _NOT_COPIED and not any(".part" in x for x in Path(part).parts):
                files.makedirs(f"{target}/{part}".rpartition("/")[0], exist_ok=True)
                files.put_file(str(path), f"{target}/{part}")
        files.pipe_file(f"{target}/run.json", record)
    finally:
        files.rm_file(mark)
    return "copied"


def pull(results_dir: str, address: str) -> Copied:
    """Copy every run at `address` that is not here. BenchError when that cannot be done."""
    files, root = _at(address)
    here = Path(results_dir).expanduser().absolute()
    copied: list[str] = []
    there: list[str] = []
    other: list[str] = []
    with _saying(address):
        records = sorted(files.glob(f"{root}/*/*/run.json"))
    for record in records:
        source = str(record).removesuffix("/run.json")
        name = "/".join(source.split("/")[-2:])
        folder = here / name
        if folder.exists():
            mine = folder / "run.json"
            with _saying(address):
                same = mine.is_file() and mine.read_bytes() == files.cat_file(record)
            (there if same else other).append(name)
            continue
        part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        try:
            with _saying(address):
                for path in (p for p in files.find(source) if _MARK not in str(p)):
                    target = part / str(path).removeprefix(f"{source}/")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    files.get_file(path, str(target))
            part.chmod(0o700)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        copied.append(name)
    return Copied(copied=tuple(copied), there=tuple(there), other=tuple(other))


def _at(address: str) -> tuple[Any, str]:
    """The file system of an address and the path in it."""
    try:
        import fsspec
    except ImportError as error:
        raise InputError(
            "other addresses need fsspec: pip install 'selfhost-bench[remote]', and s3fs or gcsfs "
            "for s3:// or gs://."
        ) from error
    scheme = address.partition("://")[0] if "://" in address else "file"
    if scheme not in fsspec.available_protocols():
        known = fsspec.available_protocols()
        raise InputError(f"{address!r}: fsspec knows no {scheme}://.{nearest(scheme, known)}")
    try:
        with _saying(address):
            files, root = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise InputError(f"{address}: {error}") from error
    return files, str(root).rstrip("/")


@contextmanager
def _saying(address: str) -> Iterator[None]:
    """What goes wrong over there, in a line."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise BenchError(
            f"{address}: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error


def _has_ended(record: bytes) -> bool:
    with suppress(ValueError, AttributeError):
        return bool(json.loads(record).get("status") != "running")
    return False
