"""The Latin hypercube is stratified, seeded and correlated as asked; traces give demand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from tco_support import ask, cpu_run

from bench.money.demand import trace_demand
from bench.money.spec import UncertaintySpec
from bench.money.throughput import Split, ThroughputPoint, fit_split
from bench.money.uncertainty import latin_hypercube, quantile, sample, tornado
from bench.values import units as u
from bench.values.errors import InputError
from bench.values.figure import Figure


def split_of(a: float, b: float) -> Split:
    return Split(
        a=u.Rate(a, u.ServerSecond, u.Mtok),
        b=u.Rate(b, u.ServerSecond, u.Mtok),
        kind="split",
        why="test",
        mixes=2,
        measured_input_share=0.5,
        relative_ci=None,
    )


def _figure(low: float, value: float, high: float, dist: str = "uniform") -> Figure:
    return Figure(value=value, low=low, high=high, dist=dist, source="test")  # type: ignore[arg-type]


FIGURES = {"x": _figure(0, 5, 10), "y": _figure(1, 2, 3), "fixed": Figure(value=7, source="test")}
SPEC = UncertaintySpec(draws=1000, seed=3, throughput_power_correlation=0.8)


def test_every_stratum_is_hit_once_even_when_correlated() -> None:
    draws = sample(FIGURES, SPEC, ("x", "y"))
    assert set(draws) == {"x", "y"}
    for key, low, width in (("x", 0.0, 0.01), ("y", 1.0, 0.002)):
        strata = np.floor((draws[key] - low) / width).astype(int)
        assert sorted(strata.tolist()) == list(range(1000))


def test_the_rank_correlation_is_the_one_asked_for() -> None:
    draws = sample(FIGURES, SPEC, ("x", "y"))
    rank = float(stats.spearmanr(draws["x"], draws["y"]).statistic)
    assert rank == pytest.approx(0.8, abs=0.03)
    free = sample(FIGURES, SPEC, ("x", "absent"))
    assert abs(float(stats.spearmanr(free["x"], free["y"]).statistic)) < 0.1


def test_the_same_seed_gives_the_same_draws() -> None:
    one, two = (sample(FIGURES, SPEC, ("x", "y")) for _ in range(2))
    assert one["y"].tolist() == two["y"].tolist()
    other = sample(FIGURES, UncertaintySpec(draws=1000, seed=4), ("x", "y"))
    assert one["x"].tolist() != other["x"].tolist()


def test_quantiles_by_hand() -> None:
    p = np.array([0.0, 0.05, 0.5, 0.95, 1.0])
    assert quantile(_figure(0, 5, 10), p).tolist() == [0.0, 0.5, 5.0, 9.5, 10.0]
    triangle = quantile(_figure(0, 1, 2, "triangular"), p)
    assert triangle.tolist() == pytest.approx([0, 0.1**0.5, 1, 2 - 0.1**0.5, 2])
    log = quantile(_figure(0.5, 1, 2, "lognormal"), p[1:4])
    assert log.tolist() == pytest.approx([0.5, 1.0, 2.0])
    uneven = quantile(_figure(0.5, 1, 8, "lognormal"), p[1:4])  # off its centre: as it was given
    assert uneven.tolist() == pytest.approx([0.5, 1.0, 8.0])
    assert quantile(Figure(value=3.0, source="t"), p).tolist() == [3.0] * 5


def test_draws_are_scipys() -> None:
    for dimensions, draws, seed in ((1, 7, 0), (5, 1000, 3)):
        known = stats.qmc.LatinHypercube(d=dimensions, rng=np.random.default_rng(seed))
        assert np.array_equal(latin_hypercube(draws, dimensions, seed), known.random(draws))
    p = np.linspace(0, 1, 101)
    skewed = stats.triang.ppf(p, 0.3, loc=1, scale=10)
    assert quantile(_figure(1, 4, 11, "triangular"), p) == pytest.approx(skewed, rel=1e-12)


def test_tornado_orders_by_swing() -> None:
    """2x + y: x from 1 to 9 swings 16, y from 1.2 to 2.8 swings 1.6."""
    bars = tornado(FIGURES, lambda v: 2 * np.asarray(v.get("x", 5.0)) + np.asarray(v.get("y", 2.0)))
    assert [b.key for b in bars] == ["x", "y"]
    assert [b.swing for b in bars] == pytest.approx([16.0, 1.6])
    assert [bars[0].result_p10, bars[0].result_p90] == pytest.approx([4.0, 20.0])


def test_draws_that_cannot_vary_say_so() -> None:
    nulls = ["own.capex_usd", "people.fte", "demand.peak_to_mean", "fleet.spares"]
    found = ask(
        "tco=worked-example",
        "power.usd_per_kwh=0.1",
        "power.host_adder_w=null",
        *(f"tco.{key}={value}" for key, value in zip(nulls, (300000, 0.5, 2.5, 1), strict=True)),
    )
    assert found.uncertain == {}
    assert ask("tco=source-document").uncertain == {}  # its spot terms' ranges do not enter
    assert all(api.p_self_host_cheaper is None for api in found.apis)
    assert any("nothing is said about uncertainty" in line for line in found.caveats)


def test_the_odds_by_hand() -> None:
    """Only FTE varies, evenly from 0 to 2: F = 34,950.05 + 21,666.67*fte meets the API's
    54,000 (4.50 at 60 % off) at 0.879 FTE, which 44 % of the draws lie below."""
    found = ask(
        "tco=worked-example",
        "power.usd_per_kwh=0.1",
        "tco.own.capex_usd=300000",
        "tco.demand.peak_to_mean=2.5",
        "tco.fleet.spares=1",
        "tco.api.discount=0.6",
        "tco.api.compare=[google/gemini-3-pro]",
    )
    fixed = 45_783.38293486117 - 10_833.333333333334
    wins = (0.4 * 135_000 - fixed) / (200_000 * 1.3 / 12) / 2  # share of FTE below break-even
    assert found.apis[0].p_self_host_cheaper == pytest.approx(wins, abs=1e-3)


def test_the_fits_own_residuals_reach_the_answer() -> None:
    """Three mixes that no a and b fit exactly, none of them repeated: 1 = a*x_in + b*x_out at
    (1, 1), (2, 0.5) and (0.5, 2.2) M tokens/s. By hand, X'X = [[5.25, 3.1], [3.1, 6.09]] and
    X'1 = (3.5, 3.7): a = 0.440246, b = 0.383454; residuals 0.17630, -0.07222, -0.06372 with one
    degree of freedom and t = 12.7062."""
    mixes = ((1e6, 1e6), (2e6, 0.5e6), (0.5e6, 2.2e6))
    split = fit_split(
        [ThroughputPoint(input_tokens_per_s=i, output_tokens_per_s=o) for i, o in mixes]
    )
    assert (float(split.a), float(split.b)) == pytest.approx((0.440246, 0.383454), abs=1e-6)
    variance = 0.17630**2 + 0.07222**2 + 0.06372**2
    inverse = np.linalg.inv(np.array([[5.25, 3.1], [3.1, 6.09]]))
    half = 12.7062 * np.sqrt(variance * 0.25 * inverse.sum())
    expected = half / (0.5 * 0.440246 + 0.5 * 0.383454)
    assert split.interval(0.5) == pytest.approx(expected, rel=1e-3)
    assert split.a_ci is not None
    assert split.a_ci[1] - 0.440246 == pytest.approx(
        12.7062 * np.sqrt(variance * inverse[0, 0]), rel=1e-3
    )


def test_an_interval_wider_than_the_value_is_no_certainty() -> None:
    """± 120 %: the factor runs from 1/1.94 to 1.94 (P5 to P95), not from 1 to 1."""
    point = ThroughputPoint(
        input_tokens_per_s=400, output_tokens_per_s=100, relative_ci=1.2, slo_met=True
    )
    found = ask("tco=cpu-host", "tco.demand.mtok_per_month=5000", runs=(cpu_run(points=(point,)),))
    assert any("known to ± 120% only" in line for line in found.caveats)
    bar = next(bar for bar in found.bars if bar.key == "throughput.factor")
    assert bar.input_p90 == pytest.approx(2.2 ** (1.2815516 / 1.9599640))


def test_points_that_no_price_fits_widen_the_blend() -> None:
    """More input makes this server no slower, so output alone would cost: a blend of 1.5 and 3 M
    tokens/s is 0.5 server-seconds per M tokens, 33 % either way."""
    points = [ThroughputPoint(input_tokens_per_s=i, output_tokens_per_s=1e6) for i in (0.5e6, 2e6)]
    split = fit_split(points)
    assert split.kind == "blend"
    assert float(split.a) == pytest.approx(0.5)
    assert split.relative_ci == pytest.approx(1 / 3)


def test_throughput_interval_reaches_the_answer() -> None:
    """±10 % of throughput changes how many servers 5,000 M tokens a month need."""
    found = ask("tco=cpu-host", "tco.demand.mtok_per_month=5000", runs=(cpu_run(),))
    assert found.split.relative_ci == pytest.approx(0.1)
    assert "throughput.factor" in {bar.key for bar in found.bars}


def _trace(*rows: str, hours: range = range(168)) -> list[str]:
    return ["hour,input_tokens,output_tokens", *rows, *(f"{h},100,50" for h in hours)]


def test_a_trace_gives_volume_mix_and_peak() -> None:
    """167 hours of 150 tokens and one of 1,500: 26,550 a week, mean 158.036, peak 9.49 times."""
    found = trace_demand(_trace("0,1000,500", hours=range(1, 168)), "t.csv")
    assert found.mtok_per_month == pytest.approx(26_550 / 1e6 * 730 / 168)
    assert found.input_share == pytest.approx(2 / 3)
    assert found.peak_to_mean(split_of(1, 1)) == pytest.approx(1_500 / (26_550 / 168))


def test_the_busiest_hour_is_the_one_of_most_server_time() -> None:
    """Output takes 4 times the server time of input. Hour 0 has 300 output tokens (1,200), the
    others 100 in and 50 out (300): the peak is 1,200 over the mean of 305.36, though by tokens
    it is but 300 over 150.9."""
    found = trace_demand(_trace("0,0,300", hours=range(1, 168)), "t.csv")
    assert found.peak_to_mean(split_of(1, 4)) == pytest.approx(1_200 * 168 / (1_200 + 167 * 300))


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (_trace(hours=range(167)), "hour 167 is missing"),
        (_trace("3,1,1"), "hour 3 is given twice"),
        (_trace("168,1,1"), "not within 0 to 167"),
        (_trace("0,-1,1", hours=range(1, 168)), "line 2: token counts must be at least 0"),
        (_trace("x,1,1"), "line 2"),
        (["hour,input,output_tokens", "0,1,1"], "column 'input_tokens' is missing"),
        (["hour,input_tokens,output_tokens", *(f"{h},0,0" for h in range(168))], "no tokens"),
    ],
)
def test_bad_traces_are_named(lines: list[str], match: str) -> None:
    with pytest.raises(InputError, match=match):
        trace_demand(lines, "t.csv")


def test_a_lopsided_interval_of_the_throughput_is_drawn_as_it_is() -> None:
    """95 % from 0.5 to 1.2 of it: its P5 is 0.5 ** (1.645/1.960) = 0.559, its P95 1.2 ** 0.839 =
    1.165. With no other range and one claimed server the utilisation is the inverse."""
    found = ask("tco=source-document", "+tco.throughput.relative_ends=[0.5,1.2]")
    used = found.uncertain["utilisation"]
    centre = float(found.bill.utilisation)
    assert used["p5"] == pytest.approx(centre / 1.2**0.8393, rel=2e-3)
    assert used["p50"] == pytest.approx(centre, rel=2e-3)
    assert used["p95"] == pytest.approx(centre / 0.5**0.8393, rel=2e-3)


@pytest.mark.parametrize("ends", ["[1.1,1.2]", "[0,1.2]", "[0.5,0.9]"])
def test_ends_that_are_none_are_refused(ends: str) -> None:
    with pytest.raises(InputError, match="relative_ends must lie around 1"):
        ask("tco=source-document", f"+tco.throughput.relative_ends={ends}")
