"""The story of one run: fit → serve → warm up → drive → save → quality → derive."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.config.catalogue import Catalogue
from bench.engines import load_engine, log_facts
from bench.evaluators import lm_eval
from bench.host import provenance
from bench.measure.client_error import known, shape_of, too_large
from bench.meters import engine_stats, process_memory
from bench.meters.engine_watch import watch_engine, with_gauges
from bench.meters.on_nodes import check_nodes, of_nodes
from bench.meters.watch import Watch, watch
from bench.models.checkpoints import in_hub_cache
from bench.models.weights import resolve_weights
from bench.nodes.hosts import resolved
from bench.nodes.joined import Node, joined
from bench.predict.foretell import foretold
from bench.preflight import preflight
from bench.store import (
    create_run_dir,
    discard_run,
    load_run,
    save_point,
    save_quality_items,
    save_run,
)
from bench.sweep import resume
from bench.traffic.points import measure_load
from bench.values import ending
from bench.values.codec import encode
from bench.values.errors import BenchError, EngineError, StoreError
from bench.values.outside import plain
from bench.values.record import PointData, QualityResult, Run
from bench.values.server import ProgressCallback, Server
from bench.values.serving import ON_HOST
from bench.values.spec import EndpointSpec, RunSpec


def execute(
    spec: RunSpec, catalogue: Catalogue, progress: ProgressCallback, run_id: str | None = None
) -> Run:
    """Run `spec` and return the stored Run; one that `run_id` names and was interrupted goes on.

    Raises InputError before anything is started, BenchError when the run fails; whatever was
    collected until then is in the run's folder, which the message names.
    """
    spec = replace(spec, nodes=resolved(spec.nodes, os.environ))
    with joined(spec.nodes) as nodes:
        return _execute(spec, catalogue, progress, run_id, nodes)


def _execute(
    spec: RunSpec,
    catalogue: Catalogue,
    progress: ProgressCallback,
    run_id: str | None,
    nodes: Sequence[Node],
) -> Run:
    """The same with the run's other machines at hand."""
    spec, fit = preflight(spec, catalogue)
    check_nodes(spec, nodes)
    path = create_run_dir(spec, run_id)
    before = None if run_id is None else resume.begun(path, storable(spec))
    if before is not None:
        run = resume.next_launch(before, provenance.anchor())
    else:
        run = Run(
            spec=storable(spec),
            anchor=provenance.anchor(),
            path=str(path),
            fit=fit,
            prediction=foretold(spec),
            writer=ending.writer(),
        )
    lost: list[BenchError] = []
    with _recorded(run, path) as recorder:
        with (
            watch(spec, path, nodes) as meter,
            _served(spec, path, meter, progress) as server,
            watch_engine(server, path) as engine,
        ):
            recorder.note(
                server=describe(server),
                provenance=provenance.collect(server.model_path) | of_nodes(nodes),
                engine_facts=_engine_facts(server),
                marks=meter.marks,
            )
            recorder.note(earlier=resume.settle(recorder.run, path).earlier)
            kept = resume.Kept(path)
            if spec.quality.tasks:
                lm_eval.check_server(spec, server)
            clients = nodes if spec.nodes.load else ()
            live = with_gauges(progress, meter, engine)
            loads = measure_load(spec, server, live, recorder.note, kept, clients)
            for data in _while_it_lives(loads, server, lost):
                for node in nodes:
                    node.ask_clock()
                if data.point.key not in kept:
                    save_point(path, replace(data, launch=len(run.earlier)))
                if not server.is_alive():
                    break  # nothing more to measure; leaving the engine says why it died
            on_host = spec.gpus == 0 and spec.engine.kind in ON_HOST and server.is_alive()
            if on_host and server.pid is not None:
                used_gib = process_memory.private_gib(server.pid)
                facts = {**(recorder.run.engine_facts or {}), "private_memory_gib": used_gib}
                recorder.note(engine_facts=facts)
            if spec.quality.tasks and server.is_alive():
                recorder.note(quality=score_quality(spec, server, path, progress))
        if lost:  # it seemed dead, and yet was left without a word: nothing is complete
            raise lost[0]
        ours = spec.load.generator == "bench"
        if spec.load.calibrate and ours and spec.engine.kind not in ("truth", "none"):
            recorder.note(calibration=_calibration(path, progress))
    return load_run(path)


def _while_it_lives(
    loads: Iterator[PointData], server: Server, lost: list[BenchError]
) -> Iterator[PointData]:
    """The load points; none more of an engine of ours that is dead: leaving it says why it died,
    which a worker that finds nobody there does not know. What the worker said is kept in `lost`."""
    try:
        yield from loads
    except BenchError as error:
        if server.pid is None or server.is_alive():
            raise
        lost.append(error)


