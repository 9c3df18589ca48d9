"""What a stored Run gives to a cost: SLO, power and cache hits per load point, and its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.measure.measurement import Measurement, PointMeasurement
from bench.measure.metrics import Metric
from bench.money.of_run import _relative_ends, slo_met, tco_run
from bench.money.throughput import saturated_point
from bench.values.finding import finding
from bench.values.record import Anchor, LoadPoint, Run
from bench.values.spec import RunSpec, SloSpec

SLO = SloSpec(ttft_ms=1000, tpot_ms=100)
VALUES = {
    "output_tokens_per_s": 100.0,
    "input_tokens_per_s": 300.0,
    "requests_per_s": 10.0,
    "goodput_requests_per_s": 9.6,
    "ttft_p99_ms": 800.0,
    "ttft_sched_p99_ms": 1200.0,
    "tpot_p99_ms": 50.0,
}


def load_point(
    index: int = 0, *, rate_per_s: float | None = None, **changes: Any
) -> PointMeasurement:
    """A load point with these metrics; a number replaces a value, a Metric the whole."""
    metrics: dict[str, Metric] = {
        name: Metric(value=value, unit="x") for name, value in VALUES.items()
    }
    metrics |= {n: Metric(value=None, unit="W") for n in ("power_mean_w", "idle_resident_w")}
    for name, change in changes.items():
        metrics[name] = change if isinstance(change, Metric) else Metric(value=change, unit="x")
    return PointMeasurement(
        point=LoadPoint(
            index=index,
            repeat=0,
            mode="closed" if rate_per_s is None else "open",
            concurrency=4 if rate_per_s is None else None,
            rate_per_s=rate_per_s,
        ),
        requests=10,
        window_s=(1.0,),
        metrics=metrics,
        findings=(finding("prefix_cache", "pass", "hits", 0.25),),
    )


def test_both_limits_must_hold() -> None:
    assert slo_met(load_point(), SLO) is True
    assert slo_met(load_point(ttft_p99_ms=1001.0), SLO) is False
    assert slo_met(load_point(tpot_p99_ms=101.0), SLO) is False
    assert slo_met(load_point(tpot_p99_ms=None), SLO) is None


def test_waiting_for_a_late_client_counts_where_requests_have_a_schedule() -> None:
    assert slo_met(load_point(rate_per_s=5.0), SLO) is False  # 1,200 ms from the scheduled time


def test_a_percentile_not_measured_is_judged_by_the_share_that_met_both() -> None:
    """9.6 of 10 requests a second met both limits: p95 holds, p97 does not."""
    assert slo_met(load_point(), SloSpec(ttft_ms=1000, tpot_ms=100, percentile=95)) is True
    assert slo_met(load_point(), SloSpec(ttft_ms=1000, tpot_ms=100, percentile=97)) is False
    unknown = load_point(goodput_requests_per_s=None)
    assert slo_met(unknown, SloSpec(ttft_ms=1000, tpot_ms=100, percentile=95)) is None


@pytest.fixture
def stored(run_spec: Callable[..., RunSpec]) -> Callable[..., Run]:
    def make(status: Any = "complete", **more: Any) -> Run:
        return Run(
            spec=run_spec(**more),
            status=status,
            path="results/r",
            anchor=Anchor(monotonic_ns=0, wall_iso="2026-11-24T10:00"),
            provenance={"host_cpu": "EPYC"},
            server={"engine_version": "0.32.0"},
        )

    return make


def test_every_load_point_keeps_its_own_power_and_hits(stored: Callable[..., Run]) -> None:
    def watts(value: float, scope: str, reach: float = 0.0) -> Metric:
        return Metric(
            value=value, unit="W", scope=scope, ci_low=value - reach, ci_high=value + reach
        )

    points = (
        load_point(
            0, power_mean_w=watts(500, "GPU board", 20), idle_resident_w=watts(90, "GPU board")
        ),
        load_point(1, power_mean_w=watts(40, "processor")),
    )
    found = tco_run(stored(), Measurement(points=points))
    first, second = found.points
    assert first.load_w == 500.0
    assert first.power_relative_ci == pytest.approx(0.04)
    assert second.load_w is None  # a processor is not the server
    assert (found.idle_w, first.cache_hit_rate) == (90.0, 0.25)
    assert (first.input_tokens_per_s, first.output_tokens_per_s) == (300.0, 100.0)
    assert (found.as_of, found.searched, found.words) == ("2026-11-24", False, ())
    assert found.engine.endswith("0.32.0")


def test_half_a_mix_is_no_throughput(stored: Callable[..., Run]) -> None:
    found = tco_run(stored(), Measurement(points=(load_point(input_tokens_per_s=None),)))
    assert found.points[0].tokens_per_s == 0.0


def test_of_a_search_the_load_it_found_counts(stored: Callable[..., Run]) -> None:
    """The loads tried on the way may be overloaded: they neither count nor invalidate."""
    points = (load_point(0, output_tokens_per_s=900.0), load_point(1))
    found = tco_run(stored(), Measurement(points=points, found_index=1))
    assert [p.output_tokens_per_s for p in found.points] == [100.0]
    assert found.searched


def test_a_load_that_failed_counts_for_nothing_and_leaves_the_others(
    stored: Callable[..., Run],
) -> None:
    """200 tokens/s are withheld: the cost is of the 100 that stand, and says what was left out."""
    hidden = Metric(value=None, unit="x", withheld_value=200.0)
    failed = replace(
        load_point(1, output_tokens_per_s=hidden, input_tokens_per_s=hidden, ttft_p99_ms=hidden),
        findings=(finding("errors", "fail", "too many"),),
    )
    found = tco_run(stored(), Measurement(points=(load_point(), failed)))
    assert found.words == ()
    best, caveats = saturated_point(found)
    assert best.output_tokens_per_s == 100.0
    assert any("c4 failed the certificate" in c for c in caveats)
    assert found.points[1].tokens_per_s == 0.0
    assert found.points[1].slo_met is None
    alone = tco_run(stored(), Measurement(points=(failed,)))
    assert (alone.words, alone.points[0].output_tokens_per_s) == (("invalid",), 200.0)


def test_a_run_that_did_not_end_is_invalid(stored: Callable[..., Run]) -> None:
    assert tco_run(stored("failed"), Measurement(points=(load_point(),))).words == ("invalid",)
    synthetic = tco_run(stored(engine="truth"), Measurement(points=(load_point(),)))
    assert synthetic.words == ("synthetic",)


def test_halves_that_differ_are_kept_apart() -> None:
    """90 to 100 to 130: shares 0.9 and 1.3. Halves of 9.8 and 10.2 are rounding's and one ±."""

    def metric(low: float, high: float) -> Metric:
        return Metric(value=100, unit="tok/s", ci_low=low, ci_high=high)

    assert _relative_ends(metric(90, 130)) == (0.9, 1.3)
    assert _relative_ends(metric(90.2, 110.2)) is None
    assert _relative_ends(metric(-5, 130)) is None
