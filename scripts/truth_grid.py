"""Whether bench's numbers are right: simulated servers of known truth, measured by bench itself.

    python scripts/truth_grid.py [--draws 60] [--processes 2] [--only TEXT] [--out FILE]

Each cell is a server and a load. A draw is six repeats of it, as the client would have recorded
them; `bench.derive.measure_point` makes figures and certificate of the first, of three, of all six.

The truth is not made by bench. Rates of a closed loop: X = S / mean cycle for equal lengths, a
count of tokens for unlike ones, both over hundreds of waves; of an open loop: what was asked for.
Latencies: of all requests sent from the second wave to the last but one (open loop: after the first
tenth), in many other runs of the same schedule, for a server that all slots ask at once takes some
waves to settle. Where nothing is stationary (burst, ramp, overload, drift), rates are such means.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from multiprocessing import Pool
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from simulated_engine import THINK_MS, Engine, Floats, Served, Work, observed, serve

from bench.config.compose import compose, run_spec
from bench.derive import measure_point
from bench.load.schedule import arrivals_ns, ramp_ns
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
SETTLED = 4
"""Waves: with fewer, what all slots asked at once is in most of the window (a warning says so)."""
ENOUGH_FOR_P99 = 100
"""Requests: below, the certificate says that a p99 is near their maximum."""
BIAS_LIMIT, COVERAGE_LIMIT = 0.005, 0.93
LEVEL = 0.01
"""Standard deviation of the logarithm of a repeat's speed: no two minutes of a server are alike."""
NOISE = 0.1
_TRUTH_REQUESTS = 150_000
_WAVES = (3, 8, 40)
_LEVELS = 25