@contextlib.contextmanager
def _served(
    spec: RunSpec, path: Path, meter: Watch, progress: ProgressCallback
) -> Iterator[Server]:
    """The server between its two idle baselines: before it is launched, and before any load."""
    meter.idle("before_launch", progress)
    with load_engine(spec.engine.kind).serve(spec, path, progress) as server:
        meter.idle("resident", progress)
        yield with_files(server, spec)


def with_files(server: Server, spec: RunSpec) -> Server:
    """The server with the folder of its checkpoint where vLLM fetched it from the hub: its hashes
    and its own tokenizer are there."""
    if server.engine != "vllm" or server.model_path is not None:
        return server
    weights = resolve_weights(spec.model, spec.quant)
    if weights.source != "hub" or weights.location is None:
        return server
    return replace(server, model_path=in_hub_cache(weights.location, weights.revision))


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
    try:
        recorder = _Recorder(run, path)
    except StoreError:
        if not run.earlier:
            discard_run(path)
        raise
    try:
        yield recorder
        recorder.note(status="complete")
    except BaseException as error:
        with ending.undisturbed():
            _record_failure(recorder, error)
            if isinstance(error, (BenchError, KeyboardInterrupt)):
                _say_what_is_kept(error, path, resumed=bool(run.earlier))
        raise
    ending.release(path)


def _record_failure(recorder: _Recorder, error: BaseException) -> None:
    """How the run ended: into run.json or, where the disk is what failed, into the room taken."""
    by = _ended_by(error, served=recorder.run.server is not None)
    # The name of a signal is no sentence; what every other error says is.
    said = "" if isinstance(error, KeyboardInterrupt) else plain(str(error))
    reason = said or ending.words("failed", by)
    ending.note_in_place(recorder.path, by, reason)
    with contextlib.suppress(StoreError):
        recorder.note(status="failed", failure=reason, ended_by=by)
        ending.release(recorder.path)


def _ended_by(error: BaseException, *, served: bool) -> str:
    """The kind of ending that an exception stands for: a key of `ending.WORDS`."""
    if isinstance(error, KeyboardInterrupt):
        return str(error) if str(error) in ending.WORDS else "SIGINT"
    if isinstance(error, EngineError):
        return "engine_died" if served else "engine_start"
    return "disk_full" if isinstance(error, StoreError) and error.full else "error"


def _say_what_is_kept(error: BenchError | KeyboardInterrupt, path: Path, *, resumed: bool) -> None:
    """Name the folder in the message; a run that left nothing but its own name goes."""
    kept = sum(p.parent.suffix != ".part" for p in (path / "points").glob("*/point.json"))
    if not kept and not resumed and not (path / "engine.log").exists():
        discard_run(path)
        return
    what = f"{kept} load points are" if kept != 1 else "1 load point is"
    where = f"{what} kept in {path}."
    if isinstance(error, KeyboardInterrupt):
        error.args = (*(error.args or ("SIGINT",)), where)
    else:
        said = str(error) if str(error).endswith((".", "?", "log")) else f"{error}."
        error.args = (f"{said} {where}",)


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


def storable(spec: RunSpec) -> RunSpec:
    """The run as it may be stored: of headers that the user adds, the names alone."""
    if not isinstance(spec.engine, EndpointSpec):
        return spec
    names = dict.fromkeys(spec.engine.extra_headers, "(not stored)")
    return replace(spec, engine=replace(spec.engine, extra_headers=names))


def describe(server: Server) -> dict[str, Any]:
    """What may be stored of a server: everything but its headers, which may hold a key."""
    described: dict[str, Any] = encode(replace(server, headers={}))
    del described["headers"]
    described["process_start_s"] = engine_stats.process_start_s(server)
    return described


def _engine_facts(server: Server) -> dict[str, Any] | None:
    if server.log_path is None:
        return None
    found = log_facts(server.engine, server.log_path.read_text(errors="replace"))
    return None if found is None else encode(found)


def _calibration(path: Path, progress: ProgressCallback) -> dict[str, Any] | None:
    """The instrument's own error at the busiest load point, and at every one that this error would
    fail, though it was not measured at its load; None when nothing was measured."""
    from bench.derive import derive
    from bench.traffic.calibrate import calibrate

    run = load_run(path)
    points = derive(run).points
    if not points:
        return None
    busiest = max(points, key=lambda p: known(p, "output_tokens_per_s") or 0.0)
    shape = shape_of(run, busiest)
    if shape is None:
        return None
    found: dict[str, Any] = encode(calibrate(shape, progress))
    own = {}
    for point in points:
        if point is not busiest and too_large(found, point.metrics) is not None:
            shape = shape_of(run, point)
            if shape is not None:
                own[str(point.point.index)] = encode(calibrate(shape, progress))
    return {**found, "by_load": own}
