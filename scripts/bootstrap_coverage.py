"""How often the paired 95 % intervals of bench.quality hold the truth, by simulation.

    python scripts/bootstrap_coverage.py [--runs 1000]

Three cases, as the verdicts use them: the difference of 0/1 items (score interval) with the flip
rates that quantisation shows, their recovery (the same over the baseline's score), and graded items
(bootstrap). Prints one line per setting; a nominal 95 % interval should cover in 93 to 97 % of
1,000 runs, more where few items ever flip.
"""

from __future__ import annotations

import argparse

import numpy as np

from bench.quality.paired import bootstrap, mcnemar_p, recovery_interval, tango_interval

# (items, share lost, share won): from no effect to the 3-bit control of a tiny model.
BINARY = (
    (100, 0.02, 0.02),
    (480, 0.01, 0.01),
    (960, 0.002, 0.002),
    (960, 0.01, 0.005),
    (960, 0.021, 0.004),
    (5000, 0.03, 0.02),
)
# (items, share right in both, lost, won): what the uncertainty of the baseline does to a ratio.
RECOVERY = ((960, 0.93, 0.021, 0.004), (200, 0.30, 0.20, 0.05), (100, 0.10, 0.20, 0.10))
GRADED = ((30, 0.1), (60, 0.1), (400, 0.1), (400, 1.0))


def main() -> None:
    """Simulate every setting and print its coverage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    print(f"{'items':>6} {'lost':>6} {'won':>6} {'covered':>8} {'rejected':>9}  score interval")
    for n, lost, won in BINARY:
        print(binary_line(rng, n, lost, won, args.runs))
    print(f"{'items':>6} {'lost':>6} {'won':>6} {'covered':>8}  recovery")
    for n, right, lost, won in RECOVERY:
        print(recovery_line(rng, n, right, lost, won, args.runs))
    print(f"{'items':>6} {'spread':>13} {'covered':>8} {'':>9}  bootstrap")
    for n, spread in GRADED:
        print(graded_line(rng, n, spread, args.runs))


def binary_line(rng: np.random.Generator, n: int, lost: float, won: float, runs: int) -> str:
    """Coverage of the difference, and how often McNemar rejects at 5 %."""
    counts = rng.multinomial(n, [lost, won, 1 - lost - won], runs)
    covered = rejected = 0
    for b, c, _ in counts:
        interval = tango_interval(int(b), int(c), n)
        covered += interval.low <= won - lost <= interval.high
        rejected += mcnemar_p(int(b), int(c)) < 0.05
    return f"{n:6} {lost:6.3f} {won:6.3f} {covered / runs:8.3f} {rejected / runs:9.3f}"


def recovery_line(
    rng: np.random.Generator, n: int, right: float, lost: float, won: float, runs: int
) -> str:
    """Coverage of variant ÷ baseline, as the verdict computes it."""
    truth = (right + won) / (right + lost)
    covered = 0
    for both, b, c, _ in rng.multinomial(n, [right, lost, won, 1 - right - lost - won], runs):
        found = recovery_interval(int(b), int(c), int(both) + int(b), n)
        covered += found.low <= truth <= found.high
    return f"{n:6} {lost:6.3f} {won:6.3f} {covered / runs:8.3f}"


def graded_line(rng: np.random.Generator, n: int, spread: float, runs: int) -> str:
    """Coverage of a mean ratio: items of a lognormal score, a variant 1 % lower, noise on top."""
    covered = 0
    for _ in range(runs):
        base = rng.lognormal(0.0, 0.5, n)
        variant = 0.99 * base + rng.normal(0, spread * 0.1, n)
        interval = bootstrap(base, variant, np.ones(n), lambda a, b: b / a)
        covered += interval.low <= 0.99 <= interval.high
    return f"{n:6} {spread:13.2f} {covered / runs:8.3f}"


if __name__ == "__main__":
    main()
