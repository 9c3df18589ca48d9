"""The metrics: one function and one table entry each; everything else picks them up.

A metric turns the steady part of one load point into a series of values and reduces it to one
number. Repeats give the interval (t over their means); with fewer than three, a block bootstrap
inside each run does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from bench.measure.stats import Floats, Reduce, block_interval, mean, percentile, t_interval
from bench.measure.window import Window, steady_window
from bench.values.finding import Finding, is_valid
from bench.values.fit_error import FitError
from bench.values.record import OK, Int64, LoadPoint, PointData
from bench.values.spec import SloSpec

Arose = Literal["measured", "allocated", "modelled", "quoted", "assumed", "replay", "synthetic"]

ENOUGH_REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number with what is needed to trust it. `value` is None when not measured.

    `n` counts the observations (requests, gaps or time bins) behind it, `repeats` the independent
    runs and `by_repeat` the figure of each, which comparisons pair; `withheld_value` holds the
    number of a result that failed its certificate. `reason` says why there is no value; `scope`
    what a power or an energy is of.
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


@dataclass(frozen=True, eq=False)
class Steady:
    """The part of one load point that counts: events that ended inside the steady window."""

    data: PointData
    window: Window
    slo: SloSpec
    gpus: int
    in_time_order: bool = True
    """Whether series come in the order of their events: sorting millions of gaps takes seconds, and
    only an interval from inside one series needs it."""

    @cached_property
    def ok(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Requests that succeeded and ended in the window."""
        r = self.data.requests
        mask: np.ndarray[tuple[int], np.dtype[np.bool_]] = (r["outcome"] == OK) & self.window.holds(
            r["end_ns"]
        )
        return mask

    @cached_property
    def first_token_ns(self) -> Int64:
        """Stamp of each request's first token-bearing chunk; 0 where there is none."""
        r = self.data.requests
        stamps = np.zeros(len(r["index"]), dtype=np.int64)
        some = r["chunks"] > 0
        stamps[some] = self.data.chunk_ns[r["first_chunk"][some]]
        return stamps

    @cached_property
    def last_token_ns(self) -> Int64:
        """Stamp of each request's last token-bearing chunk; 0 where there is none."""
        r = self.data.requests
        stamps = np.zeros(len(r["index"]), dtype=np.int64)
        some = r["chunks"] > 0
        stamps[some] = self.data.chunk_ns[(r["first_chunk"] + r["chunks"] - 1)[some]]
        return stamps

    @cached_property
    def output_tokens(self) -> Int64:
        """Tokens received per request."""
        r = self.data.requests
        total = np.concatenate([[0], np.cumsum(self.data.chunk_tokens)])
        tokens: Int64 = total[r["first_chunk"] + r["chunks"]] - total[r["first_chunk"]]
        return tokens

    @cached_property
    def chunk_owner(self) -> Int64:
        """Row of the request that each chunk belongs to."""
        r = self.data.requests
        order = np.argsort(r["first_chunk"], kind="stable")
        return np.repeat(order, r["chunks"][order])

    @cached_property
    def chunk_bins(self) -> Int64:
        """The time bin of each chunk, as Window.bins gives it."""
        return self.window.bins(self.data.chunk_ns)

    def tokens_per_s(self, of: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
        """Output tokens per second of those requests, per time bin of the window."""
        tokens = self.data.chunk_tokens
        weights = tokens if of.all() else np.where(of[self.chunk_owner], tokens, 0)
        return self.window.summed(self.chunk_bins, weights)

    def by_end(self, values: Floats, keep: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
        """`values` of the kept requests in the order in which they ended."""
        kept: Floats = values[keep]
        if not self.in_time_order:
            return kept
        ends = self.data.requests["end_ns"][keep]
        ordered: Floats = kept[np.argsort(ends, kind="stable")]
        return ordered


def ttft_ms(s: Steady) -> Floats:
    """First token − sent, of successful requests whose first token fell in the window."""
    return _to_first_token(s, "sent_ns")


def ttft_sched_ms(s: Steady) -> Floats:
    """First token − scheduled: shows the waiting that a late client would hide."""
    return _to_first_token(s, "scheduled_ns")


def _to_first_token(s: Steady, since: str) -> Floats:
    keep = (s.data.requests["outcome"] == OK) & s.window.holds(s.first_token_ns)
    return s.by_end((s.first_token_ns - s.data.requests[since]) / 1e6, keep)


def itl_ms(s: Steady) -> Floats:
    """Gap between consecutive token-bearing chunks ÷ tokens in the later one, every gap."""
    d = s.data
    if len(d.chunk_ns) < 2:
        return np.empty(0)
    later = np.ones(len(d.chunk_ns), dtype=bool)
    later[d.requests["first_chunk"][d.requests["chunks"] > 0]] = False
    keep = later & s.window.holds(d.chunk_ns)
    succeeded = d.requests["outcome"] == OK
    if not succeeded.all():
        keep &= succeeded[s.chunk_owner]
    at = np.flatnonzero(keep)
    gaps = (d.chunk_ns[at] - d.chunk_ns[at - 1]) / 1e6 / d.chunk_tokens[at]
    ordered: Floats = gaps[np.argsort(d.chunk_ns[at], kind="stable")] if s.in_time_order else gaps
    return ordered


def tpot_ms(s: Steady) -> Floats:
    """(Last token − first token) ÷ (output tokens − 1), one per request of two or more tokens."""
    keep = s.ok & (s.output_tokens > 1)
    steps = np.maximum(s.output_tokens - 1, 1)
    return s.by_end((s.last_token_ns - s.first_token_ns) / 1e6 / steps, keep)


def e2e_ms(s: Steady) -> Floats:
    """Last byte − sent."""
    r = s.data.requests
    return s.by_end((r["end_ns"] - r["sent_ns"]) / 1e6, s.ok)


def dispatch_lag_ms(s: Steady) -> Floats:
    """Sent − scheduled: how late the load generator itself was."""
    r = s.data.requests
    keep = s.window.holds(r["sent_ns"])
    return s.by_end((r["sent_ns"] - r["scheduled_ns"]) / 1e6, keep)


def output_rate(s: Steady) -> Floats:
    """Output tokens of successful requests per second, per time bin of the window."""
    return s.tokens_per_s(s.data.requests["outcome"] == OK)


def output_rate_per_gpu(s: Steady) -> Floats:
    """Output rate ÷ GPUs; nothing where there is no GPU."""
    return output_rate(s) / s.gpus if s.gpus else np.empty(0)


def input_rate(s: Steady) -> Floats:
    """Prompt tokens per second, counted when their request's first token arrives."""
    r = s.data.requests
    good = (r["outcome"] == OK) & (s.first_token_ns > 0)
    prompt = np.where(r["usage_prompt_tokens"] >= 0, r["usage_prompt_tokens"], r["input_tokens"])
    return s.window.binned(s.first_token_ns[good], prompt[good])


def request_rate(s: Steady) -> Floats:
    """Successful requests completed per second."""
    r = s.data.requests
    return s.window.binned(r["end_ns"][r["outcome"] == OK])


def _meets_slo(s: Steady) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Both limits kept, waiting from the scheduled time on: nothing late becomes good by it."""
    r = s.data.requests
    ttft = (s.first_token_ns - r["scheduled_ns"]) / 1e6
    tpot = (s.last_token_ns - s.first_token_ns) / 1e6 / np.maximum(s.output_tokens - 1, 1)
    met: np.ndarray[Any, np.dtype[np.bool_]] = (
        (r["outcome"] == OK) & (ttft <= s.slo.ttft_ms) & (tpot <= s.slo.tpot_ms)
    )
    return met


def goodput(s: Steady) -> Floats:
    """Requests per second that met both limits of the SLO, TTFT (from scheduled) and TPOT."""
    return s.window.binned(s.data.requests["end_ns"][_meets_slo(s)])


def goodput_tokens(s: Steady) -> Floats:
    """Output tokens per second of requests that met the SLO."""
    return s.tokens_per_s(_meets_slo(s))


def interactivity(s: Steady) -> Floats:
    """Tokens per second as one user sees them: 1 ÷ TPOT of each request."""
    tpot = tpot_ms(s)
    result: Floats = 1000.0 / tpot[tpot > 0]
    return result


def failures(s: Steady) -> Floats:
    """1 for a request that failed, 0 for one that did not, over all requests of the load point."""
    r = s.data.requests
    order = np.argsort(r["end_ns"], kind="stable")
    failed: Floats = (r["outcome"][order] != OK).astype(np.float64)
    return failed


@dataclass(frozen=True, kw_only=True)
class MetricDef:
    """A table entry: what a metric is called, measured in, and how it is computed."""

    name: str
    unit: str
    better: Literal["higher", "lower", "none"]
    series: Callable[[Steady], Floats]
    reduce: Reduce
    whole_run: bool = False
    """Measured over the whole load point, not its steady part, and never withheld."""

    @property
    def formula(self) -> str:
        """The definition in words, from the function that computes the series."""
        return " ".join((self.series.__doc__ or "").split())


def _latency(
    stem: str, series: Callable[[Steady], Floats], *quantiles: float
) -> tuple[MetricDef, ...]:
    return tuple(
        MetricDef(
            name=f"{stem}_p{q:g}_ms", unit="ms", better="lower", series=series, reduce=percentile(q)
        )
        for q in quantiles
    )


def _rate(name: str, unit: str, series: Callable[[Steady], Floats]) -> MetricDef:
    return MetricDef(name=name, unit=unit, better="higher", series=series, reduce=mean)


METRICS: tuple[MetricDef, ...] = (
    _rate("output_tokens_per_s", "tokens/s", output_rate),
    _rate("output_tokens_per_s_per_gpu", "tokens/s/GPU", output_rate_per_gpu),
    MetricDef(
        name="output_tokens_per_s_per_user",
        unit="tokens/s/user",
        better="higher",
        series=interactivity,
        reduce=percentile(50),
    ),
    _rate("input_tokens_per_s", "tokens/s", input_rate),
    _rate("requests_per_s", "requests/s", request_rate),
    _rate("goodput_requests_per_s", "requests/s", goodput),
    _rate("goodput_output_tokens_per_s", "tokens/s", goodput_tokens),
    *_latency("ttft", ttft_ms, 50, 90, 99),
    *_latency("ttft_sched", ttft_sched_ms, 50, 99),
    *_latency("itl", itl_ms, 50, 90, 99),
    *_latency("tpot", tpot_ms, 50, 90, 99),
    *_latency("e2e", e2e_ms, 50, 90, 99),
    *_latency("dispatch_lag", dispatch_lag_ms, 50, 99),
    MetricDef(
        name="error_rate",
        unit="1",
        better="lower",
        series=failures,
        reduce=mean,
        whole_run=True,
    ),
)


@dataclass(frozen=True, kw_only=True)
class PointMeasurement:
    """All metrics of one load point over its repeats, with the findings about it."""

    point: LoadPoint
    requests: int
    window_s: tuple[float, ...]
    metrics: dict[str, Metric]
    findings: tuple[Finding, ...] = ()
    power: Mapping[str, Any] | None = None
    """What every device did in every window, as plain data."""

    @property
    def valid(self) -> bool:
        """Whether its headline may be shown."""
        return is_valid(self.findings)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a run says: one entry per load point, and findings about the run as a whole."""

    points: tuple[PointMeasurement, ...]
    findings: tuple[Finding, ...] = ()
    calibration: dict[str, Any] = field(default_factory=dict)
    fit_errors: tuple[FitError, ...] = ()
    power: Mapping[str, Any] | None = None
    """Source, devices and idle baselines of the run's power, as plain data."""
    found_index: int | None = None
    """The load point that a search found: it speaks for the run, the others were on its way."""

    @property
    def headline(self) -> tuple[PointMeasurement, ...]:
        """The load points that speak for the run: all, or the one that a search found."""
        if self.found_index is None:
            return self.points
        return tuple(p for p in self.points if p.point.index == self.found_index)

    @property
    def valid(self) -> bool:
        """Whether the run and every load point that speaks for it can be trusted."""
        return (
            bool(self.headline) and is_valid(self.findings) and all(p.valid for p in self.headline)
        )


def steady_parts(repeats: Sequence[PointData], slo: SloSpec, gpus: int) -> list[Steady]:
    """The steady part of each repeat that has one."""
    parts = []
    for data in repeats:
        window = steady_window(data)
        if window is not None:
            parts.append(Steady(data, window, slo, gpus))
    return parts


def whole_parts(repeats: Sequence[PointData], slo: SloSpec, gpus: int) -> list[Steady]:
    """Each repeat from its first to its last instant, steady or not."""
    return [
        Steady(
            d, Window(start_ns=d.start_ns - 1, end_ns=int(d.requests["end_ns"].max())), slo, gpus
        )
        for d in repeats
        if d.count
    ]


def measure(definition: MetricDef, parts: Sequence[Steady]) -> Metric:
    """One metric over the repeats of a load point; None where no repeat has an observation."""
    return _reduced(definition, parts, [definition.series(part) for part in parts])


def _reduced(definition: MetricDef, parts: Sequence[Steady], series: Sequence[Floats]) -> Metric:
    """The metric from its series in each part, with the interval over repeats or inside them."""
    some = [(part, s) for part, s in zip(parts, series, strict=True) if len(s)]
    if not some:
        return Metric(value=None, unit=definition.unit)
    values = [definition.reduce(s) for _, s in some]
    centre = float(np.mean(values))
    interval = t_interval(values) if len(values) >= ENOUGH_REPEATS else None
    if interval is None:
        inside = [block_interval(_in_order(definition, *one), definition.reduce) for one in some]
        if all(i is not None for i in inside):
            halves = [(high - low) / 2 for low, high in inside if inside]  # type: ignore[misc]
            half = float(np.sqrt(np.sum(np.square(halves)))) / len(halves)
            interval = centre - half, centre + half
    return Metric(
        value=centre,
        unit=definition.unit,
        # Times, rates and shares are never negative, whatever a symmetric interval says.
        ci_low=None if interval is None else max(0.0, interval[0]),
        ci_high=None if interval is None else interval[1],
        n=sum(len(s) for _, s in some),
        repeats=len(some),
        by_repeat={p.data.point.repeat: v for (p, _), v in zip(some, values, strict=True)},
    )


def _in_order(definition: MetricDef, part: Steady, series: Floats) -> Floats:
    return series if part.in_time_order else definition.series(replace(part, in_time_order=True))


def measure_all(parts: Sequence[Steady], whole: Sequence[Steady]) -> dict[str, Metric]:
    """Every metric of the table: over the steady `parts`, a few over the `whole` load points.

    Each series is made once for all the figures that are read from it (p50, p90, p99).
    """
    found: dict[str, Metric] = {}
    unordered = len(parts) >= ENOUGH_REPEATS
    parts = [replace(p, in_time_order=False) for p in parts] if unordered else parts
    for function in dict.fromkeys(d.series for d in METRICS):
        series: dict[bool, list[Floats]] = {}
        for d in (d for d in METRICS if d.series is function):
            these = whole if d.whole_run else parts
            if d.whole_run not in series:
                series[d.whole_run] = [function(part) for part in these]
            found[d.name] = _reduced(d, these, series[d.whole_run])
    return {d.name: found[d.name] for d in METRICS}


def withhold(metrics: dict[str, Metric]) -> dict[str, Metric]:
    """The same metrics with every headline figure moved to `withheld_value`."""
    kept = {d.name for d in METRICS if d.whole_run}
    return {
        name: m
        if name in kept or m.value is None
        else replace(m, value=None, ci_low=None, ci_high=None, withheld_value=m.value, by_repeat={})
        for name, m in metrics.items()
    }
