"""One line per stored run, derived once: listing thousands of runs must not read their requests.

`summary.json` in a run's folder holds its line, under a fingerprint of what it was derived from:
the run's files and the code that derives. It may be deleted at any time. A run that cannot be read
gets a line that says why, and hides no other.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.store import list_runs, write_file
from bench.values.errors import BenchError, StoreError
from bench.values.json_text import json_text
from bench.values.outside import regular

NAME = "summary.json"
_DERIVED_BY = ("derive.py", "measure", "power", "fit", "quality", "values", "report/document.py")
Row = dict[str, Any]


def summaries(results_dir: str, derived: Callable[[Path], Row]) -> list[Row]:
    """The row of every stored run, oldest first; `derived` makes those that are not known yet.

    `{"run": …, "unreadable": why}` stands for a run that is damaged.
    """
    return [{**_known(path, derived), "run": str(path)} for path in list_runs(results_dir)]


def keep(path: Path, row: Row) -> None:
    """Store a run's line beside it; a folder that may only be read goes without."""
    with suppress(StoreError, OSError):
        content = {"of": _fingerprint(path), "row": row}
        write_file(path / NAME, json_text(content).encode())


def _known(path: Path, derived: Callable[[Path], Row]) -> Row:
    try:
        found = json.loads(regular(path / NAME).read_bytes())
        if found["of"] == _fingerprint(path):
            return dict(found["row"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass  # missing, older or damaged: made anew
    try:
        row = derived(path)
    except (BenchError, ArithmeticError, ValueError, KeyError, IndexError, TypeError) as error:
        return {"unreadable": str(error) or type(error).__name__}
    if row.get("status") != "running":  # it may be killed, which no file of it would show
        keep(path, row)
    return row


def _fingerprint(path: Path) -> str:
    """Name, size and time of every file that a run's figures come from, and the code's digest."""
    seen = hashlib.sha256(_code())
    for folder in (path, path / "points", path / "telemetry"):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                # Hidden from the fingerprint: what is no source of figures, and this summary.
                if entry.name not in ("engine.log", NAME, f"{NAME}.part"):
                    stat = entry.stat()
                    seen.update(f"{entry.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return seen.hexdigest()


@functools.cache
def _code() -> bytes:
    """A digest of the sources that derive: another formula makes another row."""
    seen = hashlib.sha256()
    root = Path(__file__).parents[1]
    for part in _DERIVED_BY:
        place = root / part
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            seen.update(file.read_bytes())
    return seen.digest()
