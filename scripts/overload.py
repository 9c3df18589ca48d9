"""A real vLLM at rising open-loop rates until it cannot keep up: what each clock says of it.

    python scripts/overload.py [MODEL] [SECONDS] [MAX_IN_FLIGHT]

Starts vLLM once, measures what it can do in a closed loop, then lets requests arrive (Poisson) at
shares of that from 0.4 to 2.8. At most MAX_IN_FLIGHT are sent at once, as a pool of connections
would: from there on, latency counted from the moment of sending hides the waiting that latency from
the scheduled time shows. One repeat each: `bench load=saturate` finds the knee with confidence.
Exit code 1 when no knee lies between the rates, or the clocks agree beyond it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from asked_help import answer_help

from bench.config.compose import catalogue, compose, run_spec
from bench.engines import load_engine
from bench.measure.metrics import METRICS, Metric, measure, steady_parts
from bench.preflight import preflight
from bench.traffic.judge import growth_margin
from bench.traffic.points import Driver
from bench.values.record import LoadPoint, PointData
from bench.values.spec import RunSpec

SHARES = (0.4, 0.7, 1.0, 1.4, 2.0, 2.8)
SLOTS = 16
SHOWN = ("ttft_p50_ms", "ttft_p99_ms", "ttft_sched_p50_ms", "ttft_sched_p99_ms")
HIDDEN = 2.0
"""Scheduled-time p99 ÷ sent-time p99 beyond the knee: by less, nothing was hidden."""


def main() -> int:
    """Run the rates, print the table, name the knee."""
    given = [*sys.argv[1:], *("tiny", "12", "32")[len(sys.argv) - 1 :]]
    model, seconds, most = given[0], float(given[1]), int(given[2])
    words = [f"model={model}", "load=open", "load.calibrate=false", "load.rate_per_s=[1]"]
    words += [f"load.duration_s={seconds}", f"load.max_in_flight={most}"]
    spec, _ = preflight(run_spec(compose(words)), catalogue())
    with (
        tempfile.TemporaryDirectory() as folder,
        load_engine(spec.engine.kind).serve(spec, Path(folder), lambda _: None) as server,
    ):
        driver = Driver(spec, server, lambda _: None)
        driver.warm_up()
        closed = LoadPoint(index=len(SHARES), repeat=0, mode="closed", concurrency=SLOTS)
        full_per_s = shown(spec, driver.measure(closed, "closed loop"))["requests_per_s"]
        print(f"closed loop of {SLOTS}: {full_per_s:.1f} requests/s\n")
        print(
            f"{'req/s':>8}{'completed':>11}{'growth':>9}  {'keeps up':10}"
            f"{'TTFT p50':>10}{'p99 sent':>10}{'p50':>10}{'p99 scheduled, ms':>20}"
        )
        rows = [
            row(spec, driver, LoadPoint(index=i, repeat=0, mode="open", rate_per_s=rate))
            for i, rate in enumerate(round(share * full_per_s, 1) for share in SHARES)
        ]
    return verdict(rows)


def row(spec: RunSpec, driver: Driver, point: LoadPoint) -> tuple[float, bool, float]:
    """Measure and print one rate: (rate, whether it is kept up with, scheduled ÷ sent p99)."""
    data = driver.measure(point, point.label)
    margin, found = growth_margin(data), shown(spec, data)
    holds, seen = margin.value <= 0, margin.seen
    print(
        f"{point.rate_per_s:>8.1f}{seen['completed_per_s']:>11.1f}"
        f"{seen['queue_growth_per_s']:>9.2f}  {'yes' if holds else 'no':10}"
        + "".join(f"{found[name]:>10.1f}" for name in SHOWN),
        flush=True,
    )
    assert point.rate_per_s is not None
    return point.rate_per_s, holds, found["ttft_sched_p99_ms"] / found["ttft_p99_ms"]


def shown(spec: RunSpec, data: PointData) -> dict[str, float]:
    """The figures of one repeat by name; NaN where there is none."""
    parts = steady_parts([data], spec.workload.slo, spec.gpus)
    wanted = (*SHOWN, "requests_per_s")
    metrics: dict[str, Metric] = {d.name: measure(d, parts) for d in METRICS if d.name in wanted}
    return {n: float("nan") if m.value is None else m.value for n, m in metrics.items()}


def verdict(rows: list[tuple[float, bool, float]]) -> int:
    """Name the knee; 1 when there is none, or when the two clocks agree at the highest rate."""
    over = min((rate for rate, holds, _ in rows if not holds), default=None)
    under = max(
        (rate for rate, holds, _ in rows if holds and (over is None or rate < over)), default=None
    )
    if over is None or under is None:
        print("\nno knee between these rates")
        return 1
    hidden = rows[-1][2]
    print(
        f"\nknee: keeps up at {under:.1f} requests/s, not at {over:.1f}; at "
        f"{rows[-1][0]:.1f} p99 from the scheduled time is {hidden:.1f} times p99 from sending"
    )
    return 0 if hidden >= HIDDEN else 1


if __name__ == "__main__":
    answer_help(__doc__)
    sys.exit(main())
