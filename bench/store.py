"""Runs on disk: raw, written once, atomically, before anything is derived from them.

results/<model>/<quant>-x<gpus>-<timestamp>/
  run.json                     spec, provenance, server, phases, quality: everything but the points
  points/<key>/point.json      the load point, its worker reports and engine counters
  points/<key>/requests.parquet, chunks.parquet
  quality/items.parquet        one row per scored item; lm-eval's own files lie beside it
  telemetry/*.jsonl            what the meters and the engine's gauges showed, appended as read
  engine.log                   written by the engine itself
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, overload

import numpy as np

from bench.values import ending
from bench.values.codec import decode, encode
from bench.values.errors import InputError, StoreError, nearest
from bench.values.file_kind import other_reader
from bench.values.json_text import json_text
from bench.values.outside import regular
from bench.values.record import (
    ANSWER_COLUMNS,
    REQUEST_COLUMNS,
    SCHEMA_VERSION,
    Int64,
    LoadPoint,
    PointData,
    QualityItem,
    Run,
    WorkerReport,
)
from bench.values.record_shapes import check_point, check_shapes
from bench.values.redact import redacted
from bench.values.spec import EndpointSpec, RunSpec
from bench.values.telemetry import Telemetry, parse
from bench.values.telemetry_nodes import from_nodes, with_nodes

READABLE = (1, SCHEMA_VERSION)
"""Schemas of run.json: the first one's records are the same, its figures were others (derive)."""
_ROWS = 2**26
_NAME_CHARACTERS = 120


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what can go wrong when writing `path` into one line that says what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "free space" if full else "mend the permissions"
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}. {remedy.capitalize()}, or set "
            "results_dir to another folder.",
            full=full,
        ) from error


@contextmanager
def making(path: Path) -> Iterator[None]:
    """Like `_writing`, before anything has run: a place that cannot be written was asked for."""
    try:
        with _writing(path):
            yield
    except StoreError as error:
        if error.full:
            raise
        raise InputError(f"results_dir: {error}") from error


def asked_run_dir(run_id: str, results_dir: str) -> Path:
    """The folder of a run that was given its id, `<model>/<run>`; InputError when it is none."""
    parts = run_id.split("/")
    if len(parts) != 2 or any(p != folder_name(p, "--run-id") for p in parts):
        raise InputError(
            f"--run-id: {run_id!r} is no <model>/<run>, as tiny/none-x0-20260101-120000-0."
        )
    return Path(results_dir).expanduser().absolute() / run_id


def create_run_dir(spec: RunSpec, run_id: str | None = None) -> Path:
    """A new folder for a run, never a stored run's, always right below `results_dir`.

    Its owner alone may read it: a log or an answer can hold what nobody meant to share.
    """
    if run_id is not None:
        path = asked_run_dir(run_id, spec.results_dir)
        with making(path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            (path / "points").mkdir(exist_ok=True)
            ending.reserve(path)
        return path
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    root = Path(spec.results_dir).expanduser().absolute()
    parent = root / model_folder(spec)
    base = f"{folder_name(spec.quant.name, 'quant.name')}-x{spec.gpus}-{stamp}"
    for suffix in ("", *(f"-{i}" for i in range(2, 100))):
        path = parent / f"{base}{suffix}"
        with making(path):
            parent.mkdir(parents=True, exist_ok=True)
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            (path / "points").mkdir()
            ending.reserve(path)
            return path
    raise StoreError(f"cannot name a new run below {parent}: {base} is taken a hundred times.")


def model_folder(spec: RunSpec) -> str:
    """The folder of a run's model: of a server at an address whose model nobody typed, the name
    that it is asked by, for the composed one (tiny) is not what it serves. Figures of another tool
    that are taken in as a run have a name of their own."""
    engine = spec.engine
    if isinstance(engine, EndpointSpec) and engine.expects_model is None:
        if spec.load.generator != "bench" and not engine.served_model:
            return folder_name(spec.model.name, "model.name")
        return folder_name(engine.served_model or "endpoint", "engine.served_model")
    return folder_name(spec.model.name, "model.name")


def folder_name(name: str, key: str) -> str:
    """`name` as one folder's name: what a path or a terminal takes for more becomes a hyphen.

    InputError where nothing of it is left. The true name stands in run.json.
    """
    safe = re.sub(r"[^\w.+-]+", "-", name).strip("-.")[:_NAME_CHARACTERS]
    if not safe:
        raise InputError(f"{key}: {name!r} is no name for a folder of results; use letters.")
    return safe


def discard_run(path: Path) -> None:
    """Remove the folder of a run that came to nothing, and its model's if that leaves it empty."""
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.parent.rmdir()


def save_run(path: Path, run: Run) -> None:
    """Write run.json; readers see the old or the new one, never half of one."""
    record = encode(replace(run, points=(), telemetry=None))
    record = {"schema_version": record.pop("schema_version"), **record}
    for key in ("points", "path", "telemetry", "joined", *_of_resumed(run)):
        del record[key]
    content = json_text(redacted(record), indent=1)
    write_file(path / "run.json", f"{content}\n".encode())


def _of_resumed(run: Run) -> tuple[str, ...]:
    """The keys that only a run which was resumed has a word for."""
    return () if run.earlier else ("earlier", "relaunched")


def write_file(target: Path, content: bytes) -> None:
    """Write a file whole or not at all; StoreError in one line when that cannot be done."""
    part = target.with_name(f"{target.name}.part")
    with _writing(target), _removed_if_not_whole(part):
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)


