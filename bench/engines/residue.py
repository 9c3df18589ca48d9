"""What earlier crashes left: temporary folders with sockets, shared memory, half-written files.

Only what is provably ours and dead: a folder that names its owner (`bench.values.scratch`), which
has ended, shared memory that such an owner noted by name and inode and nobody has mapped, parts of
files in the folder of a run that has ended, containers whose label names an owner that has ended.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.engines.container import DAEMONS, removal_words
from bench.engines.container import OWNER as OWNER_LABEL
from bench.engines.guard import forget_shared, shared_by
from bench.values import ending
from bench.values.outside import regular
from bench.values.scratch import OWNER, PREFIX, SHARED

_SHM = Path("/dev/shm")
_ANSWER_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Residue:
    """One leftover: its kind, where it is, its size in bytes and why it is one.

    A container's place is `docker/NAME`, and its size is not asked for.
    """

    kind: Literal["folder", "shared memory", "half a file", "container"]
    path: Path
    bytes: int
    why: str


def leftovers(results_dir: str) -> list[Residue]:
    """Everything that crashes left, named and not touched."""
    return [
        *_folders(Path(tempfile.gettempdir())),
        *_parts(Path(results_dir).expanduser()),
        *(found for program in DAEMONS for found in _containers(program)),
    ]


def remove(found: list[Residue]) -> list[Residue]:
    """Remove them; those that could not be."""
    left = []
    for one in found:
        if one.kind == "container":
            if _asked(*removal_words(*one.path.parts)) is None:
                left.append(one)
            continue
        if one.kind == "shared memory":
            forget_shared({one.path.name: _inode(one.path)})
        elif one.path.is_dir():
            shutil.rmtree(one.path, ignore_errors=True)
        else:
            with suppress(OSError):
                one.path.unlink()
        if one.path.exists():
            left.append(one)
    return left


def _folders(root: Path) -> Iterator[Residue]:
    """Scratch folders whose owner has ended, and the shared memory noted in them."""
    for folder in sorted(root.glob(f"{PREFIX}*")):
        owner = _object(folder / OWNER)
        # A link, or somebody else's folder, is not ours however it is named.
        if not folder.is_dir() or folder.is_symlink() or _owned_by_another(folder):
            continue
        if ending.lives(owner) is not False:
            continue
        why = f"process {owner.get('pid')}, whose it was, has ended"
        if owner.get("boot") == ending.writer()["boot"]:  # /dev/shm does not outlive a boot
            yield from _shared(_object(folder / SHARED), why)
        yield Residue(kind="folder", path=folder, bytes=_size(folder), why=why)


def _shared(noted: Mapping[str, Any], why: str) -> Iterator[Residue]:
    held = shared_by([int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()])
    for name, inode in noted.items():
        path = _SHM / name
        if "/" not in name and name not in held and _inode(path) == inode:
            yield Residue(kind="shared memory", path=path, bytes=path.stat().st_size, why=why)


def _parts(root: Path) -> Iterator[Residue]:
    """Half-written files and load points of runs that have ended."""
    for record in sorted(root.glob("*/*/run.json")):
        run = record.parent
        parts = [*run.glob("*.part"), *run.glob("points/*.part"), *run.glob("quality/*.part")]
        if not parts:
            continue
        said = _object(record)
        if said.get("status") == "running" and ending.lives(said.get("writer")) is not False:
            continue
        for path in parts:
            yield Residue(
                kind="half a file", path=path, bytes=_size(path), why="the run that wrote it ended"
            )


def _containers(program: str) -> Iterator[Residue]:
    """Containers of a program whose label names a process that has ended."""
    if shutil.which(program) is None:
        return
    ids = _asked(program, "ps", "--all", "--quiet", "--filter", f"label={OWNER_LABEL}")
    shape = f'{{{{.Name}}}} {{{{index .Config.Labels "{OWNER_LABEL}"}}}}'
    listed = _asked(program, "inspect", "--format", shape, *ids.split()) if ids else None
    for line in (listed or "").splitlines():
        name, _, said = line.lstrip("/").partition(" ")
        owner: Any = None
        with suppress(ValueError, RecursionError):
            owner = json.loads(said)
        if isinstance(owner, dict) and ending.lives(owner) is False:
            why = f"process {owner.get('pid')}, whose it was, has ended"
            yield Residue(kind="container", path=Path(program, name), bytes=0, why=why)


def _asked(*words: str) -> str | None:
    """What a container program says; None where it does not answer."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_ANSWER_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _object(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(regular(path).read_bytes())
        return found if isinstance(found, dict) else {}
    return {}


def _owned_by_another(folder: Path) -> bool:
    with suppress(OSError):
        return folder.stat().st_uid != os.geteuid()
    return True


def _inode(path: Path) -> int:
    with suppress(OSError):
        return path.lstat().st_ino
    return -1


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    total = 0
    for file in [path, *path.rglob("*")]:
        with suppress(OSError):
            stat = file.lstat()
            total += 0 if file.is_dir() else stat.st_size
    return total
