"""This Python once more, for parts of a run that are processes of their own, and what was installed
with it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import bench


def python(*words: str) -> list[str]:
    """The command for `-m MODULE …` or `-c PROGRAM …`, importing nothing from the working folder.

    Python looks there first, so that a numpy.py in somebody's folder would be run instead. Where
    the working folder is what this program itself is imported from, it has to be looked at.
    """
    own = Path(bench.__file__).resolve().parents[1]
    return [sys.executable, *([] if _here() == own else ["-P"]), *words]


def installed(name: str) -> str | None:
    """The file of a program: the first on PATH, else the one that was installed beside this Python.

    An environment whose `bench` was called by its path has not been activated, and its other
    programs are not on the PATH.
    """
    found = shutil.which(name)
    if found is None and sys.executable:  # a Python inside another program has none
        found = shutil.which(name, path=str(Path(sys.executable).parent))
    return found


def _here() -> Path | None:
    try:
        return Path.cwd().resolve()
    except FileNotFoundError:
        return None
