"""How often a verdict is wrong: simulated variants whose true difference is known, judged by bench.

    python scripts/verdict_grid.py [--draws 400] [--out docs/verdict-grid.md]
    python scripts/verdict_grid.py --families 5000      # the verdicts alone, many times

Each launch of a variant has a level of its own (0, 1 or 2 % between launches), each repeat scatters
by 1 % around it, at three load points whose levels move together by half. Latencies move against
the rate and scatter by themselves. The comparisons and gates are the product's own; the truth is
that of the draw.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.compare.compare import compare
from bench.compare.condition import parse
from bench.compare.gate import judge
from bench.compare.launches import ENOUGH_LAUNCHES
from bench.compare.speed import (
    COMPARED,
    EVERYWHERE,
    Observed,
    SpeedChange,
    Values,
    changes,
    corrected,
)
from bench.compare.variant import Measured, Variant
from bench.config.compose import compose, run_spec
from bench.measure.measurement import Measurement, PointMeasurement
from bench.measure.metrics import METRICS, Metric
from bench.values.record import Anchor, LoadPoint, Run

LOADS = (1, 4, 16)
REPEATS = 4
SCATTER = 0.01
LAUNCH_NOISE = (0.0, 0.01, 0.02)
ROUNDS = (1, 2, 3, 4, 5, 6)
CHANGES = (0.0, 0.01, 0.03, 0.05)
UNITS = {d.name: d.unit for d in METRICS}
FASTER = {"output_tokens_per_s": 1}
"""The way in which a metric moves when the variant is faster; -1 where it is not named."""


def main() -> None:
    """Draw every cell of the grid, and print or write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--families", type=int)
    asked = parser.parse_args()
    if asked.families is not None:
        for line in families(asked.families):
            print(line, flush=True)
        return
    lines = list(table(asked.draws))
    if asked.out is None:
        print("\n".join(lines))
    else:
        asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(draws: int) -> Iterator[str]:
    """The page: one row per launch noise, true change and number of rounds."""
    yield "# How often a verdict is wrong"
    yield ""
    yield (
        f"`python scripts/verdict_grid.py --draws {draws}`: {draws} comparisons a row, {REPEATS} "
        f"repeats of {SCATTER:.0%} scatter, {len(LOADS)} load points, {len(COMPARED)} metrics, "
        "through `bench compare` and its gate. Share of comparisons in which any verdict of the "
        "four metrics over all loads, or any of the twelve at single loads, is a wrong direction "
        "or a wrong `equivalent` (the truth is 1 % or more away); in which the output rate's "
        "direction was found; and in which a gate at its very limit failed or held (2.5 % each "
        "may)."
    )
    yield ""
    heads = (
        *("noise between launches", "true change", "rounds", "false direction, all loads"),
        *("at single loads", "false equivalent, all loads", "at single loads"),
        *("direction found", "gate at its limit: failed", "held"),
    )
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " ---: |" * len(heads)
    spec = run_spec(compose(["engine=truth", "gpus=0"]), detect_gpus=False)
    for noise in LAUNCH_NOISE:
        for change in CHANGES:
            for rounds in ROUNDS:
                counts = cell(spec, noise, change, rounds, draws)
                shares = [f"{counts[key] / draws:.1%}" for key in _KEYS]
                yield f"| {noise:.0%} | {change:.0%} | {rounds} | " + " | ".join(shares) + " |"


_KEYS = ("direction", "direction_at", "equivalent", "equivalent_at", "found", "failed", "held")


def cell(spec: object, noise: float, change: float, rounds: int, draws: int) -> Counter[str]:
    """Outcomes of `draws` comparisons of variants that differ by `change`."""
    rng = np.random.default_rng((round(1000 * noise), round(1000 * change), rounds))
    counts: Counter[str] = Counter()
    for _ in range(draws):
        variants = [variant(spec, name, c, noise, rounds, rng) for name, c in sides(change)]
        comparison = compare(variants)
        speed = comparison.rows[1].speed
        counts.update(wrong_verdicts(speed, change))
        for c in speed:
            if c.metric == COMPARED[0] and c.load == EVERYWHERE and change:
                counts["found"] += c.verdict == "slower"
        limit = f"output_tokens_per_s@all < {-100 * change:.10g}%"
        counts[judge(variants, comparison, [parse(limit)]).outcome] += 1
    return counts


