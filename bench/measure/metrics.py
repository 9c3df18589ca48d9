"""The metrics: one function and one table entry each; everything else picks them up.

A rate is a number per repeat, the mean over repeats its value. A percentile is of the values of all
repeats together. Intervals come from `bench.measure.stats`: from three repeats on, or none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from bench.measure.requests import Mask, Requests
from bench.measure.stats import (
    ENOUGH_REPEATS,
    Floats,
    Interval,
    Pooled,
    mean_interval,
    percentile,
)
from bench.measure.window import Window, steady_window, whole_window
from bench.values.confidence import t_quantile
from bench.values.record import Int64, PointData
from bench.values.spec import SloSpec

__all__ = ["ENOUGH_REPEATS", "METRICS", "Metric", "MetricDef", "Steady"]

Arose = Literal["measured", "allocated", "modelled", "quoted", "assumed", "replay", "synthetic"]

EDGE_SHARE = 0.02
"""A rate over W waves is uncertain by this share ÷ W beyond what repeats show: which phases of its
requests the windows cut at their ends. 95 % of 2,505 simulated servers of any shape are within."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number with what is needed to trust it. `value` is None when not measured.

    `n` counts the observations (requests or gaps) behind it, `repeats` the independent runs and
    `by_repeat` the figure of each, which comparisons pair; `withheld_value` holds the number of a
    result that failed its certificate. `reason` says why there is no value, `no_interval` why there
    is no interval; `scope` what a power or an energy is of.
    """

    value: float | None
    unit: str
    ci_low: float | None = None
    ci_high: float | None = None
    n: int = 0
    repeats: int = 0
    arose: Arose = "measured"
    withheld_value: float | None = None
    reason: str | None = None
    scope: str | None = None
    by_repeat: Mapping[int, float] = field(default_factory=dict)
    no_interval: str | None = None


@dataclass(frozen=True, eq=False)
class Steady:
    """The part of one repeat that counts: its window, and the requests that belong to it."""

    data: PointData
    window: Window
    slo: SloSpec
    gpus: int
    deadline_ms: float | None = None

    @cached_property
    def requests(self) -> Requests:
        """The times of all requests of the repeat."""
        return Requests(self.data, self.deadline_ms)

    @cached_property
    def counted(self) -> Mask:
        """The requests that count, however they ended."""
        return self.window.counts(self.data)

    @cached_property
    def ok(self) -> Mask:
        """Requests that count and succeeded."""
        return np.asarray(self.counted & self.requests.ok)

    def good(self, times: float = 1.0) -> Mask:
        """Those of `ok` that kept both limits of the SLO (`times` as long), waiting from the
        scheduled time on: what was sent late does not become good by it."""
        within = self.requests.ttft_sched_ms <= times * self.slo.ttft_ms
        tpot = self.requests.tpot_ms
        return np.asarray(self.ok & within & (np.isnan(tpot) | (tpot <= times * self.slo.tpot_ms)))

    @cached_property
    def chunk_bins(self) -> Int64:
        """The time bin of each chunk, as Window.bins gives it."""
        return self.window.bins(self.data.chunk_ns)

    @cached_property
    def tokens(self) -> float:
        """Output tokens of successful requests that the window stands for: their rate x its length.

        In a closed loop the rate is a mean over many windows of whole waves (Window.per_s)."""
        tokens = self.data.chunk_tokens
        if not self.requests.ok.all():
            tokens = tokens * self.requests.ok[self.requests.chunk_owner]
        return self.window.per_s(self.data.chunk_ns, tokens) * self.window.seconds

    def per_window(self, what: Floats | Int64 | Mask, of: Mask) -> float:
        """How much of `what` (one per request) the window's tokens stand for.

        The tokens that arrived in the window, by what a counted success brings per token. Counting
        the requests that end inside would prefer the short ones, and so would give a rate of
        requests that the rate of tokens denies.
        """
        tokens = float(self.requests.output_tokens[self.ok].sum())
        return self.tokens * float(what[of].sum()) / tokens if tokens else 0.0

    def latencies_ms(self, of_all: Floats) -> Floats:
        """The latencies that count; nothing where no counted request succeeded."""
        if not self.ok.any():
            return np.empty(0)
        kept = of_all[self.counted]
        known: Floats = kept[~np.isnan(kept)]
        return known


def ttft_ms(s: Steady) -> Floats:
    """First token − sent, of requests that count; a failed one counts with its deadline."""
    return s.latencies_ms(s.requests.ttft_ms)


def first_answer_ms(s: Steady) -> Floats:
    """First token of the answer − sent, of requests that count, where thought was streamed before
    it; one without an answer has none, a failed one counts with its deadline."""
    return s.latencies_ms(s.requests.first_answer_ms)


def ttft_sched_ms(s: Steady) -> Floats:
    """First token − scheduled: shows the waiting that a late client would hide."""
    return s.latencies_ms(s.requests.ttft_sched_ms)


def itl_ms(s: Steady) -> Floats:
    """Gap between consecutive token-bearing chunks ÷ tokens in the later one, every gap of the
    successful requests that count."""
    d = s.data
    if len(d.chunk_ns) < 2:
        return np.empty(0)
    later = np.ones(len(d.chunk_ns), dtype=bool)
    later[d.requests["first_chunk"][d.requests["chunks"] > 0]] = False
    if not s.ok.all():
        later &= s.ok[s.requests.chunk_owner]
    at = np.flatnonzero(later)
    gaps: Floats = (d.chunk_ns[at] - d.chunk_ns[at - 1]) / 1e6 / d.chunk_tokens[at]
    return gaps


def tpot_ms(s: Steady) -> Floats:
    """(Last token − first token) ÷ (output tokens − those of the first chunk), one per request of
    two or more chunks; a failed one counts with its deadline."""
    return s.latencies_ms(s.requests.tpot_ms)


def e2e_ms(s: Steady) -> Floats:
    """Last byte − sent; a failed one counts with its deadline."""
    return s.latencies_ms(s.requests.e2e_ms)


def dispatch_lag_ms(s: Steady) -> Floats:
    """Sent − scheduled: how late the load generator itself was."""
    r = s.data.requests
    lag: Floats = ((r["sent_ns"] - r["scheduled_ns"]) / 1e6)[s.counted]
    return lag


def interactivity(s: Steady) -> Floats:
    """Tokens per second as one user sees them: 1 ÷ TPOT of each request."""
    tpot = tpot_ms(s)
    result: Floats = 1000.0 / tpot[tpot > 0]
    return result


def output_rate(s: Steady) -> float:
    """Output tokens of successful requests that arrived in the window ÷ its length."""
    return s.tokens / s.window.seconds


def output_rate_per_gpu(s: Steady) -> float | None:
    """Output rate ÷ GPUs; nothing where there is no GPU."""
    return output_rate(s) / s.gpus if s.gpus else None


def input_rate(s: Steady) -> float:
    """Requests per second × mean prompt tokens of the successful requests that count."""
    return s.per_window(s.requests.prompt_tokens, s.ok) / s.window.seconds


def total_rate(s: Steady) -> float:
    """Output rate + input rate: prompt tokens and generated ones."""
    return output_rate(s) + input_rate(s)


def request_rate(s: Steady) -> float:
    """Output rate ÷ mean output tokens of the successful requests that count."""
    return s.per_window(s.ok, s.ok) / s.window.seconds


def goodput(s: Steady, times: float = 1.0) -> float:
    """Requests per second × share of the successful requests that met both limits of the SLO, TTFT
    (from scheduled) and TPOT."""
    good = s.good(times)
    return s.per_window(good, good) / s.window.seconds


def goodput_tokens(s: Steady, times: float = 1.0) -> float:
    """Output rate × share of the tokens that belong to requests that met the SLO."""
    return s.per_window(s.requests.output_tokens, s.good(times)) / s.window.seconds


def error_share(s: Steady) -> float:
    """Requests that failed ÷ all requests of the load point."""
    return float(1 - s.requests.ok.mean())


@dataclass(frozen=True, kw_only=True)
class MetricDef:
    """A table entry: what a metric is called, measured in, and how it is computed.

    Either a `rate`, one number per repeat, or a percentile `q` of a `series` of values.
    """

    name: str
    unit: str
    better: Literal["higher", "lower", "none"]
    rate: Callable[[Steady], float | None] | None = None
    series: Callable[[Steady], Floats] | None = None
    q: float | None = 50.0
    """Which percentile of the series; None for its mean."""
    at_limits: Callable[[Steady, float], float] | None = None
    """The same rate with the SLO's limits so many times as long."""
    whole_run: bool = False
    """Measured over the whole load point, not its steady part, and never withheld."""

    @property
    def formula(self) -> str:
        """The definition in words, from the function that computes it."""
        words = " ".join(((self.rate or self.series).__doc__ or "").split())
        if self.rate:
            return words
        if self.q is None:
            return f"Mean over the repeats of each one's mean of: {words}"
        return f"Percentile {self.q:g} over all repeats of: {words}"


