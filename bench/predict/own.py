"""Runs of one's own as evidence: their load points as rows, kept beside the runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.measure.measurement import Measurement, PointMeasurement
from bench.measure.metrics import Metric
from bench.predict.evidence import Row, read, write
from bench.predict.noise import launch
from bench.predict.question import question
from bench.sizing.headroom import typical
from bench.values.confidence import normal_quantile
from bench.values.cores import host_words
from bench.values.count_words import agreeing, count
from bench.values.errors import InputError
from bench.values.record import Run
from bench.values.spec import EndpointSpec, WorkloadSpec

NAME = "predict-own.csv"
ALIKE = 1.15
"""How many times more cores an engine may have had for a run to count."""


def kept(results_dir: str) -> tuple[Row, ...]:
    """The rows of one's own runs that a refit has kept there; none where there was no refit."""
    path = Path(results_dir) / NAME
    if not path.is_file():
        return ()
    try:
        return tuple(replace(row, own=True) for row in read(path))
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}): delete it and refit.") from error


def keep(rows: Iterable[Row], results_dir: str) -> tuple[Row, ...]:
    """Add rows to those that are kept, a run's earlier ones replaced; all of them."""
    rows = tuple(rows)
    again = {(r.model, launch(r)) for r in rows}
    every = (*(r for r in kept(results_dir) if (r.model, launch(r)) not in again), *rows)
    write(every, Path(results_dir) / NAME)
    return every


def rows_of(run: Run, measured: Measurement) -> list[Row]:
    """A row for every trusted load point of a run; InputError, naming the run, where none is.

    Closed loops count with their concurrency, open ones with what Little's law says was in flight.
    A server that was only found has to be said of which model and on which GPUs it served.
    """
    refused = [f.text for f in measured.findings if f.severity == "fail"]
    if refused:
        raise InputError(f"{run.path} is not valid ({refused[0]}): not taken.")
    engine = run.spec.engine
    if isinstance(engine, EndpointSpec) and (engine.expects_model is None or not run.spec.gpus):
        raise InputError(
            f"{run.path}: which model served on which hardware was not said of this endpoint: not "
            "taken. Measure it with model=NAME gpu=NAME gpus=N."
        )
    if run.spec.engine.kind == "truth":
        raise InputError(f"{run.path}: a truth server's run says nothing of hardware: not taken.")
    if measured.rehearsal is not None:
        raise InputError(f"{run.path}: a rehearsal measured nothing: not taken.")
    found = [row for p in measured.points if (row := _row(run, p)) is not None]
    if not found:
        raise InputError(f"{run.path}: no load point has a trusted output rate: nothing to learn.")
    return found


def left_out(measured: Measurement, rows: Sequence[Row]) -> list[str]:
    """The labels of load points that gave no row."""
    taken = {r.id.rpartition("/")[2] for r in rows}
    return [p.point.label for p in measured.points if p.point.label not in taken]


def _row(run: Run, point: PointMeasurement) -> Row | None:
    figure = {n: m.value for n, m in point.metrics.items()}
    rate, requests = figure.get("output_tokens_per_s"), figure.get("requests_per_s")
    if not rate or not requests or not point.valid:
        return None
    prompt = (figure.get("input_tokens_per_s") or 0.0) / requests
    answer = rate / requests
    spec = replace(run.spec, workload=_lengths(run.spec.workload, prompt, answer))
    at_once, e2e_ms = point.point.concurrency, figure.get("e2e_mean_ms")
    if at_once is None and e2e_ms is None:
        return None  # how many were in flight is not known
    asked = replace(
        question(spec),
        input_tokens=prompt or typical(run.spec.workload.input_tokens),
        output_tokens=answer,
    )
    in_flight = float(at_once or requests * (e2e_ms or 0.0) / 1e3)
    row = asked.row(max(in_flight, 1.0), tokens_per_s=rate, own=True)
    name = Path(run.path).name
    return replace(
        row,
        id=f"{name}/{point.point.label}",
        source=run.path,
        date=run.anchor.wall_iso[:10],
        version=str((run.server or {}).get("engine_version") or ""),
        itl_ms=figure.get("tpot_p50_ms"),
        ttft_ms=figure.get("ttft_p50_ms"),
        log_sd=scatter(point.metrics["output_tokens_per_s"]),
        host=_host(run) if row.gpu == "cpu" else "",
        cores=_cores(run) if row.gpu == "cpu" else None,
    )


