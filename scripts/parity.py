"""bench beside vLLM's own serving benchmark: same server, same concurrency, same lengths.

    python scripts/parity.py [--out FILE] [MODEL] [CONCURRENCY] [REQUESTS] [ROUNDS] [KEY=VALUE …]

Starts vLLM once (as `bench model=MODEL` would), then lets both clients send the same number of
requests in turns, and prints what each counted and measured. Is bench's output rate within 2 % of
the other's? Exit code 0: the whole 95 % interval over rounds is, and the token counts are equal; 3:
none of it is, or they are not; 4: a part of it, or bench's own client was the limit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.compare.gpu_time import EXIT_CODES
from bench.config.compose import catalogue, compose, run_spec
from bench.derive import measure_point
from bench.engines import load_engine
from bench.host.provenance import anchor
from bench.measure.measurement import PointMeasurement
from bench.measure.metrics import Metric
from bench.measure.stats import Judgement, t_interval, within
from bench.preflight import preflight
from bench.run import describe
from bench.traffic import vllm_generator
from bench.traffic.plan import plan, warm_ups
from bench.traffic.workers import send_load
from bench.values.record import LoadPoint, PointData, Run
from bench.values.server import Server
from bench.values.spec import RunSpec

SHOWN = (
    "output_tokens_per_s",
    "requests_per_s",
    "ttft_p50_ms",
    "ttft_p99_ms",
    "tpot_p50_ms",
    "itl_p50_ms",
    "e2e_p50_ms",
)
TOLERANCE = 0.02


def main(argv: Sequence[str] | None = None) -> int:
    """Run both, print the table, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    parser.add_argument("words", nargs="*", metavar="MODEL CONCURRENCY REQUESTS ROUNDS KEY=VALUE")
    asked = parser.parse_args(argv)
    overrides = [word for word in asked.words if "=" in word]
    given = [word for word in asked.words if "=" not in word]
    given += ("tiny", "16", "192", "4")[len(given) :]
    model, concurrency, requests, rounds = given[0], *map(int, given[1:4])
    words = [f"model={model}", f"load.concurrency=[{concurrency}]", f"load.requests={requests}"]
    spec = run_spec(compose([*words, f"load.repeats={rounds}", "load.calibrate=false", *overrides]))
    spec, _ = preflight(spec, catalogue())
    with (
        tempfile.TemporaryDirectory() as folder,
        load_engine("vllm").serve(spec, Path(folder), lambda _: None) as server,
    ):
        ours, theirs = in_turns(spec, server, concurrency, requests, rounds)
    points = measured(spec, server, ours), measured(spec, server, theirs)
    show(*points)
    answer, document = verdict(ours, theirs, client_bound(points[0]))
    if asked.out is not None:
        asked.out.write_text(json.dumps(document, indent=1) + "\n")
    print(document["text"])
    return EXIT_CODES[answer]


def in_turns(
    spec: RunSpec, server: Server, concurrency: int, requests: int, rounds: int
) -> tuple[list[PointData], list[PointData]]:
    """Each round both, and who begins changes: a drift of the server favours neither."""
    for point in warm_ups(spec.load):
        send_load(server, point, plan(spec, server, point).requests, timeout_s=600)
    ours: list[PointData] = []
    theirs: list[PointData] = []
    for repeat in range(rounds):
        point = LoadPoint(index=0, repeat=repeat, mode="closed", concurrency=concurrency)
        print(f"round {repeat + 1} of {rounds}", file=sys.stderr, flush=True)
        for own in (True, False) if repeat % 2 == 0 else (False, True):
            if own:
                own_requests = plan(spec, server, point).requests
                ours.append(send_load(server, point, own_requests, timeout_s=600))
            else:
                theirs.append(
                    vllm_generator.run_benchmark(
                        server, point, spec.workload, requests, seed=repeat, timeout_s=600
                    )
                )
    return ours, theirs


def measured(spec: RunSpec, server: Server, repeats: list[PointData]) -> PointMeasurement:
    """The same derivation for both, from the stamps that each client took."""
    run = Run(spec=replace(spec, seed=0), anchor=anchor(), server=describe(server))
    point: PointMeasurement = measure_point(run, repeats)
    return point


def show(ours: PointMeasurement, theirs: PointMeasurement) -> None:
    """Both clients' figures beside each other."""
    print(f"{'':24}{'bench':>22}{'vllm benchmark':>22}")
    for name in SHOWN:
        a, b = _shown(ours.metrics[name]), _shown(theirs.metrics[name])
        print(f"{name:24}{a:>22}{b:>22}")


def client_bound(ours: PointMeasurement) -> str | None:
    """Why bench's own client was the limit; None when it was not."""
    return next(
        (
            f.text
            for f in ours.findings
            if f.code in ("client_bound", "client_cpu") and f.severity == "fail"
        ),
        None,
    )


def verdict(
    ours: Sequence[PointData], theirs: Sequence[PointData], bound: str | None
) -> tuple[Judgement, dict[str, Any]]:
    """The answer, and the figures it rests on: rates of whole rounds, paired."""
    counts = [(_asked(data), _tokens(data)) for data in (ours, theirs)]
    same = counts[0][0] == counts[0][1] == counts[1][1]
    rates = [[_rate(d) for d in data] for data in (ours, theirs)]
    ratios = [a / b - 1 for a, b in zip(*rates, strict=True)]
    interval = t_interval(ratios)
    answer = within(interval, -TOLERANCE, TOLERANCE)
    said = (
        ""
        if interval is None
        else (f", 95 % interval {interval[0]:+.2%} to {interval[1]:+.2%} over {len(ratios)} rounds")
    )
    text = (
        f"output rate of bench against vllm benchmark: {float(np.mean(ratios)):+.2%}{said}\n"
        f"within {TOLERANCE:.0%}: {answer}"
    )
    if bound is not None:
        answer, text = "unclear", f"{text}, but bench's client was the limit: {bound}"
    if not same:
        answer = "no"
    text += "\n" + (
        f"token counts equal: {counts[0][1]:,} each" if same else f"TOKEN COUNTS DIFFER: {counts}"
    )
    return answer, {
        "answer": answer,
        "text": text,
        "ratios": ratios,
        "interval": interval,
        "rates_bench": rates[0],
        "rates_vllm": rates[1],
        "tolerance": TOLERANCE,
        "tokens_requested_and_counted": counts,
    }


def _asked(repeats: Sequence[PointData]) -> int:
    return sum(int(d.requests["requested_tokens"].sum()) for d in repeats)


def _tokens(repeats: Sequence[PointData]) -> int:
    return sum(int(d.chunk_tokens.sum()) for d in repeats)


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
