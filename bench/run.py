"""The story of one run: fit → serve → warm up → drive → save → quality → derive."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import provenance
from bench.calibrate import calibrate
from bench.calibration import Shape
from bench.catalogue import Catalogue
from bench.codec import encode
from bench.derive import derive
from bench.engine_log import parse_engine_log
from bench.engines import load_engine
from bench.errors import BenchError, StoreError
from bench.evaluators import lm_eval
from bench.load import vllm_generator
from bench.load.workers import LoadProgress, drive
from bench.meters import engine_stats
from bench.meters.engine_watch import watch_engine, with_gauges
from bench.meters.watch import Watch, watch
from bench.metrics import PointMeasurement
from bench.plan import WARM_UP_INDEX, Plan, load_points, plan, warm_ups
from bench.preflight import preflight
from bench.record import OK, LoadPoint, PointData, QualityResult, Run
from bench.server import Progress, ProgressCallback, Server
from bench.spec import RunSpec
from bench.store import (
    create_run_dir,
    discard_run,
    load_run,
    save_point,
    save_quality_items,
    save_run,
)


def execute(spec: RunSpec, catalogue: Catalogue, progress: ProgressCallback) -> Run:
    """Run `spec` and return the stored Run.

    Raises InputError before anything is started, BenchError when the run fails; whatever was
    collected until then is in the run's folder, which the message names.
    """
    spec, fit = preflight(spec, catalogue)
    path = create_run_dir(spec)
    run = Run(spec=spec, anchor=provenance.anchor(), path=str(path), fit=fit)
    with _recorded(run, path) as recorder:
        with (
            watch(spec, path) as meter,
            _served(spec, path, meter, progress) as server,
            watch_engine(server.metrics_url, path) as engine,
        ):
            recorder.note(
                server=describe(server),
                provenance=provenance.collect(server.model_path),
                engine_facts=_engine_facts(server),
                marks=meter.marks,
            )
            for data in measure_load(spec, server, with_gauges(progress, meter, engine)):
                save_point(path, data)
            if spec.quality.tasks:
                recorder.note(quality=score_quality(spec, server, path, progress))
        ours = spec.load.generator == "bench"
        if spec.load.calibrate and ours and spec.engine.kind not in ("truth", "none"):
            recorder.note(calibration=_calibration(path, progress))
    return load_run(path)


@contextlib.contextmanager
def _served(
    spec: RunSpec, path: Path, meter: Watch, progress: ProgressCallback
) -> Iterator[Server]:
    """The server between its two idle baselines: before it is launched, and before any load."""
    meter.idle("before_launch", progress)
    with load_engine(spec.engine.kind).serve(spec, path, progress) as server:
        meter.idle("resident", progress)
        yield server


class _Recorder:
    """Keeps run.json up to date while the run goes on."""

    def __init__(self, run: Run, path: Path) -> None:
        self.run = run
        self.path = path
        save_run(path, run)

    def note(self, **changes: Any) -> None:
        """Add what has become known, and save."""
        self.run = replace(self.run, **changes)
        save_run(self.path, self.run)


@contextlib.contextmanager
def _recorded(run: Run, path: Path) -> Iterator[_Recorder]:
    """Record the end of the run, whichever way it comes, and say where its data lies."""
    recorder = _Recorder(run, path)
    try:
        yield recorder
    except BaseException as error:
        reason = str(error) or type(error).__name__
        with contextlib.suppress(StoreError):  # the disk may be what failed
            recorder.note(status="failed", failure=reason)
        if isinstance(error, BenchError):
            _say_what_is_kept(error, path)
        raise
    recorder.note(status="complete")


def _say_what_is_kept(error: BenchError, path: Path) -> None:
    """Name the folder in the message; a run that left nothing but its own name goes."""
    kept = len(list((path / "points").glob("*/point.json")))
    if kept or (path / "engine.log").exists():
        error.args = (f"{error} {kept} load points are kept in {path}.",)
    else:
        discard_run(path)


def measure_load(spec: RunSpec, server: Server, progress: ProgressCallback) -> Iterator[PointData]:
    """Warm the engine up, then yield what was observed at each load point, repeat by repeat.

    Repeats are the outer loop, so that a drift of the machine touches all load points alike.
    """
    fastest_s: dict[int | None, float | None] = {}
    for point in warm_ups(spec.load) if spec.engine.kind != "none" else ():
        data = _drive(spec, server, point, f"warming up {point.label}", progress)
        fastest_s[point.concurrency] = fastest_request_s(data)
    points = load_points(spec.load) if spec.engine.kind != "none" else ()
    for number, point in enumerate(points):
        name = f"load {point.label}, repeat {point.repeat + 1} ({number + 1}/{len(points)})"
        before = engine_stats.read(server.metrics_url)
        data = _drive(spec, server, point, name, progress, fastest_s.get(point.concurrency))
        after = engine_stats.read(server.metrics_url)
        yield replace(data, engine_before=before, engine_after=after)


def score_quality(
    spec: RunSpec, server: Server, path: Path, progress: ProgressCallback
) -> QualityResult:
    """Score the artefact that was just measured; a failure is kept as one, the speed stays.

    The checkpoint's files are hashed again: quality belongs to what is on disk now.
    """
    try:
        scored = lm_eval.score(spec, server, path, progress)
    except BenchError as error:
        return QualityResult(preset=spec.quality.name, status="failed", failure=str(error))
    save_quality_items(path, scored.items)
    hashes = provenance.file_hashes(Path(server.model_path)) if server.model_path else None
    return replace(scored.result, weights_sha256=hashes)


def fastest_request_s(data: PointData) -> float | None:
    """The shortest successful request in seconds; None when every one failed."""
    ok = data.requests["outcome"] == OK
    took_ns = (data.requests["end_ns"] - data.requests["sent_ns"])[ok]
    return float(took_ns.min()) / 1e9 if len(took_ns) else None


def _drive(
    spec: RunSpec,
    server: Server,
    point: LoadPoint,
    name: str,
    progress: ProgressCallback,
    fastest_s: float | None = None,
) -> PointData:
    planned = plan(spec, server, point, fastest_s)
    if spec.load.generator == "vllm" and point.index < WARM_UP_INDEX:
        progress(Progress(phase=f"{name} with vLLM's own benchmark", elapsed_s=0.0))
        return vllm_generator.drive(
            server,
            point,
            spec.workload,
            planned.at_least,
            seed=spec.seed + 1000 * point.index + point.repeat,
            timeout_s=spec.load.request_timeout_s,
        )
    return drive(
        server,
        point,
        planned.requests,
        timeout_s=spec.load.request_timeout_s,
        workers=spec.load.workers,
        duration_s=planned.duration_s,
        at_least=planned.at_least,
        on_progress=_shown(name, planned, progress),
    )


def _shown(name: str, planned: Plan, progress: ProgressCallback) -> Callable[[LoadProgress], None]:
    began_s = time.monotonic()

    def show(state: LoadProgress) -> None:
        elapsed_s = time.monotonic() - began_s
        timed = planned.duration_s is not None and state.finished >= planned.at_least
        progress(
            Progress(
                phase=name,
                elapsed_s=elapsed_s,
                detail=f"{state.finished} requests done, {state.in_flight} in flight",
                done=min(elapsed_s, planned.duration_s or 0.0) if timed else state.finished,
                total=planned.duration_s if timed else planned.at_least,
                unit="s" if timed else "requests",
            )
        )

    return show


def describe(server: Server) -> dict[str, Any]:
    """What may be stored of a server: everything but its headers, which may hold a key."""
    described: dict[str, Any] = encode(replace(server, headers={}))
    del described["headers"]
    return described


def _engine_facts(server: Server) -> dict[str, Any] | None:
    if server.log_path is None or server.engine != "vllm":
        return None
    facts: dict[str, Any] = encode(parse_engine_log(server.log_path.read_text(errors="replace")))
    return facts


def _calibration(path: Path, progress: ProgressCallback) -> dict[str, Any] | None:
    """The instrument's own error at the busiest load point; None when nothing was measured."""
    run = load_run(path)
    points = derive(run).points
    if not points:
        return None
    shape = shape_of(run, max(points, key=lambda p: _known(p, "output_tokens_per_s") or 0.0))
    return None if shape is None else encode(calibrate(shape, progress))


def shape_of(run: Run, point: PointMeasurement) -> Shape | None:
    """The load of a measured point as the calibration needs it; None without successful ones."""
    data = next(d for d in run.points if d.point.index == point.point.index)
    ttft, itl = _known(point, "ttft_p50_ms"), _known(point, "itl_p50_ms")
    if ttft is None or not len(data.chunk_tokens):
        return None
    tpot = _known(point, "tpot_p50_ms") or 0.0
    e2e_s = (_known(point, "e2e_p50_ms") or 0.0) / 1e3
    rate = point.point.rate_per_s or 0.0
    return Shape(
        concurrency=point.point.concurrency or max(1, round(rate * e2e_s)),
        ttft_ms=min(ttft, 500.0),
        itl_ms=itl if itl is not None else tpot,
        tokens_per_chunk=max(1, round(float(np.mean(data.chunk_tokens)))),
        workers=len(data.workers),
    )


def _known(point: PointMeasurement, name: str) -> float | None:
    metric = point.metrics[name]
    return metric.withheld_value if metric.value is None else metric.value