def _host(run: Run) -> str:
    return host_words(run.provenance.get("host_cpu"), run.provenance.get("host_cpu_count"))


def _cores(run: Run) -> float | None:
    """Cores of the host that the engine had; None where that is not known."""
    count = run.provenance.get("host_cpu_count")
    return count - len((run.server or {}).get("client_cores", ())) if count else None


def scatter(rate: Metric) -> float | None:
    """Log standard error of a rate by its 95 % interval over repeats; None where it has none.

    A machine that other work shares scatters, and what is learnt on it is as unsure.
    """
    if rate.ci_low is None or rate.ci_high is None or not rate.value:
        return None
    return math.log1p((rate.ci_high - rate.ci_low) / 2 / rate.value) / normal_quantile()


def _lengths(workload: WorkloadSpec, prompt: float, answer: float) -> WorkloadSpec:
    """The workload with the measured means, and no prefix counted twice."""
    return replace(
        workload,
        input_tokens=max(1, round(prompt)) if prompt else workload.input_tokens,
        output_tokens=max(1, round(answer)),
        shared_prefix_tokens=0,
    )


def about(rows: Sequence[Row], asked: Row) -> list[Row]:
    """Own rows of the same engine and device; of a processor, of this one with about as many cores
    for the engine."""
    return [r for r in rows if (r.engine, r.gpu) == (asked.engine, asked.gpu) and _here(r, asked)]


def _here(row: Row, asked: Row) -> bool:
    if asked.gpu != "cpu":
        return True
    cores = (row.cores or 0.0) / (asked.cores or 1.0)
    return row.host == asked.host and 1 / ALIKE <= cores <= ALIKE


def of_model(mine: Sequence[Row], asked: Row) -> list[Row]:
    """Own rows of the asked model; all where there are none of it."""
    return [r for r in mine if r.model == asked.model] or list(mine)


def usable(rows: Sequence[Row], asked: Row) -> list[Row]:
    """Own rows that a fit may learn from: of a GPU all GPUs', of a processor its own alone."""
    if asked.gpu == "cpu":
        return about(rows, asked)
    return [r for r in rows if r.gpu != "cpu"]


def elsewhere(rows: Sequence[Row], asked: Row) -> tuple[str, ...]:
    """A note of own rows that do not count for this question, by engine and device."""
    others = [r for r in rows if r not in about(rows, asked)]
    if not others:
        return ()
    where = {f"{r.engine} on {_device(r)}" for r in others}
    own = f"{count(len(others), 'load point')} of your own {agreeing(len(others), 'are')}"
    return (f"{own} of others: {'; '.join(sorted(where))}",)


def beyond(asked: Row, mine: Sequence[Row]) -> str | None:
    """A note where the load lies outside of one's own of the model; None where it lies among them
    or there are none."""
    own = [r.concurrency for r in mine if r.model == asked.model and r.concurrency]
    if not own or not asked.concurrency or min(own) <= asked.concurrency <= max(own):
        return None
    return (
        f"outside of your own loads ({min(own):,.0f} to {max(own):,.0f} in flight): the band was "
        "held between loads, not beyond them"
    )


def no_processor(rows: Sequence[Row], asked: Row) -> str:
    """Why nothing can be said of a processor: what one load shows says nothing of others, for its
    limits are in no data sheet."""
    kept_of = "".join(f" What is kept: {text}." for text in elsewhere(rows, asked))
    found = "one load alone" if about(rows, asked) else "no evidence"
    return (
        f"{found} of {asked.engine} on this processor ({_device(asked)}): bring runs of your own "
        f"at two loads in with bench predict --refit RUN RUN, or name a gpu=.{kept_of}"
    )


def _device(row: Row) -> str:
    if row.gpu != "cpu":
        return row.gpu
    return f"{row.host or 'an unknown processor'}, {row.cores or 0:g} for the engine"