@contextmanager
def _removed_if_not_whole(part: Path) -> Iterator[None]:
    """Half of a file or folder takes room that a full disk needs, and nobody reads it."""
    try:
        yield
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        with suppress(OSError):
            part.unlink()
        raise


def save_point(path: Path, data: PointData) -> Path:
    """Write one load point into its own folder, which appears whole or not at all."""
    import pyarrow.parquet as pq

    target = path / "points" / data.point.key
    part = target.with_name(target.name + ".part")
    if not target.parent.is_dir():  # never made anew: what was measured before would be missing
        raise StoreError(f"{path} was removed or renamed while the run went on.")
    with _writing(target), _removed_if_not_whole(part):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        # Stamps are near-sequences: delta encoding makes them a fifth of their size. One group of
        # rows is one array when it is read: nothing is copied.
        options: dict[str, Any] = {
            "row_group_size": _ROWS,
            "compression": "zstd",
            "use_dictionary": False,
            "column_encoding": "DELTA_BINARY_PACKED",
        }
        pq.write_table(_table(data.requests), part / "requests.parquet", **options)
        chunks = {"stamp_ns": data.chunk_ns, "tokens": data.chunk_tokens}
        if data.chunk_delay_ns is not None:
            chunks["delay_ns"] = data.chunk_delay_ns
        pq.write_table(_table(chunks), part / "chunks.parquet", **options)
        meta = {
            "point": encode(data.point),
            "start_ns": data.start_ns,
            "errors": {str(k): v for k, v in data.errors.items()},
            "workers": encode(data.workers),
            "engine_before": data.engine_before,
            "engine_after": data.engine_after,
            "discarded": data.discarded,
            **({"launch": data.launch} if data.launch else {}),
        }
        (part / "point.json").write_text(json_text(redacted(meta)))
        part.rename(target)
    return target


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What is wrong with a stored file is a StoreError that names it, whatever its shape."""
    try:
        yield
    except InputError as error:
        raise StoreError(f"{error} The stored file is damaged or of another version.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else error
        raise StoreError(f"{path} cannot be read: {said}") from error


def load_run(path: Path) -> Run:
    """Read a run; StoreError when it is not one or cannot be read.

    Its load points are read when they are used, and what is wrong with one is said then.
    """
    try:
        record = json.loads(regular(path / "run.json").read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} is not a run: run.json cannot be read ({error}).") from error
    if not isinstance(record, dict):
        raise StoreError(f"{path} is not a run: run.json holds no object.")
    version = record.get("schema_version")
    if version not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise StoreError(f"{path}: schema version {version}; this bench reads {known}.")
    with _reading(path / "run.json"):
        run = decode(Run, {**record, "path": str(path)}, str(path / "run.json"))
        check_shapes(record, str(path / "run.json"))
    joined = _joined(run, path)
    return replace(
        _ended(run, path),
        points=StoredPoints(path),
        telemetry=load_telemetry(path, joined),
        joined=joined,
    )


def _joined(run: Run, path: Path) -> tuple[int, ...]:
    """Earlier launches whose telemetry continues in the last one's: one clock, the same devices."""
    boot = (run.writer or {}).get("boot")
    if run.spec.nodes.serving > 1:
        return ()  # every machine would have to be the same one
    same_clock = [n for n, x in enumerate(run.earlier) if (x.writer or {}).get("boot") == boot]
    if not boot or not same_clock:
        return ()
    mine = _devices(path / "telemetry")
    return tuple(n for n in same_clock if _devices(path / "telemetry" / f"launch-{n}") == mine)