def families(draws: int) -> Iterator[str]:
    """Wrong verdicts alone, without gate and report: so many comparisons that 5 % can be told from
    6 (± two standard errors of a share of 5 %)."""
    yield f"{draws} comparisons a row, ± {2 * (0.05 * 0.95 / draws) ** 0.5:.1%}"
    yield ""
    heads = ("noise between launches", "true change", "rounds", *(_WORDS[k] for k in _KEYS[:4]))
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " ---: |" * len(heads)
    for noise in LAUNCH_NOISE:
        for change in (0.0, 0.01):
            for rounds in (r for r in ROUNDS if r >= ENOUGH_LAUNCHES):
                rng = np.random.default_rng((1, round(1000 * noise), round(1000 * change), rounds))
                counts: Counter[str] = Counter()
                for _ in range(draws):
                    a, b = (figures(c, noise, rounds, rng) for _, c in sides(change))
                    counts.update(wrong_verdicts(corrected([changes(a, b)])[0], change))
                shares = " | ".join(f"{counts[key] / draws:.1%}" for key in _KEYS[:4])
                yield f"| {noise:.0%} | {change:.0%} | {rounds} | {shares} |"


_WORDS = {
    "direction": "false direction, all loads",
    "direction_at": "at single loads",
    "equivalent": "false equivalent, all loads",
    "equivalent_at": "at single loads",
}


def figures(slower: float, noise: float, rounds: int, rng: np.random.Generator) -> Values:
    """What `observed` makes of a variant: the figure of each launch at each load."""
    part = noise * 0.5**0.5
    launch = rng.normal(0, part, (rounds, 1)) + rng.normal(0, part, (rounds, len(LOADS)))
    found = {}
    for name in COMPARED:
        way = FASTER.get(name, -1)
        scatter = rng.normal(0, SCATTER, (rounds, len(LOADS), REPEATS))
        logs = way * (np.log1p(-slower) + launch[:, :, None] + scatter)
        means = 100 * np.exp(logs).mean(axis=2)
        for place, load in enumerate(LOADS):
            of_launch = {n: float(v) for n, v in enumerate(means[:, place])}
            found[name, f"c{load}"] = Observed(launches=of_launch)
    return found


def wrong_verdicts(found: Sequence[SpeedChange], change: float) -> set[str]:
    """Which kinds of wrong verdict are among those of one comparison."""
    wrong = ("faster",) if change else ("faster", "slower")
    said = set()
    for c in found:
        at = "" if c.load == EVERYWHERE else "_at"
        if c.verdict in wrong:
            said.add("direction" + at)
        if c.verdict == "equivalent" and change >= 0.01:
            said.add("equivalent" + at)
    return said


def sides(change: float) -> tuple[tuple[str, float], tuple[str, float]]:
    """The baseline, and the variant that is slower by `change`."""
    return ("a", 0.0), ("b", change)


def variant(
    spec: object, name: str, slower: float, noise: float, rounds: int, rng: np.random.Generator
) -> Variant:
    """Launches of a variant whose rate is lower, and whose times are longer, by `slower`."""
    made = []
    for number in range(rounds):
        common = rng.normal(0, noise * 0.5**0.5)
        points = tuple(
            point(load, slower, common + rng.normal(0, noise * 0.5**0.5), rng) for load in LOADS
        )
        run = Run(
            spec=spec,  # type: ignore[arg-type]
            anchor=Anchor(monotonic_ns=0, wall_iso=f"2026-{number}"),
            status="complete",
            path=f"/grid/{name}/{number}",
        )
        made.append(Measured(run=run, measurement=Measurement(points=points)))
    return Variant(name=name, rounds=tuple(made))


def point(load: int, slower: float, launch: float, rng: np.random.Generator) -> PointMeasurement:
    """One load point of one launch: every metric in each repeat."""
    metrics = {d.name: Metric(value=None, unit=d.unit) for d in METRICS}
    for name in COMPARED:
        way = FASTER.get(name, -1)
        logs = way * (np.log1p(-slower) + launch + rng.normal(0, SCATTER, REPEATS))
        values = [float(v) for v in 100 * np.exp(logs)]
        metrics[name] = Metric(
            value=float(np.mean(values)),
            unit=UNITS[name],
            n=100,
            repeats=REPEATS,
            by_repeat=dict(enumerate(values)),
        )
    return PointMeasurement(
        point=LoadPoint(index=load, repeat=0, mode="closed", concurrency=load),
        requests=100,
        window_s=(10.0,) * REPEATS,
        metrics=metrics,
    )


if __name__ == "__main__":
    main()
