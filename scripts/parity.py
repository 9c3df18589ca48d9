"""bench beside vLLM's own serving benchmark: same server, same concurrency, same lengths.

    python scripts/parity.py [MODEL] [CONCURRENCY] [REQUESTS] [ROUNDS] [KEY=VALUE ...]

Starts vLLM once (as `bench model=MODEL` would), then lets both clients send the same number of
requests in turns, and prints what each counted and measured. Exit code 3 when the token counts
differ or bench's output rate is more than 5 % below the other's.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.compose import catalogue, compose, run_spec
from bench.derive import measure_point
from bench.engines import load_engine
from bench.load import vllm_generator
from bench.load.workers import drive
from bench.metrics import Metric, PointMeasurement
from bench.plan import plan, warm_ups
from bench.preflight import preflight
from bench.provenance import anchor
from bench.record import LoadPoint, PointData, Run
from bench.run import describe
from bench.server import Server
from bench.spec import RunSpec

SHOWN = (
    "output_tokens_per_s", "requests_per_s", "ttft_p50_ms", "ttft_p99_ms", "tpot_p50_ms",
    "itl_p50_ms", "e2e_p50_ms",
)  # fmt: skip
TOLERANCE = 0.05


def main() -> int:
    """Run both, print the table, judge."""
    overrides = [word for word in sys.argv[1:] if "=" in word]
    given = [word for word in sys.argv[1:] if "=" not in word]
    given += ("tiny", "16", "192", "3")[len(given) :]
    model, concurrency, requests, rounds = given[0], *map(int, given[1:4])
    words = [f"model={model}", f"load.concurrency=[{concurrency}]", f"load.requests={requests}"]
    spec = run_spec(compose([*words, f"load.repeats={rounds}", "load.calibrate=false", *overrides]))
    spec, _ = preflight(spec, catalogue())
    with (
        tempfile.TemporaryDirectory() as folder,
        load_engine("vllm").serve(spec, Path(folder), lambda _: None) as server,
    ):
        ours, theirs = in_turns(spec, server, concurrency, requests, rounds)
    return verdict(measured(spec, server, ours), measured(spec, server, theirs), ours, theirs)


def in_turns(
    spec: RunSpec, server: Server, concurrency: int, requests: int, rounds: int
) -> tuple[list[PointData], list[PointData]]:
    """Each round: bench, then vLLM's benchmark; the server is warm before the first."""
    for point in warm_ups(spec.load):
        drive(server, point, plan(spec, server, point).requests, timeout_s=600)
    ours, theirs = [], []
    for repeat in range(rounds):
        point = LoadPoint(index=0, repeat=repeat, mode="closed", concurrency=concurrency)
        print(f"round {repeat + 1} of {rounds}", file=sys.stderr, flush=True)
        ours.append(drive(server, point, plan(spec, server, point).requests, timeout_s=600))
        theirs.append(
            vllm_generator.drive(server, point, spec.workload, requests, seed=repeat, timeout_s=600)
        )
    return ours, theirs


def measured(spec: RunSpec, server: Server, repeats: list[PointData]) -> PointMeasurement:
    """The same derivation for both, from the stamps that each client took."""
    run = Run(spec=replace(spec, seed=0), anchor=anchor(), server=describe(server))
    point: PointMeasurement = measure_point(run, repeats)
    return point


def verdict(
    ours: PointMeasurement,
    theirs: PointMeasurement,
    our_data: list[PointData],
    their_data: list[PointData],
) -> int:
    """Print the table; 0 when counts agree and the rate is within the tolerance or ours higher."""
    print(f"{'':24}{'bench':>22}{'vllm benchmark':>22}")
    for name in SHOWN:
        a, b = _shown(ours.metrics[name]), _shown(theirs.metrics[name])
        print(f"{name:24}{a:>22}{b:>22}")
    counts = [
        (sum(int(d.requests["requested_tokens"].sum()) for d in data), _tokens(data))
        for data in (our_data, their_data)
    ]
    print(f"{'output tokens':24}{counts[0][1]:>22}{counts[1][1]:>22}")
    rates = [_value(p.metrics["output_tokens_per_s"]) for p in (ours, theirs)]
    ratio = rates[0] / rates[1] - 1
    rounds = [_rate(a) / _rate(b) - 1 for a, b in zip(our_data, their_data, strict=True)]
    print(f"output rate of bench against vllm benchmark: {ratio:+.1%} "
          f"(whole rounds: median {statistics.median(rounds):+.1%})")  # fmt: skip
    same = counts[0][0] == counts[0][1] == counts[1][1]
    print("token counts equal" if same else f"TOKEN COUNTS DIFFER: {counts}")
    return 0 if same and ratio >= -TOLERANCE else 3


def _tokens(data: list[PointData]) -> int:
    return sum(int(d.chunk_tokens.sum()) for d in data)


def _rate(data: PointData) -> float:
    """Tokens over the whole time from first sent to last end, in tokens/s."""
    span_ns = int(data.requests["end_ns"].max() - data.requests["sent_ns"].min())
    return float(data.chunk_tokens.sum()) / span_ns * 1e9


def _value(metric: Metric) -> float:
    value = metric.withheld_value if metric.value is None else metric.value
    return float("nan") if value is None else value


def _shown(metric: Metric) -> str:
    value = _value(metric)
    if metric.ci_low is None or metric.ci_high is None:
        return f"{value:,.2f}"
    return f"{value:,.2f} ± {(metric.ci_high - metric.ci_low) / 2:,.2f}"


if __name__ == "__main__":
    sys.exit(main())
