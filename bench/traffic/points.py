"""Put the load on a ready server: warm up, then load point by load point, or as a search asks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from bench.meters import engine_stats
from bench.nodes.joined import Node
from bench.traffic import vllm_generator
from bench.traffic.again import cause_outside, narrow_enough, output_rate_of, retries
from bench.traffic.judge import keeping_up, slo_margin
from bench.traffic.plan import WARM_UP_INDEX, Plan, least_count, load_points, plan, warm_ups
from bench.traffic.search import (
    Ladder,
    Margin,
    Trial,
    concurrency_ladder,
    next_probe,
    rate_ladder,
    result,
    standings,
)
from bench.traffic.workers import LoadProgress, send_load
from bench.values.codec import encode
from bench.values.record import OK, LoadPoint, PointData
from bench.values.server import Progress, ProgressCallback, Server
from bench.values.spec import LoadSpec, RunSpec

Note = Callable[..., None]
"""Keeps what has become known of the run: `note(load_search=…)`."""


def measure_load(
    spec: RunSpec,
    server: Server,
    progress: ProgressCallback,
    note: Note,
    kept: Mapping[str, PointData] | None = None,
    nodes: Sequence[Node] = (),
) -> Iterator[PointData]:
    """Warm the engine up, then yield what was observed at each load point, repeat by repeat.

    Those in `kept`, by key, were measured before an interruption: they are taken as they are, so
    that a grid or a search goes on where it stopped.
    """
    if spec.engine.kind == "none":
        return
    driver = Driver(spec, server, progress, kept, nodes)
    driver.warm_up()
    if spec.load.mode in ("slo", "saturate"):
        yield from find_limit(driver, note)
    else:
        yield from grid(driver)


class Driver:
    """Drives one server point after point; remembers how long its requests take."""

    def __init__(
        self,
        spec: RunSpec,
        server: Server,
        progress: ProgressCallback,
        kept: Mapping[str, PointData] | None = None,
        nodes: Sequence[Node] = (),
    ) -> None:
        self.spec = spec
        self.nodes = nodes
        self.server = server
        self.progress = progress
        self.kept = {} if kept is None else kept
        self.fastest_s: dict[int | None, float] = {}
        """Shortest request seen at each concurrency while warming up."""
        self.part: tuple[int, int] | None = None
        """Which of how many load points is measured now; None while nobody knows how many."""

    def warm_up(self) -> None:
        """Send what nobody counts: every batch size to be measured finds its kernels compiled."""
        for point in warm_ups(self.spec.load):
            data = self._send(point, f"warming up {point.label}")
            seconds = fastest_request_s(data)
            if seconds is not None:
                self.fastest_s[point.concurrency] = seconds

    def shortest_s(self, point: LoadPoint | None = None) -> float | None:
        """The shortest request at this point's concurrency, else at any; None when none is known"""
        if point is not None and point.concurrency in self.fastest_s:
            return self.fastest_s[point.concurrency]
        open_loop = point is None or point.mode != "closed" or self.spec.load.mode != "closed"
        return min(self.fastest_s.values(), default=None) if open_loop else None

    def measure(self, point: LoadPoint, name: str) -> PointData:
        """One load point, with the engine's own counters before and after."""
        if point.key in self.kept:
            return self.kept[point.key]
        before = engine_stats.read_all(self.server)
        data = self._send(point, name)
        after = engine_stats.read_all(self.server)
        return replace(data, engine_before=before, engine_after=after)

    def _send(self, point: LoadPoint, name: str) -> PointData:
        load = self.spec.load
        # At once: until its first answers the line would be that of the load before.
        part, parts = self.part or (None, None)
        self.progress(
            Progress(phase=name, elapsed_s=0.0, detail="starting", part=part, parts=parts)
        )
        planned = plan(self.spec, self.server, point, self.shortest_s(point))
        if load.generator == "vllm" and point.index < WARM_UP_INDEX:
            self.progress(Progress(phase=f"{name} with vLLM's own benchmark", elapsed_s=0.0))
            return vllm_generator.run_benchmark(
                self.server,
                point,
                self.spec.workload,
                planned.at_least,
                seed=self.spec.seed + 1000 * point.index + point.repeat,
                timeout_s=load.request_timeout_s,
            )
        return send_load(
            self.server,
            point,
            planned.requests,
            timeout_s=load.request_timeout_s,
            workers=load.workers,
            duration_s=planned.duration_s,
            at_least=planned.at_least,
            connections=planned.connections,
            max_in_flight=load.max_in_flight if point.mode != "closed" else None,
            on_progress=_shown(name, planned, self.progress, self.part),
            nodes=self.nodes,
        )


