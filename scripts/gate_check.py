"""How often the regression gate is wrong: pairs of runs of one server, and of a slowed one.

    python scripts/gate_check.py [--pairs 20] [--results DIR]

The truth server emits tokens on a schedule. Two runs of the same schedule are compared, pair by
pair: with a margin no alarm is due, without one (`< 0%`) 2.5 % of the pairs may give one by chance,
and the verdict of `bench compare` may say faster or slower of 5 % of them. Then the later server is
5 % slower, and every pair has to give the alarm.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from bench.compare.compare import compare
from bench.compare.condition import parse
from bench.compare.gate import judge
from bench.compare.variant import Measured, apart
from bench.config.compose import catalogue, compose, run_spec
from bench.derive import derive
from bench.run import execute

MARGINS = ("output_tokens_per_s < -3%", "tpot_p50_ms > 3%")
NO_MARGIN = "output_tokens_per_s < 0%"
ITL_MS = 10.0


def main() -> None:
    """Measure the pairs, and count the outcomes by gate."""
    parser = argparse.ArgumentParser(description="How often the regression gate is wrong.")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--slowed", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", default=tempfile.mkdtemp(prefix="gate-check-"))
    asked = parser.parse_args(sys.argv[1:])
    same = Counter[str]()
    for pair in range(asked.pairs):
        runs = [measure(ITL_MS, asked.repeats, asked.results) for _ in range(2)]
        count(same, runs, f"same server, pair {pair + 1}")
    slowed = Counter[str]()
    for pair in range(asked.slowed):
        runs = [measure(ITL_MS * s, asked.repeats, asked.results) for s in (1.0, 1.05)]
        count(slowed, runs, f"slowed by 5 %, pair {pair + 1}")
    for title, counts in (("same server", same), ("slowed by 5 %", slowed)):
        for key, times in sorted(counts.items()):
            print(f"{title}: {key}: {times}")


def measure(itl_ms: float, repeats: int, results: str) -> Measured:
    """One run of the truth server: 8 in flight, 100 ms to the first of 64 tokens."""
    spec = run_spec(
        compose(
            [
                "engine=truth",
                f"engine.itl_ms={itl_ms}",
                "engine.ttft_ms=100",
                "load=closed",
                "load.concurrency=[8]",
                f"load.repeats={repeats}",
                "load.duration_s=2",
                "load.calibrate=false",
                "workload=chat-short",
                f"results_dir={results}",
            ]
        ),
        detect_gpus=False,
    )
    run = execute(spec, catalogue(()), lambda _: None)
    return Measured(run=replace(run, points=()), measurement=derive(run))


def count(counts: Counter[str], runs: Sequence[Measured], title: str) -> None:
    """Add the exit code of each gate, and print the estimates behind them."""
    variants = apart(runs)
    comparison = compare(variants, allow=("engine",))
    counts[f"verdict: {comparison.rows[1].codes[0]}"] += 1
    for conditions in (MARGINS, (NO_MARGIN,)):
        gate = judge(variants, comparison, [parse(c) for c in conditions])
        counts[f"{' and '.join(conditions)}: exit {gate.exit_code}"] += 1
        found = ", ".join(
            f"{t.estimate:+.2%} [{t.low:+.2%}, {t.high:+.2%}]"
            for t in gate.tests
            if t.estimate is not None and t.low is not None and t.high is not None
        )
        why = "; ".join(t.reason for t in gate.tests if t.reason)
        print(f"{title}: exit {gate.exit_code}: {found} {why}", flush=True)


if __name__ == "__main__":
    main()
