"""The servers and loads of truth_grid.py, and what is true of each: not made by bench.

Rates of a closed loop: X = S / mean cycle for equal lengths, a count of tokens for unlike ones,
both over hundreds of waves; of an open loop: what was asked for. Latencies: of all requests sent
from the second wave to the last but one (open loop: after the first tenth), in many other runs of
the same schedule, for a server that all slots ask at once takes some waves to settle. Where nothing
is stationary (burst, ramp, overload, drift), rates are such means, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from simulated_engine import THINK_MS, Engine, Floats, Served, Work, serve

from bench.traffic.schedule import arrivals_ns, ramp_ns
from bench.values.spec import SloSpec

LEVEL = 0.01
"""Standard deviation of the logarithm of a repeat's speed: no two minutes of a server are alike."""
NOISE = 0.1
TRUTH_REQUESTS = 150_000
SETTLED = 4
"""Waves: with fewer, what all slots asked at once is in most of the window (a warning says so)."""
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

    @property
    def settled(self) -> bool:
        """Whether its rates and latencies have one truth, and no start-up is in most of it."""
        return self.stationary and (self.waves >= SETTLED or not self.slots)


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
    runs = max(60, round(TRUTH_REQUESTS / per_run)) if chance else 1
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
        waves = max(24, round(TRUTH_REQUESTS / 2 / _LEVELS / cell.slots))
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


if __name__ == "__main__":
    print(__doc__)