def _latency(
    stem: str, series: Callable[[Steady], Floats], *quantiles: float
) -> tuple[MetricDef, ...]:
    mean = MetricDef(name=f"{stem}_mean_ms", unit="ms", better="lower", series=series, q=None)
    return (
        *(
            MetricDef(name=f"{stem}_p{q:g}_ms", unit="ms", better="lower", series=series, q=q)
            for q in quantiles
        ),
        *((mean,) if len(quantiles) > 2 else ()),
    )


def _rate(name: str, unit: str, rate: Callable[[Steady], float | None]) -> MetricDef:
    return MetricDef(name=name, unit=unit, better="higher", rate=rate)


def _goodput(name: str, unit: str, rate: Callable[..., float]) -> MetricDef:
    return MetricDef(name=name, unit=unit, better="higher", rate=rate, at_limits=rate)


METRICS: tuple[MetricDef, ...] = (
    _rate("output_tokens_per_s", "tokens/s", output_rate),
    _rate("output_tokens_per_s_per_gpu", "tokens/s/GPU", output_rate_per_gpu),
    MetricDef(
        name="output_tokens_per_s_per_user",
        unit="tokens/s/user",
        better="higher",
        series=interactivity,
    ),
    _rate("input_tokens_per_s", "tokens/s", input_rate),
    _rate("total_tokens_per_s", "tokens/s", total_rate),
    _rate("requests_per_s", "requests/s", request_rate),
    _goodput("goodput_requests_per_s", "requests/s", goodput),
    _goodput("goodput_output_tokens_per_s", "tokens/s", goodput_tokens),
    *_latency("ttft", ttft_ms, 50, 90, 95, 99),
    *_latency("ttft_sched", ttft_sched_ms, 50, 99),
    *_latency("first_answer", first_answer_ms, 50, 90, 95, 99),
    *_latency("itl", itl_ms, 50, 90, 95, 99),
    *_latency("tpot", tpot_ms, 50, 90, 95, 99),
    *_latency("e2e", e2e_ms, 50, 90, 95, 99),
    *_latency("dispatch_lag", dispatch_lag_ms, 50, 99),
    MetricDef(name="error_rate", unit="1", better="lower", rate=error_share, whole_run=True),
)


