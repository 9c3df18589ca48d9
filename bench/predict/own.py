"""Runs of one's own as evidence: their load points as rows, kept beside the runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.measure.metrics import Measurement, Metric, PointMeasurement
from bench.predict.evidence import Row, read, write
from bench.predict.question import question
from bench.sizing.headroom import typical
from bench.values.confidence import normal_quantile
from bench.values.errors import InputError
from bench.values.record import Run
from bench.values.spec import WorkloadSpec

NAME = "predict-own.csv"


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
    names = {r.id for r in rows}
    every = (*(r for r in kept(results_dir) if r.id not in names), *rows)
    write(every, Path(results_dir) / NAME)
    return every


def rows_of(run: Run, measured: Measurement) -> list[Row]:
    """A row for every trusted load point of a run; InputError, naming the run, where none is.

    Closed loops count with their concurrency, open ones with what Little's law says was in flight.
    """
    if run.spec.engine.kind == "truth":
        raise InputError(f"{run.path}: a truth server's run says nothing of hardware: not taken.")
    if measured.rehearsal is not None:
        raise InputError(f"{run.path}: a rehearsal measured nothing: not taken.")
    found = [row for p in measured.points if (row := _row(run, p)) is not None]
    if not found:
        raise InputError(f"{run.path}: no load point has a trusted output rate: nothing to learn.")
    return found


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
    )


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


def about(rows: Sequence[Row], engine: str, gpu: str) -> list[Row]:
    """Own rows of the same engine and device."""
    return [r for r in rows if r.engine == engine and r.gpu == gpu]
