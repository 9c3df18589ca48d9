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
from collections.abc import Iterator, Mapping, Sequence
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


class Address:
    """A place of stored runs that is no folder of this machine. Raises InputError, BenchError."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.files, self.root = _at(text)

    def names(self) -> list[str]:
        """`<model>/<run>` of every run's folder there, those that are being pushed among them.

        One list of the models and one of each: a store of objects lists a thousand at a time.
        """
        with _saying(self.text):
            models = self._below(self.root)
            found = [run for model in models for run in self._below(f"{self.root}/{model}", model)]
        return sorted(found)

    def _below(self, place: str, prefix: str = "") -> list[str]:
        try:
            self.files.invalidate_cache()
            listed = self.files.ls(place, detail=True)
        except FileNotFoundError:
            return []
        folders = (e["name"].rstrip("/").rpartition("/")[2] for e in listed if _is_folder(e))
        start = f"{prefix}/" if prefix else ""
        return [f"{start}{name}" for name in folders if not name.startswith(".")]

    def read(self, parts: Sequence[str]) -> dict[str, bytes]:
        """The content of those of the files below the address that are there, at once."""
        if not parts:
            return {}
        with _saying(self.text):
            found = self.files.cat([f"{self.root}/{p}" for p in parts], on_error="omit")
        whole = {f"{self.root}/{p}".lstrip("/"): p for p in parts}
        return {whole[str(path).lstrip("/")]: content for path, content in found.items()}

    def write(self, part: str, content: bytes) -> None:
        """A file below the address, whole or not at all where the place can do that."""
        with _saying(self.text):
            self.files.makedirs(self.root, exist_ok=True)
            self.files.pipe_file(f"{self.root}/{part}", content)

    def pull(self, name: str, results_dir: Path) -> bool | None:
        """Copy a run that is not here. True: it was copied; None: the same is here already; False:
        another one of its name is, or the one there is not whole yet."""
        source, folder = f"{self.root}/{name}", results_dir / name
        with _saying(self.text):
            if not self.files.exists(f"{source}/run.json"):
                return False
            if folder.exists():
                mine = folder / "run.json"
                record = self.files.cat_file(f"{source}/run.json")
                return None if mine.is_file() and mine.read_bytes() == record else False
        part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        try:
            with _saying(self.text):
                for path in (p for p in self.files.find(source) if _MARK not in str(p)):
                    target = part / str(path).partition(f"{name}/")[2]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self.files.get_file(path, str(target))
            part.chmod(0o700)
            part.rename(folder)
        except OSError as error:
            if folder.is_dir():  # another reader of this machine was quicker
                return None
            raise BenchError(f"{folder}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return True

    def push(self, folder: Path) -> str | None:
        """Copy one run that has ended: `copied`, `there` or `other`; None for one that runs."""
        record = (folder / "run.json").read_bytes()
        if not _has_ended(record):
            return None
        target = f"{self.root}/{folder.parent.name}/{folder.name}"
        with _saying(self.text):
            return self._there(target, record) or self._put(folder, target, record)

    def _there(self, target: str, record: bytes) -> str | None:
        """Whether a run is there, or another one of its name; None when neither is."""
        if not self.files.exists(f"{target}/run.json"):
            return None
        return "there" if self.files.cat_file(f"{target}/run.json") == record else "other"

    def _put(self, folder: Path, target: str, record: bytes) -> str:
        """Copy one run, run.json last, unless somebody else is about it."""
        files = self.files
        files.makedirs(target, exist_ok=True)
        mark = f"{target}/{_MARK}{uuid.uuid4().hex}"
        files.pipe_file(mark, b"")
        try:
            files.invalidate_cache()
            marks = [p for p in map(str, files.ls(target, detail=False)) if f"/{_MARK}" in p]
            if len(marks) > 1:
                return "other"  # each of two may see the other: neither writes, nothing is mixed
            found = self._there(target, record)
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


def push(results_dir: str, address: str) -> Copied:
    """Copy every run that has ended to `address`. BenchError when that cannot be done."""
    there = Address(address)
    found: dict[str | None, list[str]] = {"copied": [], "there": [], "other": [], None: []}
    for folder in list_runs(results_dir):
        found[there.push(folder)].append(f"{folder.parent.name}/{folder.name}")
    return Copied(
        copied=tuple(found["copied"]),
        there=tuple(found["there"]),
        other=tuple(found["other"]),
        running=tuple(found[None]),
    )


def pull(results_dir: str, address: str, names: Sequence[str] | None = None) -> Copied:
    """Copy every run at `address` that is not here, or those of `names`. BenchError when that
    cannot be done."""
    there = Address(address)
    here = Path(results_dir).expanduser().absolute()
    found: dict[bool | None, list[str]] = {True: [], None: [], False: []}
    for name in there.names() if names is None else names:
        found[there.pull(name, here)].append(name)
    # What is not whole there yet is nobody's run; what is here under its name is another one.
    other = [n for n in found[False] if (here / n).exists()]
    return Copied(copied=tuple(found[True]), there=tuple(found[None]), other=tuple(other))


def _is_folder(entry: Mapping[str, Any]) -> bool:
    return str(entry.get("type")) == "directory"


def _at(address: str) -> tuple[Any, str]:
    """The file system of an address and the path in it."""
    try:
        import fsspec
    except ImportError as error:
        raise InputError(
            "other addresses need fsspec: pip install 'selfhost-bench[remote]'; [s3] for s3://, "
            "gcsfs besides for gs://."
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
    except (BenchError, ImportError):
        raise
    except Exception as error:  # each file system's library has errors of its own
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise BenchError(f"{address}: {said}") from error


def _has_ended(record: bytes) -> bool:
    with suppress(ValueError, AttributeError):
        return bool(json.loads(record).get("status") != "running")
    return False
