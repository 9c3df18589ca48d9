"""Find the highest load that holds, by bracketing and bisection on a fixed ladder: pure.

A probe is one repeat at one rung. A rung is decided by a single repeat where that is clear of the
limit, else by more of them; the rung found and its upper neighbour always get them all.
`next_probe` is a function of what was tried so far: a search can be replayed from its record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bench.measure.metrics import ENOUGH_REPEATS
from bench.values.confidence import t_quantile
from bench.values.finding import Finding, finding

Verdict = Literal["holds", "fails", "unclear", "open"]

_ONE_SIDED = 0.90
"""A two-sided 90 % interval: a rung holds when 95 % of its distribution lies below the limit."""

GROWTH_LIMIT = 0.05
"""Share of the arrivals that may stay behind as growing queue in a load that is kept up with."""

_RATE_RANGE_PER_S = (0.01, 100_000.0)
_CONCURRENCY_RANGE = (1, 16_384)


@dataclass(frozen=True, kw_only=True)
class Margin:
    """How far one repeat is from the limit of its worst `criterion`: 0 or less holds.

    `low` and `high` bound it (95 %), None where the repeat was too short to say. `seen` are the
    figures behind it, by name. `parts` are the margins of all criteria, each in a unit of its own;
    without any, the margin is its only part. A criterion `in_every` repeat holds in none where one
    does not.
    """

    value: float
    low: float | None
    high: float | None
    criterion: str
    seen: Mapping[str, float] = field(default_factory=dict)
    parts: tuple[Margin, ...] = ()
    in_every: bool = False


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One repeat at one rung, and what came of it."""

    rung: int
    requests: int
    margin: Margin


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is known of one rung: the margin of its worst criterion, averaged over its repeats, with
    its interval. Criteria have unlike units: each is averaged and judged by itself.

    `open` means that more repeats are needed, `unclear` that even all of them leave it open.
    """

    rung: int
    load: float
    repeats: int
    verdict: Verdict
    margin: float
    low: float | None
    high: float | None
    criterion: str
    requests: int
    seen: Mapping[str, float] = field(default_factory=dict)

    @property
    def over_capacity(self) -> bool:
        """Whether its queue grew by more than what may stay behind of the arrivals."""
        grew, arrived = self.seen.get("queue_growth_per_s"), self.seen.get("arrived_per_s")
        return grew is not None and bool(arrived) and grew > GROWTH_LIMIT * (arrived or 0.0)


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The loads that a search can try, in rising order, about `resolution` apart."""

    loads: tuple[float, ...]
    resolution: float

    def at_most(self, load: float) -> int:
        """The highest rung not above `load`; the lowest one when all are."""
        return max((i for i, v in enumerate(self.loads) if v <= load), default=0)

    def doubled(self, rung: int) -> int:
        """The rung of about twice the load, at least one higher; the top at most."""
        return min(max(rung + 1, self.at_most(2 * self.loads[rung])), len(self.loads) - 1)

    def halved(self, rung: int) -> int:
        """The rung of about half the load, at least one lower; the bottom at most."""
        return max(min(rung - 1, self.at_most(self.loads[rung] / 2)), 0)


def rate_ladder(resolution: float, bounds: Sequence[float] = ()) -> Ladder:
    """Rates in requests/s, four significant digits; the same for every server without `bounds`."""
    low, high = bounds if len(bounds) == 2 else _RATE_RANGE_PER_S
    step = math.log1p(resolution)
    if len(bounds) == 2:
        count = math.ceil(math.log(high / low) / step - 1e-9)
        loads = [low * math.exp(step * k) for k in range(count)] + [high]
    else:
        first, last = math.ceil(math.log(low) / step), math.floor(math.log(high) / step)
        loads = [math.exp(step * k) for k in range(first, last + 1)]
    return Ladder(loads=tuple(float(f"{v:.4g}") for v in loads), resolution=resolution)


def concurrency_ladder(resolution: float, bounds: Sequence[int] = ()) -> Ladder:
    """Whole numbers of requests in flight; one apart where the resolution asks for less."""
    low, high = bounds if len(bounds) == 2 else _CONCURRENCY_RANGE
    loads = [low]
    while loads[-1] < high:
        loads.append(min(high, max(loads[-1] + 1, math.floor(loads[-1] * (1 + resolution)))))
    return Ladder(loads=tuple(float(v) for v in loads), resolution=resolution)