Kind = Literal["closed", "open", "overload", "trace", "ramp"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A server and a load. `waves` x `slots` requests in a closed loop, `count` at `rate_per_s` in
    an open one; `lost` is the share that is never answered."""

    name: str
    kind: Kind = "closed"
    engine: Engine = field(default_factory=lambda: Engine(noise=NOISE))
    spread: float = 0.0
    prompt: int = 256
    output: int = 48
    slots: int = 0
    waves: float = 0.0
    rate_per_s: float = 0.0
    count: int = 0
    lost: float = 0.0
    level: float = LEVEL
    stationary: bool = True
    shapes: bool = False
    """Each draw has lengths, slots and costs of its own, and its own truth."""


def cells() -> list[Cell]:
    """The grid."""
    found = []
    for spread, lengths in ((0.0, "equal"), (0.6, "log-normal")):
        for slots, lasting in (
            (1, (16, 40)),
            (4, (8, 40)),
            (16, _WAVES),
            (64, _WAVES),
            (256, _WAVES),
            (512, (3, 8)),
        ):
            for waves in lasting:
                name = f"{slots} in flight, {lengths} lengths, {waves} waves"
                found.append(Cell(name=name, spread=spread, slots=slots, waves=waves))
    found += [
        Cell(name="equal lengths of any shape, no noise", shapes=True, engine=Engine(), level=0.0),
        Cell(name="256 in flight, 1k/1k, 4 waves", slots=256, waves=4, prompt=1024, output=1024),
        Cell(
            name="long prompts (2k), 64 in flight, log-normal, 8 waves",
            spread=0.6,
            slots=64,
            waves=8,
            prompt=2048,
        ),
    ]
    for rate in (5.0, 20.0, 40.0):
        found.append(
            Cell(
                name=f"open loop, {rate:g}/s for 20 s",
                kind="open",
                spread=0.6,
                rate_per_s=rate,
                count=round(20 * rate),
            )
        )
    narrow = Engine(noise=NOISE, slots=16)
    found += [
        Cell(
            name="open loop at twice the capacity",
            kind="overload",
            spread=0.6,
            engine=narrow,
            rate_per_s=60.0,
            count=1200,
            stationary=False,
        ),
        Cell(
            name="trace with a burst in its last second",
            kind="trace",
            spread=0.6,
            engine=narrow,
            count=300,
            stationary=False,
        ),
        Cell(name="ramp from 2/s to 30/s", kind="ramp", spread=0.6, count=320, stationary=False),
        Cell(
            name="0.5 % never answered, 16 in flight, log-normal, 40 waves",
            spread=0.6,
            slots=16,
            waves=40,
            lost=0.005,
        ),
        Cell(
            name="3 % never answered, 16 in flight, log-normal, 40 waves",
            spread=0.6,
            slots=16,
            waves=40,
            lost=0.03,
        ),
        Cell(
            name="1 % slower a second, 16 in flight, equal, 20 waves",
            slots=16,
            waves=20,
            engine=Engine(noise=NOISE, drift=0.01),
            stationary=False,
        ),
    ]
    return found


def work_of(cell: Cell, count: int, rng: np.random.Generator) -> Work:
    """Requests with lengths of the cell's; arrivals where it has any."""
    sizes = []
    for middle in (cell.prompt, cell.output):
        drawn = middle * np.exp(rng.normal(0, cell.spread, count) if cell.spread else 0.0)
        sizes.append(np.clip(np.rint(np.broadcast_to(drawn, count)), 2, 8 * middle).astype(int))
    lost = rng.random(count) < cell.lost if cell.lost else np.zeros(count, dtype=bool)
    arrivals = None
    if cell.kind in ("open", "overload"):
        arrivals = arrivals_ns("poisson", cell.rate_per_s, count, rng) / 1e6
    elif cell.kind == "trace":
        own = np.random.default_rng(7)  # a trace is the same every time, lengths and all
        slow, fast = own.uniform(0, 20e3, count - 60), own.uniform(19e3, 20e3, 60)
        arrivals = np.sort(np.concatenate([slow, fast]))
        sizes = [
            np.clip(np.rint(m * np.exp(own.normal(0, cell.spread, count))), 2, 8 * m).astype(int)
            for m in (cell.prompt, cell.output)
        ]
    elif cell.kind == "ramp":
        arrivals = ramp_ns(2.0, 30.0, count) / 1e6
    return Work(prompts=sizes[0], outputs=sizes[1], lost=lost, arrivals_ms=arrivals)


def one_repeat(cell: Cell, rng: np.random.Generator, level: float | None = None) -> Served:
    """A repeat, with a speed of its own. The count is rarely a whole number of waves."""
    count = cell.count or round(cell.slots * (cell.waves + rng.uniform(0, 0.99)))
    if level is None:
        level = float(np.exp(rng.normal(0, cell.level))) if cell.level else 1.0
    work = work_of(cell, count, rng)
    return serve(cell.engine, work, rng, concurrency=cell.slots or None, level=level)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What bench should say, by metric, and the limits of a good request."""

    values: Mapping[str, float]
    slo: SloSpec


def truth(cell: Cell) -> Truth:
    """The truth of a cell, without bench."""
    rng = np.random.default_rng((11, len(cell.name), cell.slots, round(10 * cell.waves)))
    chance = bool(cell.level or cell.engine.noise or cell.spread)
    per_run = cell.count or cell.slots * cell.waves
    runs = max(60, round(_TRUTH_REQUESTS / per_run)) if chance else 1
    kept, rates = [], []
    for level in np.exp(cell.level * ndtri((np.arange(runs) + 0.5) / runs)):
        done = one_repeat(cell, rng, level=float(level))
        rows, rate = _scheduled(cell, done)
        kept.append((done.ttft_ms[rows], done.tpot_ms[rows], done.e2e_ms[rows], done.ok[rows]))
        rates.append((rate, done.work.outputs[rows & done.ok].mean()))
    ttft, tpot, e2e, ok = (np.concatenate(c) for c in zip(*kept, strict=True))
    slo = SloSpec(ttft_ms=_between(ttft[ok]), tpot_ms=_between(tpot[ok]), percentile=90)
    good = float((ok & (ttft <= slo.ttft_ms) & (tpot <= slo.tpot_ms)).mean() / ok.mean())
    tokens, mean = float(np.mean([r for r, _ in rates])), float(np.mean([n for _, n in rates]))
    if cell.stationary:
        tokens, mean = _stationary_rate(cell, rng), _mean_length(cell)
    found = {"output_tokens_per_s": tokens, "requests_per_s": tokens / mean}
    found["goodput_requests_per_s"] = found["requests_per_s"] * good
    for name, series in (("ttft", ttft), ("tpot", tpot), ("e2e", e2e)):
        found |= {f"{name}_p{q}_ms": float(np.percentile(series, q)) for q in (50, 99)}
    return Truth(values=found, slo=slo)


@cache
def _lengths(spread: float, middle: int) -> Floats:
    if not spread:
        return np.array([float(middle)])
    share = (np.arange(1_000_000) + 0.5) / 1_000_000
    drawn: Floats = np.clip(np.rint(middle * np.exp(spread * ndtri(share))), 2, 8 * middle)
    return drawn


def _mean_length(cell: Cell) -> float:
    return float(_lengths(cell.spread, cell.output).mean())


def _stationary_rate(cell: Cell, rng: np.random.Generator) -> float:
    """Tokens/s in the long run: by what arrives (open loop), by the mean cycle of a slot (equal
    lengths), or by the tokens of some dozens of waves."""
    if cell.kind == "open":
        return cell.rate_per_s * _mean_length(cell)
    levels = np.exp(cell.level * ndtri((np.arange(_LEVELS) + 0.5) / _LEVELS))
    found = []
    for level in levels if cell.level else levels[:1]:
        waves = max(24, round(_TRUTH_REQUESTS / 2 / _LEVELS / cell.slots))
        work = work_of(cell, waves * cell.slots, rng)
        done = serve(cell.engine, work, rng, concurrency=cell.slots, level=float(level))
        place = np.arange(len(done.sent_ms))
        rows = (place >= 3 * cell.slots) & (place < (waves - 1) * cell.slots)
        if not cell.spread:
            cycle_s = (float(done.e2e_ms[rows].mean()) + THINK_MS) / 1e3
            found.append(cell.slots / cycle_s * cell.output * float(done.ok[rows].mean()))
        else:
            found.append(_tokens_per_s(done, done.sent_ms[rows].min(), done.sent_ms[rows].max()))
    return float(np.mean(found))


def _tokens_per_s(done: Served, begin_ms: float, end_ms: float) -> float:
    """Tokens that came in (begin, end]."""
    first, steps = done.first_step[done.ok], len(done.steps_ms) + 1
    change = np.bincount(first, minlength=steps).astype(float)
    change -= np.bincount(first + done.work.outputs[done.ok], minlength=steps)
    inside = (done.steps_ms > begin_ms) & (done.steps_ms <= end_ms)
    return float(np.cumsum(change)[:-1][inside].sum()) / (end_ms - begin_ms) * 1e3


def _scheduled(cell: Cell, done: Served) -> tuple[npt.NDArray[np.bool_], float]:
    """Requests that count and tokens/s of a schedule as a whole: all of a trace or a ramp, nine
    tenths of what arrives in an open loop, the waves but the first and the last of a closed one."""
    begin, end = float(done.sent_ms.min()), float(done.end_ms.max())
    place = np.arange(len(done.sent_ms))
    rows = place >= 0
    if cell.kind in ("open", "overload"):
        begin, end = 0.1 * float(done.sent_ms.max()), float(done.sent_ms.max())
        rows = done.sent_ms > begin
    elif cell.slots:
        begin, end = float(np.sort(done.end_ms)[cell.slots - 1]), float(done.sent_ms.max())
        rows = (place >= cell.slots) & (place < (len(place) // cell.slots - 1) * cell.slots)
    return rows, _tokens_per_s(done, begin, end)


def _between(values: Floats) -> float:
    """A limit that some nine of ten keep, in the widest gap between neighbours there."""
    ordered = np.sort(values)
    around = ordered[int(0.8 * len(ordered)) : int(0.95 * len(ordered)) + 2]
    if around[-1] <= around[0] * 1.0001:
        return float(2 * around[-1])
    at = int(np.argmax(np.diff(around)))
    return float(around[at] + around[at + 1]) / 2


def any_shape(cell: Cell, rng: np.random.Generator) -> Cell:
    """Lengths, slots, waves and costs by chance."""
    slots = int(rng.choice([2, 4, 8, 16, 32, 64]))
    engine = Engine(
        decode_ms=float(rng.uniform(0, 0.1)),
        prefill_ms=float(rng.uniform(0.005, 0.1)),
        budget=int(rng.choice([512, 2048, 8192])),
    )
    output, prompt = int(rng.integers(4, 128)), int(rng.integers(8, 2048))
    waves = int(rng.integers(3, 20))
    return replace(
        cell,
        slots=slots,
        engine=engine,
        output=output,
        prompt=prompt,
        waves=waves,
        name=f"{cell.name} {slots} {output} {prompt} {waves}",
    )


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
    n: int = sys.maxsize
    """Fewest observations behind a figure."""

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
    score.n = min(score.n, said.n)
    if said.ci_low is not None and said.ci_high is not None:
        # A printed figure has so many digits; a billionth is the records' nanosecond.
        slack = 1e-6 * right
        score.covered.append(said.ci_low - slack <= right <= said.ci_high + slack)


def _timed(job: tuple[Cell, int]) -> tuple[Cell, Scores, int]:
    cell, draws = job
    size = (cell.count or max(1, cell.slots) * (cell.waves + 0.5)) * cell.output
    draws = max(12, min(draws, round(draws * 60_000 / size)))
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
                if cell.stationary
                and (cell.waves >= SETTLED or not cell.slots)
                and len((s := scored[n, name]).errors) > 2
                and (name not in TAIL or s.n >= ENOUGH_FOR_P99)
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
            settled = cell.stationary and (cell.waves >= SETTLED or not cell.slots)
            known = name not in TAIL or s.n >= ENOUGH_FOR_P99
            if settled and known and s.beyond(tail):
                yield f"bias: {cell.name}, {n} repeats, {name}: {_words(s, 0)}"
            if s.uncovered:
                yield f"coverage: {cell.name}, {n} repeats, {name}: {_words(s, 0)}"


def main() -> None:
    """Measure every cell and print the table and what misses its target."""
    parser = argparse.ArgumentParser(description="Bias and coverage of bench's figures.")
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    jobs = [(c, asked.draws) for c in cells() if asked.only in c.name]
    run: Callable[..., Any] = map
    if asked.processes > 1:
        run = Pool(asked.processes).imap
    results: list[tuple[Cell, Scores, int]] = []
    for result in run(_timed, jobs):
        results.append(result)
        lines = [*summary(results), "", *table(results), ""]
        lines += [f"- {m}" for m in misses(results)]
        if asked.out is not None:
            asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
