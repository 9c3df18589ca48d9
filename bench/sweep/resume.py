"""A run that was interrupted goes on: whole load points are kept, begun ones are measured again.

What is measured after the interruption was served by another start of the engine. The run records
it as a launch of its own, and load points know theirs. Where that launch is not like the one before
(another processor, other packages, other weights), the earlier load points are set aside: repeats
of unlike launches are not pooled.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.store import StoredPoints, load_point, load_run
from bench.values import ending
from bench.values.codec import encode
from bench.values.errors import InputError
from bench.values.record import Anchor, Launch, PointData, Run
from bench.values.spec import SAID_OF, RunSpec

ASIDE = "set_aside"
_MAY_DIFFER = ("results_dir", "checkpoints_dir", "nodes", *SAID_OF)
"""Of the spec. A scheduler gives a requeued run other machines; how many there are is compared."""
_ALIKE = ("bench_version", "git_commit", "host_cpu", "host_cpu_count", "packages", "weights_sha256")
"""Of the provenance: what has to be equal for repeats of two launches to be one series."""


def begun(path: Path, spec: RunSpec) -> Run | None:
    """The run that was interrupted in `path`, ready for its next launch; None when there is none.

    Half a load point is removed. InputError when the stored run is another one or is complete.
    """
    for part in (*path.glob("*.part"), *path.glob("points/*.part"), *path.glob("quality/*.part")):
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
    if not (path / "run.json").is_file():
        return None
    before = load_run(path)
    if before.status == "complete":
        raise InputError(f"{path} is complete: bench show {path} prints it.")
    other = _difference(encode(before.spec), encode(spec))
    if other is not None:
        raise InputError(
            f"{path} was begun as another run: {other}. Give the words it was begun with, or "
            "another --run-id."
        )
    number = len(before.earlier)
    if before.ended_by == "engine_died":
        _set_aside(path, number, last_only=True)
    _keep_logs(path, number)
    launch = Launch(
        anchor=before.anchor if not before.earlier else before.relaunched or before.anchor,
        writer=before.writer,
        marks=before.marks,
        server=before.server,
        provenance=before.provenance,
        ended_by=before.ended_by,
        failure=before.failure,
    )
    return replace(before, earlier=(*before.earlier, launch))


def next_launch(before: Run, anchor: Anchor) -> Run:
    """The run as its next launch begins it: what an engine said of itself is asked again."""
    return replace(
        before,
        relaunched=anchor,
        writer=ending.writer(),
        status="running",
        failure=None,
        ended_by=None,
        server=None,
        engine_facts=None,
        load_search=None,
        calibration=None,
        marks={},
        points=(),
        telemetry=None,
        joined=(),
    )


def settle(run: Run, path: Path) -> Run:
    """The run with the earlier launches judged: load points of unlike ones are set aside.

    `run` has its new server and provenance by now.
    """
    judged = []
    for number, launch in enumerate(run.earlier):
        if launch.set_aside is None and (why := _unlike(launch, run)) is not None:
            _set_aside(path, number)
            launch = replace(launch, set_aside=why)
        judged.append(launch)
    return replace(run, earlier=tuple(judged))


class Kept(Mapping[str, PointData]):
    """The load points that are whole by now, by key; each is read from disk when it is asked for:
    a run of millions of requests is not held at once."""

    def __init__(self, path: Path) -> None:
        self._folders = {folder.name: folder for folder in StoredPoints(path).folders}

    def __getitem__(self, key: str) -> PointData:
        return load_point(self._folders[key])

    def __contains__(self, key: object) -> bool:  # the inherited one would read the point
        return key in self._folders

    def __iter__(self) -> Iterator[str]:
        return iter(self._folders)

    def __len__(self) -> int:
        return len(self._folders)


def _unlike(launch: Launch, run: Run) -> str | None:
    """What tells a launch from the one that runs now; None when nothing does that is known."""
    if not launch.provenance or launch.server is None:
        return None  # it never served: it has no load points
    for key in _ALIKE:
        was, now = launch.provenance.get(key), run.provenance.get(key)
        if was != now:
            return f"{key} differs: {_short(was)} then, {_short(now)} now"
    was, now = (len(p.get("nodes") or ()) for p in (launch.provenance, run.provenance))
    if was != now:
        return f"it had {was + 1} machines then, {now + 1} now"
    mine, its = _served(run.server or {}), _served(launch.server)
    for key, was in its.items():
        if mine.get(key) != was:
            return f"the engine's {key} differs: {_short(was)} then, {_short(mine.get(key))} now"
    return None


def _served(server: Mapping[str, Any]) -> dict[str, Any]:
    """What of a server's description says how it serves; its addresses do not."""
    argv = [str(w) for w in server.get("argv") or ()]
    if argv[1:2] == ["-P"]:  # where it was started from (`bench.values.interpreter`)
        del argv[1]
    image = server.get("image") or {}
    for flag in (*_PLACES, *(_OF_CONTAINERS if image else ())):
        while flag in argv:
            at = argv.index(flag)
            del argv[at : at + 2]
    keys = ("engine", "engine_version", "served_model", "max_model_len")
    digest = image.get("digest") or image.get("id")
    return {**{k: server.get(k) for k in keys}, "image": digest, "argv": argv}


_PLACES = ("--host", "--port", "--master-addr", "--master-port", "--data-parallel-rpc-port")
_OF_CONTAINERS = ("--name", "--label", "--cpuset-cpus")
"""Name the launch, or where it ran."""


def _short(value: Any) -> str:
    said = str(value)
    return said if len(said) <= 60 else f"{said[:57]}..."


def _difference(was: Any, now: Any, at: str = "") -> str | None:
    """The first key whose value differs, in words; None when there is none."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted({*was, *now}):
            place = f"{at}.{key}" if at else key
            if place not in _MAY_DIFFER:
                found = _difference(was.get(key), now.get(key), place)
                if found is not None:
                    return found
        return None
    return None if was == now else f"{at} was {_short(was)} and is {_short(now)}"


def _set_aside(path: Path, number: int, *, last_only: bool = False) -> None:
    """Move the load points of a launch out of the run, or only that in which its engine died."""
    of_launch = [
        (f, d.start_ns) for f in StoredPoints(path).folders if (d := load_point(f)).launch == number
    ]
    if last_only:
        of_launch = sorted(of_launch, key=lambda pair: pair[1])[-1:]
    target = path / ASIDE / f"launch-{number}"
    for folder, _ in of_launch:
        target.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target / folder.name, ignore_errors=True)
        folder.rename(target / folder.name)


def _keep_logs(path: Path, number: int) -> None:
    """Put what the last launch wrote line by line where the next one does not write."""
    telemetry = path / "telemetry"
    files = [*telemetry.glob("*.jsonl"), *telemetry.glob("node-*-*")]
    if files:
        (telemetry / f"launch-{number}").mkdir(exist_ok=True)
    for file in files:
        file.replace(telemetry / f"launch-{number}" / file.name)
    for log in (path / "engine.log", *path.glob("engine-node-*.log")):
        with suppress(FileNotFoundError):
            log.replace(path / log.name.replace("engine", f"engine-launch-{number}", 1))
