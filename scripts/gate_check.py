"""How often the regression gate is wrong: one server against itself, and a slowed one.

    python scripts/gate_check.py [--same 20] [--slowed 5] [--results DIR]

The truth server emits tokens on a schedule. Three launches of each variant take turns and are
stored, derived, compared and judged as `bench compare --interleave 3` does it. Of one server with
itself: with a margin no alarm is due, without one (`< 0%`) 2.5 % may give one by chance, and 5 % of
the verdicts may be faster or slower. When the other is 5 % slower, every one has to give the alarm.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.compare.compare import compare
from bench.compare.condition import parse
from bench.compare.gate import judge
from bench.compare.launches import ENOUGH_LAUNCHES
from bench.compare.variant import Measured, Variant
from bench.config.compose import catalogue, compose, run_spec
from bench.derive import derive
from bench.run import execute
from bench.store import load_run

MARGINS = ("output_tokens_per_s < -3%", "tpot_p50_ms > 3%")
NO_MARGIN = "output_tokens_per_s < 0%"
ITL_MS = 10.0


def main() -> None:
    """Measure, and count the outcomes by gate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--same", type=int, default=20)
    parser.add_argument("--slowed", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", default=tempfile.mkdtemp(prefix="gate-check-"))
    asked = parser.parse_args(sys.argv[1:])
    same = Counter[str]()
    for number in range(asked.same):
        sides = in_turns((ITL_MS, ITL_MS), asked.repeats, asked.results)
        count(same, sides, f"same server, {number + 1}")
    slowed = Counter[str]()
    for number in range(asked.slowed):
        sides = in_turns((ITL_MS, 1.05 * ITL_MS), asked.repeats, asked.results)
        count(slowed, sides, f"slowed by 5 %, {number + 1}")
    for title, counts in (("same server", same), ("slowed by 5 %", slowed)):
        for key, times in sorted(counts.items()):
            print(f"{title}: {key}: {times}")


def in_turns(itl_ms: tuple[float, float], repeats: int, results: str) -> list[Variant]:
    """Three launches of each, as A B, B A, A B."""
    rounds: tuple[list[Measured], list[Measured]] = ([], [])
    for turn in range(ENOUGH_LAUNCHES):
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            rounds[side].append(measure(itl_ms[side], repeats, results))
    return [Variant(name=n, rounds=tuple(r)) for n, r in zip(("a", "b"), rounds, strict=True)]


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
    stored = load_run(Path(run.path))
    return Measured(run=replace(stored, points=()), measurement=derive(stored))


def count(counts: Counter[str], variants: Sequence[Variant], title: str) -> None:
    """Add the exit code of each gate, and print the estimates behind them."""
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
