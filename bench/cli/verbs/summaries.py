"""One line per stored run, derived once: listing hundreds of runs must not read their requests.

`<results_dir>/.summaries.json` holds what was derived, under a fingerprint of what it was derived
from: the run's files and the code. It may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.store import list_runs, write_file
from bench.values.errors import StoreError

NAME = ".summaries.json"
Row = dict[str, Any]


def summaries(results_dir: str, derived: Callable[[Path], Row]) -> list[Row]:
    """The row of every stored run, oldest first; `derived` makes those that are not known yet."""
    root = Path(results_dir).expanduser()
    known, code = _read(root / NAME), _code()
    kept: dict[str, Row] = {}
    rows = []
    for path in list_runs(results_dir):
        key, print_ = str(path.relative_to(root)), f"{code} {_fingerprint(path)}"
        entry = known.get(key)
        if entry is None or entry.get("of") != print_:
            entry = {"of": print_, "row": derived(path)}
        kept[key] = entry
        rows.append({**entry["row"], "run": str(path)})
    if kept != known and root.is_dir():
        with suppress(StoreError):  # a folder that may only be read is listed all the same
            write_file(root / NAME, json.dumps(kept).encode())
    return rows


def _read(path: Path) -> Mapping[str, Row]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _fingerprint(path: Path) -> str:
    """Name, size and time of every file that a run's figures come from."""
    seen = hashlib.sha256()
    for folder in (path, path / "points", path / "telemetry"):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                if entry.name != "engine.log":
                    stat = entry.stat()
                    seen.update(f"{entry.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return seen.hexdigest()


def _code() -> str:
    """A digest of this package's sources: another formula makes another row."""
    seen = hashlib.sha256()
    for path in sorted(Path(__file__).parents[2].rglob("*.py")):
        seen.update(path.read_bytes())
    return seen.hexdigest()