def next_probe(ladder: Ladder, trials: Sequence[Trial], start: int, repeats: int) -> int | None:
    """The rung to try next, given what was tried; None when the search is over."""
    known = {s.rung: s for s in standings(ladder, trials, repeats)}
    if not known:
        return start
    undecided = [s.rung for s in known.values() if s.verdict == "open"]
    if undecided:
        return undecided[0]
    holding, failing = bracket(list(known.values()))
    top = len(ladder.loads) - 1
    if failing is None:
        assert holding is not None
        return ladder.doubled(holding) if holding < top else _unconfirmed(known, repeats, holding)
    if holding is None:
        return ladder.halved(failing) if failing > 0 else _unconfirmed(known, repeats, failing)
    if failing - holding > 1:
        return (holding + failing) // 2
    return _unconfirmed(known, repeats, holding, failing)


def _unconfirmed(known: Mapping[int, Standing], repeats: int, *rungs: int) -> int | None:
    return next((r for r in rungs if known[r].repeats < repeats), None)


def bracket(known: Sequence[Standing]) -> tuple[int | None, int | None]:
    """(highest rung that holds below every one that does not, lowest rung that does not)."""
    failing = min((s.rung for s in known if s.verdict != "holds"), default=None)
    holding = max(
        (s.rung for s in known if s.verdict == "holds" and (failing is None or s.rung < failing)),
        default=None,
    )
    return holding, failing


def standings(ladder: Ladder, trials: Sequence[Trial], repeats: int) -> list[Standing]:
    """Every rung tried, lowest first."""
    rungs = sorted({t.rung for t in trials})
    known = [_standing(ladder, [t for t in trials if t.rung == r], repeats) for r in rungs]
    return [_below_capacity(s, known) for s in known]


COMPLETED = "completed_per_s"


def _below_capacity(s: Standing, known: Sequence[Standing]) -> Standing:
    """A rate that holds, unless the server completed fewer a second one step above, where its queue
    grew: some seconds of a rate a little above capacity look like chance. What it completed at
    higher rates says nothing here: a server may be slower under overload (vLLM preempts)."""
    saturated = [
        k.seen[COMPLETED]
        for k in known
        if k.rung == s.rung + 1 and k.verdict == "fails" and k.over_capacity and COMPLETED in k.seen
    ]
    if s.verdict != "holds" or COMPLETED not in s.seen or not saturated:
        return s
    excess = math.log(s.load / saturated[0])
    if excess <= 0:
        return s
    return replace(s, verdict="unclear", margin=excess, low=None, high=None, criterion="capacity")


def _standing(ladder: Ladder, trials: Sequence[Trial], repeats: int) -> Standing:
    margins = [t.margin for t in trials]
    by_criterion = [_criterion(name, margins, repeats) for name in _criteria(margins)]
    verdict, mean, low, high, criterion = max(by_criterion, key=lambda c: (_WORST[c[0]], c[1]))
    names = {name for m in margins for name in m.seen}
    seen = {n: [m.seen[n] for m in margins if n in m.seen] for n in sorted(names)}
    return Standing(
        rung=trials[0].rung,
        load=ladder.loads[trials[0].rung],
        repeats=len(margins),
        verdict=verdict,
        margin=mean,
        low=low,
        high=high,
        criterion=criterion,
        requests=sum(t.requests for t in trials),
        seen={n: sum(v) / len(v) for n, v in seen.items()},
    )


_WORST: dict[Verdict, int] = {"holds": 0, "open": 1, "unclear": 2, "fails": 3}


def _criteria(margins: Sequence[Margin]) -> list[str]:
    return list(dict.fromkeys(part.criterion for m in margins for part in m.parts or (m,)))


def _criterion(
    name: str, margins: Sequence[Margin], repeats: int
) -> tuple[Verdict, float, float | None, float | None, str]:
    """(verdict, mean, low, high, name) of one criterion over the repeats that it was seen in."""
    own = [part for m in margins for part in m.parts or (m,) if part.criterion == name]
    mean = sum(m.value for m in own) / len(own)
    # A repeat in which it was not seen leaves it with fewer: no interval between so few.
    low, high = _interval(own, repeats if len(own) == len(margins) else len(own) + 1)
    missed = [m for m in own if m.in_every and m.value > 0]
    verdict: Verdict = "unclear" if len(margins) >= repeats else "open"
    if high is not None and high <= 0 and not missed:
        verdict = "holds"
    elif low is not None and low > 0:
        verdict = "fails"
    return verdict, mean, low, high, name