def steady_parts(
    repeats: Sequence[PointData], slo: SloSpec, gpus: int, deadline_ms: float | None = None
) -> list[Steady]:
    """The steady part of each repeat that has one."""
    parts = []
    for data in repeats:
        window = steady_window(data)
        if window is not None:
            parts.append(Steady(data, window, slo, gpus, deadline_ms))
    return parts


def whole_parts(repeats: Sequence[PointData], slo: SloSpec, gpus: int) -> list[Steady]:
    """Each repeat from its first to its last instant, steady or not."""
    return [Steady(d, whole_window(d), slo, gpus) for d in repeats if d.count]


def measure(definition: MetricDef, parts: Sequence[Steady]) -> Metric:
    """One metric over the repeats of a load point; None where no repeat has an observation."""
    if definition.rate is not None:
        return _of_rates(definition, parts)
    assert definition.series is not None
    return _of_values(definition, Values.of(definition.series, parts))


def _edge_share(window: Window) -> float:
    """One slot's requests follow each other: its window cuts none of them."""
    return EDGE_SHARE / window.waves * (1 - 1 / window.slots) if window.waves else 0.0


def _of_rates(definition: MetricDef, parts: Sequence[Steady]) -> Metric:
    """The mean over repeats, with an interval from how they differ and from the windows' edges."""
    assert definition.rate is not None
    found = [(p, definition.rate(p)) for p in parts]
    known = [(p, v) for p, v in found if v is not None]
    values = [v for _, v in known]
    edge = 0.0
    if known and not definition.whole_run:
        edge = max(_edge_share(p.window) for p, _ in known) * float(np.mean(values))
    interval = mean_interval(values, systematic=edge)
    if interval.ends is not None and definition.at_limits is not None:
        interval = Interval(ends=_at_nearby_limits(definition.at_limits, parts, interval.ends))
    n = sum(int(p.counted.sum()) for p, _ in known)
    return _metric(definition, known, None if not values else float(np.mean(values)), interval, n)