def _devices(folder: Path) -> tuple[Any, ...] | None:
    """Source and uuids of the devices that telemetry is of; None without any."""
    try:
        with regular(folder / "power.jsonl").open(encoding="utf-8") as file:
            header = json.loads(file.readline())
        return header["source"], *(d["uuid"] for d in header["devices"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _ended(run: Run, path: Path) -> Run:
    """The run as it ended, where it could not write so itself: on a full disk, or killed."""
    if run.status != "running":
        return run
    found = ending.noted(path)
    if found is None and ending.lives(run.writer) is False:
        found = "killed", "it was killed while it ran; what was saved until then is here"
    if found is None:
        return run
    return replace(run, status="failed", ended_by=found[0], failure=found[1])


class StoredPoints(Sequence[PointData]):
    """The load points of a stored run, read from disk each time one comes to them."""

    def __init__(self, path: Path) -> None:
        found = (p for p in (path / "points").glob("*/point.json") if p.parent.suffix != ".part")
        self.folders = sorted((p.parent for p in found), key=_place)

    def __len__(self) -> int:
        return len(self.folders)

    @overload
    def __getitem__(self, at: int) -> PointData: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[PointData]: ...
    def __getitem__(self, at: int | slice) -> PointData | Sequence[PointData]:
        if isinstance(at, slice):
            return [load_point(folder) for folder in self.folders[at]]
        return load_point(self.folders[at])

    def __iter__(self) -> Iterator[PointData]:
        return map(load_point, self.folders)


def _place(folder: Path) -> tuple[str, int, str]:
    """Load and repeat of a point's folder, `003-c16-r2`: r10 comes after r9."""
    load, _, repeat = folder.name.rpartition("-r")
    return load, int(repeat) if repeat.isdigit() else 0, folder.name


def load_telemetry(path: Path, joined: Sequence[int] = ()) -> Telemetry | None:
    """What the meters of a run read; None for a run from before there were any.

    `joined` are the launches before the last that are read with it. A last line cut short by a
    crash is left out. StoreError when the rest is none.
    """
    lines: list[str] = []
    folder = path / "telemetry"
    files = [
        file
        for part in (*(folder / f"launch-{n}" for n in joined), folder)
        for file in sorted(part.glob("*.jsonl"), key=lambda p: p.name != "power.jsonl")
    ]
    with _reading(folder):
        for file in files:
            text = regular(file).read_text(encoding="utf-8")
            lines += text[: text.rfind("\n") + 1].splitlines()
        return with_nodes(parse(lines), from_nodes(folder)) if lines else None


def load_point(folder: Path) -> PointData:
    """Read one load point's folder; StoreError when it is damaged."""
    with _reading(folder):
        return _point(folder)


def _point(folder: Path) -> PointData:
    import pyarrow.parquet as pq

    meta = json.loads(regular(folder / "point.json").read_text())
    check_point(meta, f"{folder / 'point.json'}")
    # Neither `read_table` nor `to_numpy`, which bring in pandas: most of a second.
    with pq.ParquetFile(regular(folder / "requests.parquet")) as file:
        table = file.read()
    with pq.ParquetFile(regular(folder / "chunks.parquet")) as file:
        chunks = file.read()
    return PointData(
        point=decode(LoadPoint, meta["point"], str(folder)),
        start_ns=meta["start_ns"],
        requests={
            name: _numbers(table.column(name))
            for name in (*REQUEST_COLUMNS, *ANSWER_COLUMNS)
            if name in REQUEST_COLUMNS or name in table.column_names
        },
        chunk_ns=_numbers(chunks.column("stamp_ns")),
        chunk_tokens=_numbers(chunks.column("tokens")),
        chunk_delay_ns=_numbers(chunks.column("delay_ns"))
        if "delay_ns" in chunks.column_names
        else None,
        errors={int(k): v for k, v in meta["errors"].items()},
        workers=decode(tuple[WorkerReport, ...], meta["workers"], str(folder)),
        engine_before=meta["engine_before"],
        engine_after=meta["engine_after"],
        discarded=meta.get("discarded"),
        launch=meta.get("launch", 0),
    )


def _table(columns: Mapping[str, Int64]) -> Any:
    """Columns of whole numbers as a table, not copied. `pa.table` alone would bring in pandas."""
    import pyarrow as pa

    def column(values: Int64) -> Any:
        whole = np.ascontiguousarray(values, dtype=np.int64)
        return pa.Array.from_buffers(pa.int64(), len(whole), [None, pa.py_buffer(whole)])

    return pa.table({name: column(values) for name, values in columns.items()})


def _numbers(column: Any) -> Int64:
    """A column of whole numbers, as it lies in memory; ValueError where some are missing."""
    import pyarrow as pa

    if column.null_count:
        raise ValueError("values are missing")
    whole = column.cast(pa.int64()) if column.type != pa.int64() else column
    parts = [
        np.frombuffer(part.buffers()[1], dtype=np.int64, count=len(part), offset=8 * part.offset)
        for part in whole.chunks
        if len(part)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate([*parts, np.zeros(0, dtype=np.int64)])


def save_quality_items(path: Path, items: Sequence[QualityItem]) -> None:
    """Write the scored items of a run: quality/items.parquet, a column per field."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    target = path / "quality" / "items.parquet"
    with _writing(target):
        target.parent.mkdir(exist_ok=True)
        table = pa.Table.from_pylist([encode(item) for item in items])
        pq.write_table(table, target.with_suffix(".part"), compression="zstd")
        target.with_suffix(".part").replace(target)


def load_quality_items(path: Path) -> tuple[QualityItem, ...]:
    """The scored items of a run, in the order in which they were stored; () without quality."""
    import pyarrow.parquet as pq

    source = path / "quality" / "items.parquet"
    if not source.exists():
        return ()
    with _reading(source):
        rows = pq.read_table(regular(source)).to_pylist()
        return tuple(QualityItem(**{**row, "logliks": tuple(row["logliks"])}) for row in rows)


def list_runs(results_dir: str) -> list[Path]:
    """Folders of all runs below `results_dir`, oldest first."""
    root = Path(results_dir).expanduser()
    try:
        models = [Path(entry.path) for entry in os.scandir(root) if _may_hold_runs(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"results_dir: {root}: {error.strerror}.") from error
    found = (path for model in models for path in _runs_of(model))
    return sorted(found, key=_when)


def _runs_of(model: Path) -> Iterator[Path]:
    """The runs in a model's folder; one that may not be looked into is taken for one."""
    try:
        for entry in os.scandir(model):
            if entry.is_dir():
                path = Path(entry.path)
                if _is_there(path / "run.json"):
                    yield path
    except OSError:
        yield model


def _is_there(path: Path) -> bool:
    """Whether there is such a file, or something that cannot be looked at: its reader says why."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True


def _written_s(run: Path) -> float:
    try:
        return (run / "run.json").stat().st_mtime
    except OSError:
        return 0.0


def _may_hold_runs(entry: os.DirEntry[str]) -> bool:
    """No model's folder begins with a dot: that of sweeps does."""
    return entry.is_dir() and not entry.name.startswith(".")


def _when(folder: Path) -> tuple[str, int, str]:
    """The stamp in a run's name, and its number among those of that second."""
    found = list(re.finditer(r"(\d{8}-\d{6})((?:-\d+)*)$", folder.name))
    stamp, number = found[-1].groups() if found else (folder.name[-15:], "")
    return stamp, int(number.rpartition("-")[2] or 0), folder.name


def _named(name: str, root: Path) -> Path | None:
    """The one run of that very name, without a look at all the others; None for any other name."""
    if name == "latest" or not re.fullmatch(r"[\w.+-]+(/[\w.+-]+)?", name):
        return None
    found = list(root.glob(f"{name if '/' in name else f'*/{name}'}/run.json"))
    return found[0].parent if len(found) == 1 else None


def find_run(name: str, results_dir: str) -> Path:
    """The run that `name` means: a folder, `latest`, or the end of a run's path."""
    if _is_there(Path(name, "run.json")):
        return Path(name)
    direct = _named(name, Path(results_dir).expanduser())
    if direct is not None:
        return direct
    runs = list_runs(results_dir)
    if name == "latest":
        if not runs:
            raise InputError(f"there is no run below {results_dir} yet: type bench to make one.")
        return max(runs, key=_written_s)
    names = {f"{p.parent.name}/{p.name}": p for p in runs}
    matches = [p for n, p in names.items() if n == name or p.name == name]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise InputError(f"{name!r} names {len(matches)} runs; say <model>/<run>.")
    known = [*names, "latest"]
    newest = {p.parent.name: n for n, p in names.items()}
    if not get_close_matches(name, known):  # its model alone may be near: the newest run of that
        near = get_close_matches(name.partition("/")[0], newest, n=1)
        known = [newest[m] for m in near] or known
    few = len(names) <= 5 or bool(get_close_matches(name, known))
    hint = nearest(name, known) if few else f" bench runs lists all {len(names)}."
    if not names and "Did you mean" not in hint:
        hint = " None is there yet: type bench to make one."
    raise InputError(
        f"there is no run {name!r} below {results_dir}.{other_reader(name, 'show') or hint}"
    )


def find_runs(names: Sequence[str], results_dir: str) -> list[Path]:
    """The runs that the names mean; InputError where two mean one: it would count twice."""
    paths = [find_run(name, results_dir) for name in names]
    found: dict[Path, str] = {}
    for name, path in zip(names, paths, strict=True):
        if (real := path.resolve()) in found:
            raise InputError(
                f"{found[real]!r} and {name!r} are the same run, {path.name}: name it once."
            )
        found[real] = name
    return paths
