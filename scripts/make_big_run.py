"""Write a run of many requests through the real store, to see what reading it costs.

    python scripts/make_big_run.py --requests 1000000 --tokens 8 --loads 10 --repeats 3 DIR
    /usr/bin/time -v bench show latest results_dir=DIR

Closed loops of 256 slots whose requests follow each other: lognormal times to the first token and
gaps between tokens, in nanoseconds, as a client would stamp them. Seeded.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from bench.config.compose import compose, run_spec
from bench.host.provenance import anchor
from bench.store import create_run_dir, save_point, save_run
from bench.values.record import REQUEST_COLUMNS, Int64, LoadPoint, PointData, Run, WorkerReport

TTFT_MS, ITL_MS, SPREAD = 50.0, 10.0, 0.1
START_NS = 1_000_000_000_000


def main() -> None:
    """Write the run and print its folder."""
    asked = _asked()
    spec = run_spec(
        compose(
            [
                "engine=truth",
                f"results_dir={asked.folder}",
                f"load.repeats={asked.repeats}",
                f"load.concurrency={[asked.slots + i for i in range(asked.loads)]}",
                f"workload.output_tokens={asked.tokens}",
                f"engine.ttft_ms={TTFT_MS}",
                f"engine.itl_ms={ITL_MS}",
            ]
        ),
        detect_gpus=False,
    )
    path = create_run_dir(spec)
    each = asked.requests // (asked.loads * asked.repeats)
    for i in range(asked.loads):
        for repeat in range(asked.repeats):
            rng = np.random.default_rng([asked.seed, i, repeat])
            point = LoadPoint(index=i, repeat=repeat, mode="closed", concurrency=asked.slots + i)
            save_point(path, made(point, each, asked.tokens, asked.slow, rng))
    save_run(path, Run(spec=spec, anchor=anchor(), status="complete"))
    print(path)


def made(
    point: LoadPoint, requests: int, tokens: int, slow: float, rng: np.random.Generator
) -> PointData:
    """One repeat of a load point; `slow` stretches the gaps between tokens."""
    slots = point.concurrency or 1
    turns = -(-requests // slots)
    shape = (slots, turns)
    ttft = TTFT_MS * rng.lognormal(0.0, SPREAD, shape)
    gaps = ITL_MS * slow * rng.lognormal(0.0, SPREAD, (*shape, tokens))
    gaps[..., 0] = ttft
    since = (np.cumsum(gaps, axis=2) * 1e6).astype(np.int64)
    took = since[..., -1] + 100_000
    sent = START_NS + np.cumsum(took, axis=1) - took + np.arange(slots)[:, None] * 50_000
    order = np.argsort(sent, axis=None, kind="stable")[:requests]
    sent, took, since = sent.ravel()[order], took.ravel()[order], since.reshape(-1, tokens)[order]
    count = len(order)
    columns = {name: np.zeros(count, dtype=np.int64) for name in REQUEST_COLUMNS}
    columns |= {
        "index": np.arange(count),
        "session": np.full(count, -1),
        "scheduled_ns": sent,
        "sent_ns": sent + 20_000,
        "first_read_ns": sent + since[:, 0],
        "end_ns": sent + took,
        "status": np.full(count, 200),
        "input_tokens": np.full(count, 64),
        "requested_tokens": np.full(count, tokens),
        "usage_prompt_tokens": np.full(count, 64),
        "usage_completion_tokens": np.full(count, tokens),
        "first_chunk": np.arange(count) * tokens,
        "chunks": np.full(count, tokens),
        "tokens_arose": np.ones(count, dtype=np.int64),
    }
    stamps: Int64 = (sent[:, None] + since).ravel()
    wall_s = float((sent + took).max() - START_NS) / 1e9
    worker = WorkerReport(
        requests=count,
        cpu_s=wall_s / 4,
        parse_cpu_s=wall_s / 8,
        wall_s=wall_s,
        loop_lag_ns=(50_000,),
        reconnects=0,
        run_delay_s=0.0,
        wakeups=count * tokens,
    )
    return PointData(
        point=point,
        start_ns=START_NS,
        requests=columns,
        chunk_ns=stamps,
        chunk_tokens=np.ones(len(stamps), dtype=np.int64),
        workers=(worker,),
    )


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    for name, default in (
        ("requests", 1_000_000),
        ("tokens", 8),
        ("loads", 10),
        ("repeats", 3),
        ("slots", 256),
        ("seed", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--slow", type=float, default=1.0)
    return parser.parse_args(sys.argv[1:])


if __name__ == "__main__":
    main()
