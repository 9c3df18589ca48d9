"""Temporary folders that say whose they are: what a crash leaves can be told and removed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.values.ending import writer
from bench.values.errors import StoreError
from bench.values.json_text import json_text

PREFIX = "bench-"
OWNER = "owner.json"
SHARED = "shared.json"
"""Names and inodes of the shared memory that processes of the owner had mapped."""


def new(kind: str) -> Path:
    """A fresh folder below TMPDIR, readable by its owner alone; `sign` says whose it is."""
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-"))


def sign(folder: Path, pid: int | None = None) -> None:
    """Name the process whose death makes the folder a leftover; this one where none is given."""
    (folder / OWNER).write_text(json_text(writer(pid)))


def engine_folder() -> Path:
    """A folder for what an engine leaves; StoreError where there is no room for one."""
    try:
        return new("engine")
    except OSError as error:
        raise StoreError(
            f"cannot make a temporary folder in {tempfile.gettempdir()}: "
            f"{error.strerror or error}. Make room there, or set TMPDIR."
        ) from error


@contextmanager
def scratch(kind: str) -> Iterator[Path]:
    """A folder of this process, gone afterwards."""
    folder = new(kind)
    try:
        sign(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
