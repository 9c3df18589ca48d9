"""From a raw Run to its Measurement: a pure function, run as often as one likes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from bench.measure.checks import certificate
from bench.measure.checks.moves import withhold
from bench.measure.client_error import at_load
from bench.measure.measurement import Measurement, PointMeasurement
from bench.measure.metrics import measure_all, steady_parts, whole_parts
from bench.measure.rehearsal import as_rehearsed, rehearsed
from bench.measure.trust import held_to_run
from bench.power import of_run as power
from bench.power.measure import Metered
from bench.predict import against
from bench.quality.trust import quality_findings
from bench.sizing.against_measured import MeasuredMemory, compare_fit
from bench.sizing.report import FitReport
from bench.sizing.utilised import against_hardware, speculation_finding
from bench.traffic.search import search_findings
from bench.values import ending
from bench.values.codec import decode
from bench.values.engine_words import same_engine, same_version
from bench.values.finding import Finding, finding
from bench.values.fit_error import FitError
from bench.values.model_names import another_model, doubtful
from bench.values.prediction import Prediction, PredictionError
from bench.values.record import SCHEMA_VERSION, PointData, Run, counting
from bench.values.spec import EndpointSpec

_ON_A_HOST = "private memory of the engine's processes, after the load"
_ON_GPUS = "rise of used memory per GPU, from before the launch to readiness"


def derive(run: Run) -> Measurement:
    """Every number of a run, with the findings that go with it."""
    how = power.metered_run(run)
    points = tuple(
        measure_point(run, list(group), how)
        for _, group in groupby(run.points, key=lambda d: d.point.index)
    )
    findings, stand_in = run_findings(run), rehearsed(run)
    points = held_to_run(points, findings, stand_in)
    return Measurement(
        points=points,
        findings=findings,
        calibration=dict(run.calibration or {}),
        fit_errors=fit_errors(run, how),
        prediction_errors=prediction_errors(run, points),
        rehearsal=stand_in,
        power=power.run_document(run, how),
        found_index=(run.load_search or {}).get("found_index"),
    )


def fit_errors(run: Run, how: Metered) -> tuple[FitError, ...]:
    """Predicted against measured memory; empty without a prediction or a word from the engine."""
    if run.fit is None or run.engine_facts is None:
        return ()
    facts = run.engine_facts
    source = "engine log"
    peak_gib, peak_source = facts.get("private_memory_gib"), _ON_A_HOST
    if run.spec.gpus:
        rise = power.point_memory(run, how, ())["engine_reserved_gib"]
        known = rise.value is not None and rise.arose == "measured"  # not replayed
        peak_gib = (rise.value or 0.0) / run.spec.gpus if known else None
        peak_source = _ON_GPUS
    measured = MeasuredMemory(
        weights_gib=facts.get("weights_gib"),
        kv_tokens=facts.get("kv_cache_tokens"),
        peak_gib=peak_gib,
        peak_source=peak_source,
        weights_source=source,
        kv_source=source,
    )
    return compare_fit(decode(FitReport, run.fit, "fit"), measured)


def prediction_errors(run: Run, points: Sequence[PointMeasurement]) -> tuple[PredictionError, ...]:
    """Predicted against measured figures by load point; empty where nothing was predicted."""
    told = (run.prediction or {}).get("points") or ()
    return against.errors([decode(Prediction, one, "prediction") for one in told], points)


def measure_point(
    run: Run, repeats: list[PointData], how: Metered | None = None
) -> PointMeasurement:
    """All metrics and checks of one load point; headline figures withheld when a check failed."""
    spec = run.spec
    every, repeats = repeats, counting(repeats)
    parts = steady_parts(repeats, spec.workload.slo, spec.gpus, spec.load.request_timeout_s * 1e3)
    metrics = measure_all(parts, whole_parts(repeats, spec.workload.slo, spec.gpus))
    server = run.server or {}
    shares, below_bound = against_hardware(spec, parts, metrics)
    metrics |= shares
    how = power.covering(run, how or power.metered_run(run), repeats)
    drawn = power.point_power(run, how, parts)
    metrics |= drawn.metrics
    checks = certificate(
        repeats,
        parts,
        metrics,
        load=spec.load,
        workload=spec.workload,
        exact_lengths=bool(server.get("ignore_eos")) and spec.engine.kind != "endpoint",
        goes_on=bool(server.get("ignore_eos")),
        calibration=at_load(run.calibration, repeats[0].point.index),
    )
    drafted = speculation_finding(parts)
    said = (*drawn.findings, *measured_again(every), *relaunched(run, repeats))
    findings = (*checks, below_bound, *((drafted,) if drafted else ()), *said)
    shown = withhold(metrics, findings)
    shown = shown | power.point_memory(run, how, repeats)
    return PointMeasurement(
        point=repeats[0].point,
        requests=sum(d.count for d in repeats),
        window_s=tuple(p.window.seconds for p in parts),
        metrics=as_rehearsed(shown) if rehearsed(run) else shown,
        findings=findings,
        power=drawn.details,
    )


def measured_again(repeats: Sequence[PointData]) -> Iterator[Finding]:
    """How many tries do not count, and why."""
    causes = [d.discarded for d in repeats if d.discarded is not None]
    if causes:
        text = (
            f"{len(causes)} of {len(repeats)} repeats were disturbed from outside the engine and "
            f"measured again; all are kept: {causes[0]}"
        )
        yield finding("measured_again", "info", text, float(len(causes)), "repeats")


def relaunched(run: Run, repeats: Sequence[PointData]) -> Iterator[Finding]:
    """How many starts of the engine the repeats of a load point are from, where it was several."""
    count = len({d.launch for d in repeats})
    if count > 1:
        text = (
            f"the run was interrupted and resumed: these repeats are from {count} starts of the "
            "engine, and ± holds what differs between starts only as far as they show it"
        )
        yield finding("relaunched", "warn", text, float(count), "launches")


def run_findings(run: Run) -> tuple[Finding, ...]:
    """What is to be said of the run as a whole."""
    found: list[Finding] = []
    if run.status != "complete":
        how = ending.words(run.status, run.ended_by)
        unfinished = "it still runs" if run.status == "running" else "the run did not finish"
        text = run.failure or unfinished
        text = text if run.ended_by in (None, "error") or text == how else f"{how}: {text}"
        found.append(Finding(code="incomplete", severity="fail", text=text))
    stand_in = rehearsed(run)
    if stand_in is not None:
        text = f"{stand_in}. In a rehearsal nothing is measured: quote none of its numbers"
        found.append(Finding(code="rehearsal", severity="warn", text=text))
    found += [
        Finding(
            code="set_aside", severity="info", text=f"load points of launch {n} do not count: {why}"
        )
        for n, launch in enumerate(run.earlier)
        if (why := launch.set_aside) is not None
    ]
    if run.schema_version < SCHEMA_VERSION:
        found.append(Finding(code="older_run", severity="info", text=_since_stored(run)))
    found += search_findings(run.load_search)
    found += quality_findings(run)
    found += served_findings(run)
    found += trace_findings(run)
    if run.spec.model.weights == "dummy":
        text = "random weights: speed, memory and power are real, there is no quality"
        found.append(Finding(code="dummy_weights", severity="info", text=text))
    if run.spec.load.generator != "bench":
        text = f"measured by {_measured_by(run)}: how late its client was is not known"
        found.append(Finding(code="other_client", severity="warn", text=text))
    if run.spec.engine.kind == "truth":
        text = "the truth server is a schedule, not a model: this run says nothing about hardware"
        found.append(Finding(code="truth_server", severity="info", text=text))
    return tuple(found)


def _measured_by(run: Run) -> str:
    """The tool that sent the load, and the file where its result was imported from one."""
    imported = run.provenance.get("imported") or {}
    version = imported.get("version")
    name = f"{run.spec.load.generator} {version}" if version else run.spec.load.generator
    return f"{name} (imported from {imported['file']})" if "file" in imported else name


def _since_stored(run: Run) -> str:
    """Where the figures of a run of the first schema differ from those that were printed then."""
    if run.spec.load.mode == "closed":
        moved = "rates, goodput and what is per token or request (over whole waves now)"
    else:
        moved = "latencies, rates and goodput (of all requests now, those that waited longest, too)"
    return (
        f"stored by an earlier bench (schema {run.schema_version}), read by today's definitions. "
        f"What was printed then may differ: {moved}; p90 and p99 (of all repeats together now) and "
        "their intervals (none below three repeats); latencies beside failures (a failed request "
        "counts with its deadline now)"
    )


def trace_findings(run: Run) -> list[Finding]:
    """How a trace was read: a wrong unit is a load a thousand times too fast."""
    w = run.spec.workload
    if w.file is None or w.time_unit is None:
        return []
    text = f"the trace's stamps were read in {w.time_unit}"
    if w.hash_block_tokens is not None:
        text += f", its hash ids as {w.hash_block_tokens} shared tokens each"
    return [Finding(code="trace_read", severity="info", text=text)]


def _told_otherwise(server: Mapping[str, Any], engine: EndpointSpec) -> list[Finding]:
    """Where the server says another engine or version of itself than was typed."""
    serves, version = server.get("serves"), server.get("engine_version")
    wrong = []
    if engine.serves is not None and serves and not same_engine(engine.serves, serves):
        wrong.append(f"engine.serves={engine.serves} was typed, the server says {serves}")
    if engine.version is not None and version and not same_version(engine.version, version):
        wrong.append(f"engine.version={engine.version} was typed, the server says {version}")
    if engine.version is not None and wrong and not version:
        wrong.append(f"engine.version={engine.version} is not taken for {serves}'s")
    if not wrong:
        return []
    text = f"{'; '.join(wrong)}: what it says stands"
    return [Finding(code="told_otherwise", severity="warn", text=text)]


def served_findings(run: Run) -> list[Finding]:
    """What a server that was only found does otherwise than asked."""
    server = run.server or {}
    found = []
    left_out = server.get("left_out") or ()
    if left_out:
        text = f"the server was asked without {'; '.join(left_out)}"
        found.append(Finding(code="left_out", severity="info", text=text))
    engine = run.spec.engine
    found += _told_otherwise(server, engine) if isinstance(engine, EndpointSpec) else []
    name = engine.expects_model if isinstance(engine, EndpointSpec) else None
    asked, listed = server.get("served_model") or "", tuple(server.get("models") or ())
    wrong = another_model(name, asked, listed) if server else None
    if wrong is not None:
        found.append(Finding(code="served_model", severity="fail", text=wrong))
    elif (doubt := doubtful(asked, listed, server.get("answers_as"))) is not None:
        found.append(Finding(code="served_model", severity="warn", text=doubt))
    return found
