"""Whether bench's numbers are right: simulated servers of known truth, measured by bench itself.

    python scripts/truth_grid.py [--draws 60] [--processes 2] [--only TEXT] [--out FILE] [--keep F]

With --keep it goes on where it was stopped: what lies in that file is not drawn again.

Each cell is a server and a load. A draw is six repeats of it, as the client would have recorded
them; `bench.derive.measure_point` makes figures and certificate of the first, of three, of all six.

Servers, loads and truths are those of truth_cells.py.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from simulated_engine import observed
from truth_cells import Cell, any_shape, cells, one_repeat, truth

from bench.config.compose import compose, run_spec
from bench.derive import measure_point
from bench.measure.metrics import Metric
from bench.values.record import Anchor, LoadPoint, Run
from bench.values.spec import RunSpec, SloSpec

SHOWN = {
    "output_tokens_per_s": "tok/s",
    "requests_per_s": "req/s",
    "goodput_requests_per_s": "goodput",
    "ttft_p50_ms": "TTFT p50",
    "ttft_p99_ms": "TTFT p99",
    "tpot_p50_ms": "TPOT p50",
    "e2e_p50_ms": "E2E p50",
    "e2e_p99_ms": "E2E p99",
}
TAIL = "ttft_p99_ms", "e2e_p99_ms"
REPEATS = (1, 3, 6)
BIAS_LIMIT, COVERAGE_LIMIT = 0.005, 0.93

HEAD = (
    "# Are the numbers right?",
    "",
    "`python scripts/truth_grid.py --out docs/truth-grid.md`: simulated servers whose truth is",
    "known, through bench's own functions. What the servers are and where the truths come from",
    "stands in the script. Targets: bias within 0.5 % where the truth is stationary, and 93 % of",
    "the intervals hold the truth wherever a ± is printed. Biases are means over draws ± two",
    "standard errors; `; 95% of 40`: of 40 printed intervals, 95 % hold the truth. Withheld: the",
    "certificate took the figure away, or there is none (a p99 of fewer than 100 requests). Loops",
    "of three waves (the certificate warns: they are start-up for the most part) stand in it and",
    "are not held to the bias.",
    "",
)
_REST = "\n## "


@cache
def _spec() -> RunSpec:
    spec: RunSpec = run_spec(compose(["engine=truth", "gpus=0"]), detect_gpus=False)
    return spec


def measured(cell: Cell, slo: SloSpec, rng: np.random.Generator) -> dict[int, dict[str, Metric]]:
    """What bench says after one, three and six repeats of a draw."""
    base = _spec()
    mode: Any = {"closed": "closed", "ramp": "ramp"}.get(cell.kind, "open")
    load = replace(
        base.load,
        mode=mode,
        calibrate=False,
        request_timeout_s=10.0,
        max_error_rate=0.1,
        arrival="trace" if cell.kind == "trace" else "poisson",
        rate_per_s=(2.0, 30.0) if cell.kind == "ramp" else (cell.rate_per_s or 1.0,),
    )
    spec = replace(base, load=load, workload=replace(base.workload, slo=slo))
    run = Run(spec=spec, anchor=Anchor(monotonic_ns=0, wall_iso="2026"), status="complete")
    data = []
    for repeat in range(max(REPEATS)):
        point = LoadPoint(
            index=0,
            repeat=repeat,
            mode=mode,
            concurrency=cell.slots or None,
            rate_per_s=None if cell.slots or cell.kind == "trace" else load.rate_per_s[0],
            rate_to_per_s=30.0 if cell.kind == "ramp" else None,
        )
        data.append(observed(one_repeat(cell, rng), point))
    return {n: dict(measure_point(run, data[:n]).metrics) for n in REPEATS}


@dataclass
class Score:
    """What became of one metric of one cell: errors as shares, and what the ± did."""

    errors: list[float] = field(default_factory=list)
    covered: list[bool] = field(default_factory=list)
    withheld: int = 0

    @property
    def bias(self) -> tuple[float, float]:
        """Mean error and its standard error."""
        return float(np.mean(self.errors)), float(np.std(self.errors) / len(self.errors) ** 0.5)

    @property
    def coverage(self) -> float | None:
        """Share of the printed intervals that hold the truth."""
        return float(np.mean(self.covered)) if self.covered else None

    def beyond(self, truth_error: float) -> bool:
        """Whether the bias is beyond its limit by more than three standard errors: a thousand
        figures are judged, and one may be by chance."""
        bias, error = self.bias
        few = len(self.errors) < 3
        return not few and abs(bias) > BIAS_LIMIT + 3 * error + truth_error

    @property
    def uncovered(self) -> bool:
        """Whether so few intervals hold the truth that 93 % is not the chance of it (0.1 %)."""
        n, found = len(self.covered), self.coverage
        if found is None:
            return False
        return bool(found < COVERAGE_LIMIT - 3 * (COVERAGE_LIMIT * (1 - COVERAGE_LIMIT) / n) ** 0.5)


Scores = dict[tuple[int, str], Score]


def scores(cell: Cell, draws: int, seed: int = 0) -> Scores:
    """All draws of one cell."""
    rng = np.random.default_rng((seed, 3, len(cell.name), cell.slots, round(10 * cell.waves)))
    known = None if cell.shapes else truth(cell)
    found: Scores = {(n, m): Score() for n in REPEATS for m in SHOWN}
    for _ in range(draws):
        own = any_shape(cell, rng) if cell.shapes else cell
        right = known or truth(own)
        for n, metrics in measured(own, right.slo, rng).items():
            for name in SHOWN:
                _score(found[n, name], metrics[name], right.values[name])
    return found


def _score(score: Score, said: Metric, right: float) -> None:
    if said.value is None:
        score.withheld += 1
        return
    score.errors.append(said.value / right - 1)
    if said.ci_low is not None and said.ci_high is not None:
        # A printed figure has so many digits; a billionth is the records' nanosecond.
        slack = 1e-6 * right
        score.covered.append(said.ci_low - slack <= right <= said.ci_high + slack)


_LEAST = 12
"""Draws of the largest cells, which take minutes each."""


def _timed(job: tuple[Cell, int]) -> tuple[Cell, Scores, int]:
    cell, draws = job
    size = (cell.count or max(1, cell.slots) * (cell.waves + 0.5)) * cell.output
    draws = max(_LEAST, min(draws, round(draws * 60_000 / size)))
    began = time.monotonic()
    found = scores(cell, draws)
    print(f"{cell.name}: {draws} draws, {time.monotonic() - began:.0f} s", file=sys.stderr)
    return cell, found, draws


def table(results: Sequence[tuple[Cell, Scores, int]]) -> Iterator[str]:
    """One row per cell and number of repeats: bias; coverage of the ± and how often it is there."""
    yield "| server and load | draws | repeats | " + " | ".join(SHOWN.values()) + " |"
    yield "|---|" + " ---: |" * (len(SHOWN) + 2)
    for cell, found, draws in results:
        for n in REPEATS:
            words = [_words(found[n, m], draws) for m in SHOWN]
            yield f"| {cell.name} | {draws} | {n} | " + " | ".join(words) + " |"


def _words(s: Score, draws: int) -> str:
    if not s.errors:
        return "withheld"
    bias, error = s.bias
    text = f"{bias:+.1%} ± {2 * error:.1%}"
    if s.covered:
        text += f"; {s.coverage:.0%} of {len(s.covered)}"
    return text + (f"; {s.withheld} withheld" if s.withheld else "")


def summary(results: Sequence[tuple[Cell, Scores, int]]) -> Iterator[str]:
    """Per metric and number of repeats, over all cells: the largest bias where the truth is
    stationary and settled, and the coverage of every ± that was printed."""
    yield "| | repeats | " + " | ".join(SHOWN.values()) + " |"
    yield "|---|" + " ---: |" * (len(SHOWN) + 1)
    for n in REPEATS:
        worst, covered = [], []
        for name in SHOWN:
            found = [
                s
                for cell, scored, _ in results
                if cell.settled and len((s := scored[n, name]).errors) > 2
            ]
            most = max(found, key=lambda s: abs(s.bias[0]) - 3 * s.bias[1], default=None)
            worst.append("–" if most is None else "{:+.1%} ± {:.1%}".format(*most.bias))
            held = [c for _, scored, _ in results for c in scored[n, name].covered]
            covered.append(f"{np.mean(held):.1%} of {len(held):,}" if held else "–")
        yield f"| worst bias ± its standard error | {n} | " + " | ".join(worst) + " |"
        if n > 1:
            yield f"| coverage | {n} | " + " | ".join(covered) + " |"


def misses(results: Sequence[tuple[Cell, Scores, int]]) -> Iterator[str]:
    """What misses the targets beyond chance."""
    for cell, found, _ in results:
        for (n, name), s in found.items():
            if not s.errors:
                continue
            tail = 0.005 if name in TAIL else 0.001
            if cell.settled and s.beyond(tail):
                yield f"bias: {cell.name}, {n} repeats, {name}: {_words(s, 0)}"
            if s.uncovered:
                yield f"coverage: {cell.name}, {n} repeats, {name}: {_words(s, 0)}"


def main() -> None:
    """Measure every cell and print the table and what misses its target."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    results: list[tuple[Cell, Scores, int]] = []
    if asked.keep is not None and asked.keep.exists():
        results = pickle.loads(asked.keep.read_bytes())  # this script's own file
    kept = {cell.name for cell, _, _ in results}
    jobs = [(c, asked.draws) for c in cells() if asked.only in c.name and c.name not in kept]
    run: Callable[..., Any] = map
    if asked.processes > 1:
        run = Pool(asked.processes).imap
    old = asked.out.read_text(encoding="utf-8") if asked.out and asked.out.exists() else ""
    rest = old[old.index(_REST) :] if _REST in old else ""  # written by hand
    lines: list[str] = []
    for result in run(_timed, jobs):
        results.append(result)
        if asked.keep is not None:
            asked.keep.write_bytes(pickle.dumps(results))
        lines = [*HEAD, *summary(results), "", *table(results), ""]
        lines += ["Beyond the targets, and beyond three standard errors:", ""]
        lines += [f"- {m}" for m in misses(results)] or ["- nothing"]
        if asked.out is not None:
            asked.out.write_text("\n".join(lines) + "\n" + rest, encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