def grid(driver: Driver) -> Iterator[PointData]:
    """Every load asked for. Repeats are the outer loop: a drift touches all load points alike.

    A repeat that was disturbed from outside the engine is marked and replaced at the end, and
    repeats are added while a precision that was asked for is not reached.
    """
    spec, load = driver.spec, driver.spec.load
    began_s = time.monotonic()
    settings = load_points(replace(load, repeats=1))
    taken = dict.fromkeys((p.index for p in settings), load.repeats)
    replaced = dict.fromkeys(taken, 0)
    in_place: dict[int, set[int]] = {index: set() for index in taken}
    rates: dict[int, list[float]] = {index: [] for index in taken}
    waiting = deque(load_points(load))
    while waiting:
        point = waiting.popleft()
        total = sum(taken.values())
        driver.part = (total - len(waiting), total)
        again = " for a disturbed one" if point.repeat in in_place[point.index] else ""
        which = f"{total - len(waiting)}/{total}"
        name = f"load {point.label}, repeat {point.repeat + 1}{again} ({which})"
        data = driver.measure(point, name)
        cause = cause_outside(spec, data) if replaced[point.index] < retries(spec) else None
        if cause is not None:
            data = replace(data, discarded=cause)
            replaced[point.index] += 1
            waiting.append(replace(point, repeat=taken[point.index]))
            in_place[point.index].add(taken[point.index])
            taken[point.index] += 1
        elif load.precision is not None:
            rate = output_rate_of(spec, data)
            rates[point.index] += [] if rate is None else [rate]
        yield data
        spent = load.budget_s is not None and time.monotonic() - began_s >= load.budget_s
        if not waiting and load.precision_share is not None and not spent:
            for more in settings:
                counted = taken[more.index] - replaced[more.index]
                reached = narrow_enough(rates[more.index], load.precision_share)
                if not reached and counted < load.max_repeats:
                    waiting.append(replace(more, repeat=taken[more.index]))
                    taken[more.index] += 1


def find_limit(driver: Driver, note: Note) -> Iterator[PointData]:
    """Probe after probe until the highest load that holds is found; notes each step."""
    spec, load = driver.spec, driver.spec.load
    assert load.mode in ("slo", "saturate")
    objective: Literal["slo", "saturate"] = "slo" if load.mode == "slo" else "saturate"
    ladder = ladder_of(load)
    start = _start(ladder, load, driver.shortest_s())
    requests_at = [
        least_count(spec, search_point(load, ladder, rung, 0), driver.shortest_s())
        for rung in range(len(ladder.loads))
    ]
    trials: list[Trial] = []
    while True:
        rung = next_probe(ladder, trials, start, load.repeats)
        found = result(
            ladder,
            trials,
            objective=objective,
            over=load.over,
            criteria=criteria(spec),
            repeats=load.repeats,
            complete=rung is None,
            requests_at=requests_at,
        )
        note(load_search={**encode(found), "grid_share": found.grid_share})
        if rung is None:
            return
        repeat = sum(t.rung == rung for t in trials)
        point = search_point(load, ladder, rung, repeat)
        held = [f"{s.load:g} {s.verdict}" for s in standings(ladder, trials, load.repeats)]
        name = (
            f"search, probe {len(trials) + 1} (how many it takes is not known beforehand): "
            f"{point.label}, repeat {repeat + 1}; so far: {', '.join(held) or 'nothing'}"
        )
        data = driver.measure(point, name)
        yield data
        trials.append(Trial(rung=rung, requests=data.count, margin=margin_of(spec, data)))


