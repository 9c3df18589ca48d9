"""What was once printed as VALID and was wrong, each with its right value. Others of these stand
beside what they test: docs/truth-grid.md lists all."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from point_support import Shot, even, point

from bench.config.compose import compose, run_spec
from bench.derive import measure_point
from bench.measure.checks.arrivals import achieved_rate
from bench.measure.checks.moves import RATES, moved_by, withhold
from bench.measure.checks.steadiness import precision
from bench.measure.histogram import histograms
from bench.measure.measurement import PointMeasurement
from bench.measure.metrics import Metric, measure_all, steady_parts, whole_parts
from bench.measure.window import steady_window
from bench.traffic.judge import slo_margin
from bench.traffic.schedule import arrivals_ns
from bench.values.finding import some
from bench.values.record import Anchor, Run
from bench.values.spec import SloSpec, TruthSpec

LOOSE = SloSpec(ttft_ms=1e9, tpot_ms=1e9)


def test_292_plus_minus_390_is_no_headline() -> None:
    rate = Metric(value=292.0, unit="tokens/s", ci_low=0.0, ci_high=682.0, n=100, repeats=3)
    parts = steady_parts([point(even(150))], LOOSE, 0)
    metrics = measure_all(parts, []) | {"output_tokens_per_s": rate}
    found = precision(metrics)
    assert found.severity == "fail"
    assert found.figure == pytest.approx(390 / 292, rel=1e-3)
    shown = withhold(metrics, [found])
    assert all(shown[name].value is None for name in RATES)
    assert shown["ttft_p50_ms"].value == pytest.approx(100)
    result = PointMeasurement(
        point=parts[0].data.point, requests=150, window_s=(1.0,), metrics=shown, findings=(found,)
    )
    assert not result.valid


def test_an_itl_p99_that_is_off_takes_one_column_of_eight() -> None:
    gone = moved_by([some("client_bound", "off by 0.39 ms", ("itl_p90", "itl_p99"))])
    assert set(gone) == {"itl_p90_ms", "itl_p99_ms"}


def test_a_failure_counts_with_its_deadline_in_every_figure_of_a_latency() -> None:
    """Two of 202 never answer and are given up after 30 s: table, picture and search alike."""
    shots = even(202)
    for i in (50, 150):
        shots[i] = replace(shots[i], outcome="timeout", chunks=[], tokens=[])
    data = point(shots)
    (part,) = steady_parts([data], LOOSE, 0, deadline_ms=30e3)
    found = measure_all([part], whole_parts([data], LOOSE, 0))
    lost = 2 / int(part.counted.sum())
    for name in ("TTFT", "E2E"):
        picture = histograms([part])[name]
        assert picture.edges_ms[-1] >= 30e3
        assert picture.shares[-1] == pytest.approx(lost)
    assert found["e2e_p50_ms"].value == pytest.approx(150)
    assert np.sum(part.requests.ttft_ms[part.counted] == 30e3) == 2
    slo = SloSpec(ttft_ms=1e3, tpot_ms=1e3, percentile=99.5)
    margin = slo_margin(data, slo, max_error_rate=1.0, timeout_s=30.0)
    assert margin.seen["ttft_sched_p99.5_ms"] == pytest.approx(30e3)


def test_the_realised_rate_is_printed() -> None:
    """Five a second were asked for; 101 requests in 21 s left at 100 / 21 = 4.762/s."""
    sent = np.linspace(0, 21e3, 101)
    shots = [Shot(sent=t, chunks=[t + 10], end=t + 20) for t in sent]
    found = achieved_rate([point(shots, rate_per_s=5.0)])
    assert re.search(r"4\.762 req/s", found.text)


def test_overload_counts_all_of_the_schedule_but_its_first_tenth() -> None:
    """Ten a second at a server of five: half a request's median time, queue and all, once left out
    half of them. The last one waits 60 s, the first counted one (number 61, at 6 s) 6 s more than
    its own."""
    shots = [
        Shot(sent=100.0 * i, chunks=[200.0 * (i + 1) - 10], end=200.0 * (i + 1)) for i in range(601)
    ]
    data = point(shots, rate_per_s=10.0)
    window = steady_window(data)
    assert window is not None
    assert window.start_ns == 6_000_000_000
    counted = window.counts(data)
    assert int(counted.sum()) == 540
    (part,) = steady_parts([data], LOOSE, 0)
    assert measure_all([part], [])["ttft_sched_p50_ms"].value == pytest.approx(33_240, abs=51)


def test_as_many_requests_as_gaps_between_them() -> None:
    """A request a second, each answered after half of one: 1/s. A window from any other place than
    an arrival to the last arrival, of which no token is in it, says 17.5 / 18 to 17 / 18."""
    shots = [Shot(sent=1e3 * i, chunks=[1e3 * i + 500], end=1e3 * i + 500) for i in range(21)]
    found = measure_all(steady_parts([point(shots, rate_per_s=1.0)], LOOSE, 0), [])
    assert found["output_tokens_per_s"].value == pytest.approx(1.0)


def test_an_open_loop_begins_at_an_arrival_that_is_like_the_last_one() -> None:
    """Poisson arrivals, 5/s, 100 of them, each answered by 10 tokens 0.1 s apart: 50 tokens/s. From
    the first arrival after a tenth of the time on, 2 % less: no other came for long before it,
    so that fewer are in the middle of an answer than when the last one comes."""
    rates = []
    for seed in range(400):
        sent = arrivals_ns("poisson", 5.0, 100, np.random.default_rng(seed)) / 1e6
        after = 100.0 * np.arange(1, 11)
        shots = [Shot(sent=t, chunks=(t + after).tolist(), end=t + 1e3) for t in sent.tolist()]
        data = point(shots, rate_per_s=5.0)
        window = steady_window(data)
        assert window is not None
        rates.append(window.per_s(data.chunk_ns, data.chunk_tokens))
    error = np.std(rates) / len(rates) ** 0.5
    assert np.mean(rates) == pytest.approx(50.0, abs=0.25 + 2 * error)
    assert 2 * error < 0.5


def test_three_repeats_that_narrowly_kept_a_limit_say_little_of_the_next() -> None:
    """TPOT 10.0, 10.1 and 9.9 ms against 10.2: all good three times, and the next repeat, 4.3 x 1 %
    slower or faster, may have none. The interval says so; at a limit of 20 it does not."""
    repeats = [point(even(150, gap=g), repeat=r) for r, g in enumerate((10.0, 10.1, 9.9))]

    def goodput(tpot_ms: float) -> Metric:
        parts = steady_parts(repeats, SloSpec(ttft_ms=1e3, tpot_ms=tpot_ms), 0)
        return measure_all(parts, [])["goodput_requests_per_s"]

    assert goodput(10.2).value == goodput(20.0).value
    assert goodput(10.2).ci_low == 0.0
    assert (goodput(20.0).ci_low or 0.0) > 0.9 * (goodput(20.0).value or math.inf)


def test_the_command_that_said_12_6_requests_a_second() -> None:
    """bench engine=truth … of issue 17: 50 + 49 x 20 = 1,030 ms each, so 16 ÷ 1.03 s = 15.534
    requests/s and 776.7 tokens/s, and everything ties out. It printed 12.615 ± 0.001, VALID."""
    words = "engine=truth engine.ttft_ms=50 engine.itl_ms=20 workload.input_tokens=64 gpus=0 "
    words += "workload.output_tokens=50 load.concurrency=[16] load.duration_s=4 load.repeats=3"
    spec = run_spec(compose(words.split()), detect_gpus=False)
    engine, (slots,), tokens = spec.engine, spec.load.concurrency, spec.workload.output_tokens
    assert isinstance(engine, TruthSpec)
    assert isinstance(tokens, int)
    gaps = engine.ttft_ms + engine.itl_ms * np.arange(tokens)
    took = float(gaps[-1])
    waves = math.ceil(1e3 * (spec.load.duration_s or 0) / took)
    shots = [
        Shot(sent=took * w, chunks=(took * w + gaps).tolist(), end=took * (w + 1))
        for w in range(waves)
        for _ in range(slots)
    ]
    run = Run(spec=spec, anchor=Anchor(monotonic_ns=0, wall_iso="2026"), status="complete")
    found = measure_point(run, [point(shots, concurrency=slots, repeat=r) for r in range(3)])
    for name, right in (("requests_per_s", 16 / 1.03), ("output_tokens_per_s", 800 / 1.03)):
        said = found.metrics[name]
        assert said.value == pytest.approx(right, rel=1e-6)
        assert (said.ci_low or math.inf) <= right <= (said.ci_high or 0.0)
    passed = {f.code for f in found.findings if f.severity == "pass"}
    assert {"little", "tie_out"} <= passed


def test_the_rows_of_the_readme_add_up() -> None:
    """64 tokens an answer: tokens/s ÷ 64 is the requests/s beside it (once 30.4 against 28.7)."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    figure = r"([\d,.]+) ± [\d,.]+"
    rows = re.findall(rf"^ +\d+ in flight +{figure} +{figure} +{figure} ", text, re.MULTILINE)
    assert len(rows) == 3
    for tokens, _, requests in (tuple(float(f.replace(",", "")) for f in row) for row in rows):
        assert tokens / 64 == pytest.approx(requests, rel=0.005)