def _interval(margins: Sequence[Margin], repeats: int) -> tuple[float | None, float | None]:
    """Between repeats once there are enough and all of them; until then from inside each one."""
    n = len(margins)
    mean = sum(m.value for m in margins) / n
    if n >= max(repeats, ENOUGH_REPEATS):
        spread = math.sqrt(sum((m.value - mean) ** 2 for m in margins) / (n - 1))
        half = t_quantile(n - 1, _ONE_SIDED) * spread / math.sqrt(n)
        return mean - half, mean + half
    below = _pooled([None if m.low is None else m.value - m.low for m in margins])
    above = _pooled([None if m.high is None else m.high - m.value for m in margins])
    return (
        None if below is None else mean - below,
        None if above is None else mean + above,
    )


def _pooled(distances: Sequence[float | None]) -> float | None:
    known = [d for d in distances if d is not None]
    if len(known) < len(distances):
        return None
    return math.sqrt(sum(d * d for d in known)) / len(known)


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search found and what it took, as it is stored with the run.

    `found` is the highest load that holds with confidence (requests/s, or requests in flight),
    `found_index` its load point; `not_holding` the lowest load that does not. `grid_requests` is
    what every rung between the lowest and the highest tried would have sent, all repeats.
    """

    objective: Literal["slo", "saturate"]
    over: Literal["rate", "concurrency"]
    criteria: str
    resolution: float
    repeats: int
    complete: bool
    found: float | None
    found_index: int | None
    not_holding: float | None
    monotone: bool
    tried: tuple[Standing, ...]
    order: tuple[int, ...]
    requests: int
    grid_requests: int

    @property
    def grid_share(self) -> float:
        """Requests spent ÷ requests of the full grid."""
        return self.requests / self.grid_requests if self.grid_requests else 0.0


def result(
    ladder: Ladder,
    trials: Sequence[Trial],
    *,
    objective: Literal["slo", "saturate"],
    over: Literal["rate", "concurrency"],
    criteria: str,
    repeats: int,
    complete: bool,
    requests_at: Sequence[int],
) -> SearchResult:
    """Sum a search up; `requests_at` is what one repeat sends at each rung of the ladder."""
    known = standings(ladder, trials, repeats)
    holding, failing = bracket(known)
    rungs = [s.rung for s in known]
    monotone = all(s.verdict != "holds" or failing is None or s.rung < failing for s in known)
    return SearchResult(
        objective=objective,
        over=over,
        criteria=criteria,
        resolution=ladder.resolution,
        repeats=repeats,
        complete=complete,
        found=None if holding is None else ladder.loads[holding],
        found_index=holding,
        not_holding=None if failing is None else ladder.loads[failing],
        monotone=monotone,
        tried=tuple(known),
        order=tuple(t.rung for t in trials),
        requests=sum(t.requests for t in trials),
        grid_requests=repeats * sum(requests_at[min(rungs) : max(rungs) + 1]) if rungs else 0,
    )


def search_findings(found: Mapping[str, Any] | None) -> list[Finding]:
    """What is to be said of a stored search: nothing held, no end was reached, or it wavered."""
    if found is None or not found["complete"]:
        return []
    unit = "req/s" if found["over"] == "rate" else "in flight"
    if found["found"] is None:
        text = f"no load tried holds ({found['criteria']}), down to {found['not_holding']:g} {unit}"
        return [finding("search", "fail", text)]
    share = found["requests"] / found["grid_requests"]
    text = f"{found['requests']} requests sent, {share:.0%} of a full grid's; {_limit(found, unit)}"
    said = [finding("search", "pass", text, share, "1")]
    if found["not_holding"] is None:
        text = f"even the highest load allowed, {found['found']:g} {unit}, holds"
        said.append(finding("search_end", "warn", text))
    if not found["monotone"]:
        text = "a higher load held where a lower one did not: the server or the machine wavers"
        said.append(finding("search_order", "warn", text))
    return said


def _limit(found: Mapping[str, Any], unit: str) -> str:
    """Between which loads the limit lies: each end is decided with 95 % confidence, one-sided."""
    low = found["found"]
    failing = [s["load"] for s in found["tried"] if s["verdict"] == "fails" and s["load"] > low]
    if not failing:
        return f"the limit lies above {low:g} {unit}; no load above it fails beyond doubt"
    high = min(failing)
    return (
        f"the limit lies between {low:g} and {high:g} {unit} ({high / low - 1:+.1%}, each end 95 % "
        f"sure; steps of {found['resolution']:.1%} were asked for)"
    )