def margin_of(spec: RunSpec, data: PointData) -> Margin:
    """How far a repeat is from what the search asks for."""
    if spec.load.mode == "saturate":
        return keeping_up(data)
    return slo_margin(
        data,
        spec.workload.slo,
        max_error_rate=spec.load.max_error_rate,
        timeout_s=spec.load.request_timeout_s,
    )


def criteria(spec: RunSpec) -> str:
    """What a load has to meet, in words."""
    if spec.load.mode == "saturate":
        return "completions keep up with arrivals"
    slo = spec.workload.slo
    limits = f"TTFT p{slo.percentile:g} ≤ {slo.ttft_ms:g} ms, TPOT p{slo.percentile:g} ≤ "
    return f"{limits}{slo.tpot_ms:g} ms, errors ≤ {spec.load.max_error_rate:.0%}"


def ladder_of(load: LoadSpec) -> Ladder:
    """The loads that a search may try: two rates, or two concurrencies, bound it."""
    if load.over == "concurrency":
        return concurrency_ladder(load.resolution, load.concurrency)
    return rate_ladder(load.resolution, load.rate_per_s)


def search_point(load: LoadSpec, ladder: Ladder, rung: int, repeat: int) -> LoadPoint:
    """The load point of one probe; its index is its rung, so that load points sort by load."""
    value = ladder.loads[rung]
    if load.over == "concurrency":
        return LoadPoint(index=rung, repeat=repeat, mode="closed", concurrency=round(value))
    return LoadPoint(index=rung, repeat=repeat, mode="open", rate_per_s=value)


def _start(ladder: Ladder, load: LoadSpec, fastest_s: float | None) -> int:
    """The first rung: the lower bound, the one start given, or about one request in flight."""
    given: tuple[float, ...] = load.concurrency if load.over == "concurrency" else load.rate_per_s
    if len(given) in (1, 2):
        return ladder.at_most(given[0])
    if load.over == "concurrency" or fastest_s is None:
        return ladder.at_most(1.0)
    return ladder.at_most(1.0 / max(fastest_s, 1e-6))


def fastest_request_s(data: PointData) -> float | None:
    """The shortest successful request in seconds; None when every one failed."""
    ok = data.requests["outcome"] == OK
    took_ns = (data.requests["end_ns"] - data.requests["sent_ns"])[ok]
    return float(took_ns.min()) / 1e9 if len(took_ns) else None


def _shown(
    name: str, planned: Plan, progress: ProgressCallback, part: tuple[int, int] | None
) -> Callable[[LoadProgress], None]:
    began_s = time.monotonic()

    def show(state: LoadProgress) -> None:
        elapsed_s = time.monotonic() - began_s
        duration_s = planned.duration_s or 0.0
        share = state.finished / planned.at_least if planned.at_least else 1.0
        # Of the two that a load goes on for, the one that is further from its end.
        timed = duration_s > 0 and elapsed_s / duration_s <= min(share, 1.0)
        # What was received is read afterwards, which takes minutes of a million answers.
        over = share >= 1 and not state.in_flight and elapsed_s >= duration_s
        now = "what they said is being read" if over else f"{state.in_flight} in flight"
        progress(
            Progress(
                phase=name,
                elapsed_s=elapsed_s,
                detail=f"{state.finished} requests done, {now}",
                done=elapsed_s if timed else min(state.finished, planned.at_least),
                total=duration_s if timed else planned.at_least,
                unit="s" if timed else "requests",
                # A wave ends at once: the first of 16 that are under way says nothing of the rest.
                even=timed or state.finished >= state.in_flight,
                part=None if part is None else part[0],
                parts=None if part is None else part[1],
            )
        )

    return show
