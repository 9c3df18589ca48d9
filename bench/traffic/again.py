"""When a load point is measured once more: for precision, or because something else disturbed it.

Precision: repeats are added one by one until the 95 % interval of the output rate is as narrow as
asked for. Looking after every repeat stops at lucky scatter, and from three repeats on the interval
would cover 91 %. From PRECISION_LEAST on and with twelve at most it covers 93 % or more
(simulated: tests/traffic/test_again.py). Causes: findings that the engine has no part in. The
figure itself decides nothing. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.measure.checks.client import client_bound
from bench.measure.checks.server import bursts
from bench.measure.checks.steadiness import steady_state
from bench.measure.metrics import measure_all, steady_parts, whole_parts
from bench.measure.stats import mean_interval
from bench.values.record import PointData
from bench.values.spec import PRECISION_LEAST, RunSpec

RETRIES = {"truth": 0}
DEFAULT_RETRIES = 2
"""How often the repeats of one load point are replaced at most, unless the load says. What disturbs
the truth server's client is what it is there to find."""


def narrow_enough(rates: Sequence[float], share: float) -> bool:
    """Whether the 95 % interval of their mean reaches no further than `share` of it."""
    interval = mean_interval(rates).ends if len(rates) >= PRECISION_LEAST else None
    if interval is None:
        return False
    low, high = interval
    return (high - low) / 2 <= share * (high + low) / 2


def retries(spec: RunSpec) -> int:
    """How many repeats of one load point may be replaced."""
    asked = spec.load.max_retries
    return RETRIES.get(spec.engine.kind, DEFAULT_RETRIES) if asked is None else asked


def output_rate_of(spec: RunSpec, data: PointData) -> float | None:
    """The output rate of one repeat; None without a window."""
    parts = steady_parts([data], spec.workload.slo, spec.gpus, spec.load.request_timeout_s * 1e3)
    return measure_all(parts, [])["output_tokens_per_s"].value if parts else None


def cause_outside(spec: RunSpec, data: PointData) -> str | None:
    """What disturbed a repeat besides the engine, in words; None when nothing did.

    A client that did not get its core (`client_bound`), and in a closed loop an unsteady window
    (`steady_state`): something else used the machine, for a closed loop asks for the same all the
    time. An open loop's queue is the server's doing.
    """
    parts = steady_parts([data], spec.workload.slo, spec.gpus, spec.load.request_timeout_s * 1e3)
    if not parts or not data.workers:
        return None
    metrics = measure_all(parts, whole_parts([data], spec.workload.slo, spec.gpus))
    held_back = spec.load.max_in_flight is not None
    buffered = bursts([data])
    found = list(
        client_bound(
            [data], parts, metrics, None, wanted=False, held_back=held_back, buffered=buffered
        )
    )
    if data.point.mode == "closed":
        found.append(steady_state([data], parts))
    for f in found:
        if f.severity == "fail" and f.code in ("client_bound", "client_clocks", "steady_state"):
            return f"{f.code}: {f.text}"
    return None
