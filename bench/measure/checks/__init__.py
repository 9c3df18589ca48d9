"""The validity certificate: every check that a load point has to pass, each with its figure.

Fail closed: a failed check withholds what it can move and keeps the raw data. A check that could
not be made says so. Thresholds stand beside the check that uses them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.measure.checks.arrivals import achieved_rate, overload
from bench.measure.checks.client import client_bound
from bench.measure.checks.consistency import consistency
from bench.measure.checks.engine import chunk_truth, preemptions, prefix_cache, token_counts
from bench.measure.checks.requests import clock_sanity, error_rate, output_length
from bench.measure.checks.server import bursts, hidden_tokens, overcounted, prompt_length
from bench.measure.checks.slots import lost_slots
from bench.measure.checks.steadiness import enough_repeats, enough_samples, precision, steady_state
from bench.measure.metrics import Metric, Steady
from bench.values.finding import Finding
from bench.values.record import PointData
from bench.values.spec import LoadSpec, WorkloadSpec


def certificate(
    repeats: Sequence[PointData],
    parts: Sequence[Steady],
    metrics: Mapping[str, Metric],
    *,
    load: LoadSpec,
    workload: WorkloadSpec,
    exact_lengths: bool,
    goes_on: bool = False,
    calibration: Mapping[str, Any] | None,
) -> tuple[Finding, ...]:
    """All checks of one load point over its repeats."""
    buffered = bursts(repeats)
    found = [
        clock_sanity(repeats),
        error_rate(repeats, load.max_error_rate),
        steady_state(repeats, parts, moving=load.mode == "ramp" or load.arrival == "trace"),
        *client_bound(
            repeats,
            parts,
            metrics,
            calibration,
            wanted=load.calibrate,
            held_back=load.max_in_flight is not None,
            buffered=buffered,
        ),
        *token_counts(repeats),
        output_length(repeats, exact=exact_lengths, goes_on=goes_on),
        prompt_length(repeats),
        buffered,
        *(f for f in (overcounted(repeats), hidden_tokens(repeats)) if f is not None),
        chunk_truth(repeats),
        *consistency(parts),
        preemptions(repeats),
        prefix_cache(repeats, workload),
        enough_repeats(parts),
        precision(metrics),
        enough_samples(metrics, parts),
    ]
    if repeats and repeats[0].point.mode != "closed":
        found += [achieved_rate(repeats, load.max_in_flight), overload(parts)]
    elif parts:
        found.append(lost_slots(parts))
    return tuple(found)