def _at_nearby_limits(
    rate: Callable[[Steady, float], float],
    parts: Sequence[Steady],
    ends: tuple[float, float],
) -> tuple[float, float]:
    """The interval, as wide as what other repeats might have brought across a limit of the SLO.

    Requests alike are good together or not at all: three repeats that all kept a limit narrowly
    agree, and say nothing of the next. By how much one may be slower or faster is the prediction
    interval of a repeat's median TPOT; the rates with the limits moved by as much bound it, too.
    """
    medians = [float(np.median(t)) for p in parts if len(t := tpot_ms(p)) and np.median(t) > 0]
    if len(medians) < ENOUGH_REPEATS:
        return ends
    apart = float(np.exp(t_quantile(len(medians) - 1) * np.std(np.log(medians), ddof=1)))
    tight, loose = (float(np.mean([rate(p, times) for p in parts])) for times in (1 / apart, apart))
    return min(ends[0], tight), max(ends[1], loose)


@dataclass(frozen=True, eq=False)
class Values:
    """A series of every part that has values, and all of them together."""

    parts: tuple[Steady, ...]
    pooled: Pooled

    @classmethod
    def of(cls, series: Callable[[Steady], Floats], parts: Sequence[Steady]) -> Values:
        """Make the series."""
        found = [(p, series(p)) for p in parts]
        some = [(p, s) for p, s in found if len(s)]
        return cls(tuple(p for p, _ in some), Pooled.of([s for _, s in some]))


def _of_values(definition: MetricDef, values: Values) -> Metric:
    """The percentile of the values of all repeats, with an interval that takes each repeat as one
    cluster of values that may be alike."""
    groups = list(zip(values.parts, values.pooled.groups, strict=True))
    if definition.q is None:
        known = [(p, float(np.mean(s))) for p, s in groups]
        means = [mean for _, mean in known]
        value, interval = (float(np.mean(means)) if means else None), mean_interval(means)
    elif (n := len(values.pooled.together)) and n < (least := fewest_for(definition.q)):
        return Metric(
            value=None,
            unit=definition.unit,
            n=n,
            repeats=len(groups),
            reason=f"a p{definition.q:g} needs {least} values, there are {n}: it would be near "
            "the largest of them, whatever that is",
        )
    else:
        own = percentile(definition.q)
        known = [(p, own(s)) for p, s in groups]
        value, interval = values.pooled.quantile(definition.q)
    return _metric(definition, known, value, interval, len(values.pooled.together))


def fewest_for(q: float) -> int:
    """How many values a percentile above the median needs at least: as many as one of them lies
    beyond it on average. Of fewer it reads low (docs/truth-grid.md: a p99 of 28 to 63 by 5 to 10 %)
    and more repeats of as few would not show it."""
    return math.ceil(1 / (1 - q / 100) - 1e-9) if q > 50 else 1


def _metric(
    definition: MetricDef,
    known: Sequence[tuple[Steady, float]],
    value: float | None,
    interval: Interval,
    n: int,
) -> Metric:
    if value is None:
        return Metric(value=None, unit=definition.unit)
    return Metric(
        value=value,
        unit=definition.unit,
        # Times, rates and shares are never negative, whatever a symmetric interval says.
        ci_low=None if interval.ends is None else max(0.0, interval.ends[0]),
        ci_high=None if interval.ends is None else interval.ends[1],
        n=n,
        repeats=len(known),
        by_repeat={p.data.point.repeat: v for p, v in known},
        no_interval=interval.why_not,
    )


def measure_all(parts: Sequence[Steady], whole: Sequence[Steady]) -> dict[str, Metric]:
    """Every metric of the table: over the steady `parts`, a few over the `whole` load points.

    Each series is made once for all the figures that are read from it (p50, p90, p99).
    """
    found: dict[str, Metric] = {}
    made: dict[Any, Values] = {}
    for d in METRICS:
        these = whole if d.whole_run else parts
        if d.series is None:
            found[d.name] = measure(d, these)
            continue
        if d.series not in made:
            made = {d.series: Values.of(d.series, these)}  # one at a time: they are large
        found[d.name] = _of_values(d, made[d.series])
    return found
