"""What a sweep asks for: the id of every run, written down before the first one is launched.

A run's id is its folder below results_dir, `<model>/<quant>-x<gpus>-<stamp>-<number>`.
`results_dir/.sweeps/<stamp>/sweep.json` lists them with the words that make each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from bench.store import folder_name, making, model_folder, write_file
from bench.values.codec import decode, encode
from bench.values.errors import InputError, StoreError, nearest
from bench.values.json_text import json_text
from bench.values.outside import regular
from bench.values.redact import redacted
from bench.values.spec import RunSpec

FOLDER = ".sweeps"
NAME = "sweep.json"


@dataclass(frozen=True, kw_only=True)
class Element:
    """One run of a sweep: its id, and the words that tell it from the others (keys taken out)."""

    run: str
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep as it was asked for. `digest` is of the words as typed: the same sweep has the same.

    `scheduler` and `job` say where its runs wait, `cancelled` which elements were called off there.
    `writer` is the process that launches them itself, as `bench.values.ending.writer` names it.
    """

    path: str
    results_dir: str
    began: str
    digest: str
    elements: tuple[Element, ...]
    scheduler: str | None = None
    job: str | None = None
    cancelled: tuple[int, ...] = ()
    writer: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The folder's name: what `bench jobs` takes."""
        return Path(self.path).name

    def folder(self, element: Element) -> Path:
        """Where the run of an element is stored."""
        return Path(self.results_dir) / element.run


def digest(combinations: Sequence[Sequence[str]]) -> str:
    """One value for one set of runs, in whatever order the words were typed."""
    text = "\n".join(sorted("\0".join(sorted(words)) for words in combinations))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def ask(specs: Sequence[RunSpec], combinations: Sequence[Sequence[str]], results_dir: str) -> Sweep:
    """A new sweep, its ids chosen, no stamp twice below `results_dir`; nothing is written yet."""
    root = Path(results_dir).expanduser().absolute()
    now = datetime.now(UTC)
    stamp = now.strftime("%Y%m%d-%H%M%S")
    names = [stamp, *(f"{stamp}-{i}" for i in range(2, 1000))]
    free = next(n for n in names if not (root / FOLDER / n).exists())
    common = set.intersection(*(set(words) for words in combinations))
    if len(combinations) == 1:
        common = set()
    elements = tuple(
        Element(
            run=f"{model_folder(spec)}/"
            f"{folder_name(spec.quant.name, 'quant.name')}-x{spec.gpus}-{free}-{number}",
            words=tuple(str(w) for w in redacted([w for w in words if w not in common])),
        )
        for number, (spec, words) in enumerate(zip(specs, combinations, strict=True))
    )
    return Sweep(
        path=str(root / FOLDER / free),
        results_dir=str(root),
        began=now.isoformat(timespec="seconds"),
        digest=digest(combinations),
        elements=elements,
    )


def keep(sweep: Sweep) -> Sweep:
    """Write a sweep down; its folder is its owner's alone."""
    folder = Path(sweep.path)
    with making(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_file(folder / NAME, f"{json_text(encode(sweep), indent=1)}\n".encode())
    return sweep


def read(folder: Path) -> Sweep:
    """A sweep as written down, wherever the store is now; StoreError when it cannot be read."""
    try:
        record = json.loads(regular(folder / NAME).read_text())
        sweep = decode(Sweep, record, str(folder / NAME))
    except (OSError, ValueError, InputError, TypeError) as error:
        raise StoreError(f"{folder / NAME} cannot be read: {error}") from error
    at = folder.absolute()
    return replace(sweep, path=str(at), results_dir=str(at.parents[1]))


def all_sweeps(results_dir: str) -> list[Sweep]:
    """Every sweep below `results_dir` that can be read, oldest first."""
    root = Path(results_dir).expanduser() / FOLDER
    found = []
    for record in sorted(root.glob(f"*/{NAME}")):
        try:
            found.append(read(record.parent))
        except StoreError:
            continue
    return sorted(found, key=lambda s: (s.began, s.name))


def find(name: str | None, results_dir: str) -> Sweep:
    """The sweep of that name, the newest for None; InputError when there is none."""
    sweeps = all_sweeps(results_dir)
    if not sweeps:
        raise InputError(f"there is no sweep below {results_dir} yet: bench -m makes one.")
    if name is None:
        return sweeps[-1]
    known = {s.name: s for s in sweeps}
    if name not in known:
        raise InputError(f"there is no sweep {name!r} below {results_dir}.{nearest(name, known)}")
    return known[name]


def same(combinations: Sequence[Sequence[str]], results_dir: str) -> Sweep | None:
    """The newest sweep of just these words; None when there was none."""
    wanted = digest(combinations)
    return next((s for s in reversed(all_sweeps(results_dir)) if s.digest == wanted), None)
