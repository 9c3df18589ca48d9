"""One line per stored run, derived once: listing thousands of runs must not read their requests.

`summary.json` in a run's folder holds its line, under a fingerprint of what it was derived from:
the run's files and the code that derives. `.index.json` below results_dir holds the lines of all
complete runs under the times of three of their files, so that a list of thousands opens one file.
Both may be deleted at any time: what is missing is made anew, whoever else writes at the same
moment. A run that cannot be read gets a line that says why, and hides no other.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.store import list_runs, write_file
from bench.values.errors import BenchError, StoreError
from bench.values.json_text import json_text
from bench.values.outside import regular

NAME = "summary.json"
INDEX = ".index.json"
_DERIVED_BY = ("derive.py", "measure", "power", "sizing", "quality", "values", "report/document.py")
_NO_SOURCE = ("engine.log", NAME, f"{NAME}.part", "claim.json", "end.json", "end.json.part")
Row = dict[str, Any]


def summaries(results_dir: str, derived: Callable[[Path], Row]) -> list[Row]:
    """The row of every stored run, oldest first; `derived` makes those that are not known yet.

    `{"run": …, "unreadable": why}` stands for a run that is damaged.
    """
    root = Path(results_dir).expanduser()
    known = _index(root)
    index: dict[str, Any] = {}
    rows = []
    for path in list_runs(results_dir):
        key, times = f"{path.parent.name}/{path.name}", _times(path)
        found = known.get(key)
        if isinstance(found, list) and found[:1] == [times] and isinstance(found[-1], dict):
            row = found[-1]
        else:
            row = row_of(path, derived)
        if row.get("status") == "complete":
            index[key] = [times, row]
        rows.append({**row, "run": str(path)})
    if index != known:
        _keep_index(root, index)
    return rows


def _index(root: Path) -> Row:
    """The lines kept for all runs; {} where there are none, or they are of other code."""
    try:
        found = json.loads(regular(root / INDEX).read_bytes())
        return dict(found["rows"]) if found["of"] == _code().hex() else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _keep_index(root: Path, rows: Row) -> None:
    """Store them whole or not at all: of two writers the later one's stay, and both are right."""
    with suppress(StoreError, OSError):
        part = root / f"{INDEX}.{os.getpid()}-{threading.get_ident()}.part"
        part.write_text(json_text({"of": _code().hex(), "rows": rows}))
        part.replace(root / INDEX)


def _times(path: Path) -> list[int]:
    """When run.json and the lists of its load points and telemetry last changed (ns); 0: none."""
    times = []
    for place in (path / "run.json", path / "points", path / "telemetry"):
        try:
            times.append(place.stat().st_mtime_ns)
        except OSError:
            times.append(0)
    return times


def keep(path: Path, row: Row) -> None:
    """Store a run's line beside it; a folder that may only be read goes without."""
    with suppress(StoreError, OSError):
        content = {"of": _fingerprint(path), "by": code(), "row": row}
        write_file(path / NAME, json_text(content).encode())


def row_of(path: Path, derived: Callable[[Path], Row]) -> Row:
    """The line of one run: as stored where that is still right, else made anew and stored."""
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
                if entry.name not in _NO_SOURCE:
                    stat = entry.stat()
                    seen.update(f"{entry.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return seen.hexdigest()


def code() -> str:
    """Which code derives, as text: lines that other machines kept are compared by it."""
    return _code().hex()


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
