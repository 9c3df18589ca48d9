"""Properties of the cost model: the split, the bill, break-evens, NPV, correct answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.money.breakeven import breakeven
from bench.money.cost import (
    spread_cost,
    usd_per_correct_answer,
)
from bench.money.fleet import Capital, Costs, Work, monthly_bill, spot_rate
from bench.money.investment import Flows, flows, npv, payback_at_todays_prices, payback_months
from bench.money.quality import equivalent
from bench.money.throughput import (
    Split,
    ThroughputPoint,
    fit_split,
)
from bench.values import units as u
from bench.values.errors import InputError
from bench.values.figure import Figure

positive = st.floats(0.01, 1e4)


def _split(a: float, b: float) -> Split:
    return Split(
        a=u.Rate(a, u.ServerSecond, u.Mtok),
        b=u.Rate(b, u.ServerSecond, u.Mtok),
        kind="split",
        why="test",
        mixes=2,
        measured_input_share=0.5,
        relative_ci=None,
    )


# No deadlines: a busy machine must not fail a property.
@settings(deadline=None)
@given(a=positive, b=positive, w_in=st.floats(0.01, 0.99), volume=positive, bill=positive)
def test_input_and_output_costs_give_the_bill_back(
    a: float, b: float, w_in: float, volume: float, bill: float
) -> None:
    demand: u.Rate[u.Mtok, u.Month] = u.Rate(volume, u.Mtok, u.Month)
    cost = spread_cost(u.usd_per_month(bill), demand, _split(a, b), np.asarray(w_in))
    assert cost.input is not None
    assert cost.output is not None
    back = cost.input * (demand * w_in) + cost.output * (demand * (1 - w_in))
    assert float(back) == pytest.approx(bill, rel=1e-9)


@settings(deadline=None)
@given(
    a=st.floats(1, 1e3),
    b=st.floats(1, 1e3),
    mixes=st.lists(st.floats(0.1, 0.9), min_size=2, max_size=6, unique_by=lambda m: round(m, 1)),
)
def test_the_split_is_recovered_from_mixes(a: float, b: float, mixes: list[float]) -> None:
    points = []
    for share in mixes:
        total = 1e6 / (share * a + (1 - share) * b)
        points.append(
            ThroughputPoint(
                input_tokens_per_s=total * share, output_tokens_per_s=total * (1 - share)
            )
        )
    fitted = fit_split(points)
    if max(mixes) - min(mixes) >= 0.02:
        assert fitted.kind == "split"
        assert float(fitted.a) == pytest.approx(a, rel=1e-6)
        assert float(fitted.b) == pytest.approx(b, rel=1e-6)


def _costs(**changes: Any) -> Costs:
    none = np.asarray(0.0)
    fields: dict[str, Any] = {
        "server": u.Rate(1000.0, u.Usd, u.ServerMonth),
        "site": u.Rate(0.0, u.Usd, u.ServerMonth),
        "load_kw": none,
        "idle_kw": none,
        "energy": u.Rate(0.1, u.Usd, u.Kwh),
        "staff": u.usd_per_month(0.0),
    }
    return Costs(**{**fields, **changes})


def _work(volume: float = 1.0, **changes: Any) -> Work:
    """One server carries 1,000 M tokens a month at this split."""
    fields: dict[str, Any] = {
        "demand": u.Rate(volume, u.Mtok, u.Month),
        "w_in": np.asarray(0.5),
        "peak_to_mean": np.asarray(1.0),
        "headroom": np.asarray(1.0),
        "spares": np.asarray(0.0),
        "split": _split(2628.0, 2628.0),
    }
    return Work(**{**fields, **changes})


def test_all_crossings_of_a_bill_in_steps() -> None:
    """$1000 a server and $500 staff at 1,000 M each against $1.30/M, by hand: 1,500 at one server
    is 1,153 > 1,000: none; two servers cost 2,500: 1,923; three 3,500: 2,692; four 4,500: 3,461;
    before 2,000 the API is dearer, just above it 3,500 > 2,600: cheaper again; and so on."""
    costs = _costs(staff=u.usd_per_month(500.0))
    found = breakeven(costs, _work(), u.usd_per_mtok(1.30))
    seen = [(round(c.mtok_per_month), c.servers, c.cheaper) for c in found.crossings]
    assert seen == [
        (1923, 2, "self-host"),
        (2000, 3, "api"),
        (2692, 3, "self-host"),
        (3000, 4, "api"),
        (3462, 4, "self-host"),
        (4000, 5, "api"),
        (4231, 5, "self-host"),
    ]
    assert found.for_good_above == pytest.approx(5500 / 1.30)


@settings(max_examples=60, deadline=None)
@given(price=st.floats(1.02, 20), staff=st.floats(0, 5000), spares=st.integers(0, 3))
def test_crossings_agree_with_the_bill_itself(price: float, staff: float, spares: int) -> None:
    costs = _costs(staff=u.usd_per_month(staff), idle_kw=np.asarray(0.5), load_kw=np.asarray(0.9))
    work = _work(spares=np.asarray(float(spares)))
    found = breakeven(costs, work, u.usd_per_mtok(price))

    def cheaper(volume: float) -> bool:
        bill = monthly_bill(costs, replace(work, demand=u.Rate(volume, u.Mtok, u.Month)))
        return float(bill.total) < price * volume

    for crossing in found.crossings[:20]:
        at = crossing.mtok_per_month
        assert cheaper(at * (1 + 1e-6)) is (crossing.cheaper == "self-host")
        assert cheaper(at * (1 - 1e-6)) is (crossing.cheaper == "api")
    if found.crossings:
        assert not cheaper(found.crossings[0].mtok_per_month * 0.5)


def test_no_crossing_at_or_below_the_floor() -> None:
    assert breakeven(_costs(), _work(), u.usd_per_mtok(1.0)).first is None
    assert breakeven(_costs(), _work(), u.usd_per_mtok(0.5)).for_good_above is None


def test_annuity_without_interest_is_straight_line() -> None:
    capital = Capital(
        upfront=u.usd(60_000.0),
        residual=u.usd(6_000.0),
        life_months=36,
        monthly_rate=np.asarray(0.0),
    )
    assert float(capital.per_month()) == pytest.approx(1_500.0)


def _two_months(**changes: Any) -> Costs:
    capital = Capital(
        upfront=u.usd(1_000.0), residual=u.usd(200.0), life_months=2, monthly_rate=np.asarray(0.1)
    )
    return _costs(capital=capital, **changes)


def _cash(costs: Costs, demand: float, *, decline: float = 0.0, growth: float = 0.0) -> Flows:
    """The flows against an API of $1 per M tokens."""
    api = u.usd_per_mtok(1.0)
    found = flows(costs, _work(demand), api, np.asarray(decline), np.asarray(growth))
    assert found is not None
    return found


def test_npv_by_hand() -> None:
    """-1000 + 600/1.1 + (600 + 200)/1.21 = 206.61 with an API bill of $600 a month."""
    worth = npv(_cash(_two_months(), 600.0))
    assert float(worth) == pytest.approx(-1000 + 600 / 1.1 + 800 / 1.21)


def test_npv_with_falling_prices_and_growth_by_hand() -> None:
    """Prices fall to 1/4 and demand to 4 times a year: at month t both are powers of t/12. Demand
    900, 900*4^(1/12) = 1010, 1134: a second server is bought at month 0 for month 1."""
    worth = npv(_cash(_two_months(), 900.0, decline=0.75, growth=3.0))
    # each month's bill is 900 * 4^(t/12) * 4^(-t/12) = 900; both servers are bought at month 0
    by_hand = -2 * 1000 + 900 / 1.1 + (900 + 2 * 200) / 1.21
    assert float(worth) == pytest.approx(by_hand)


def _bought(life: int, residual: float = 0.0) -> Costs:
    """One server of $1,000 without interest, with running costs of nothing."""
    capital = Capital(
        upfront=u.usd(1_000.0),
        residual=u.usd(residual),
        life_months=life,
        monthly_rate=np.asarray(0.0),
    )
    return _costs(capital=capital)


def test_payback_with_steady_prices_by_hand() -> None:
    """$1,000 over $300 a month: 3.33 months; within a life of 3 months never, unless the server
    then sells for the $100 that are missing; without savings never."""
    assert payback_months(_cash(_bought(12), 300.0)) == pytest.approx(10 / 3)
    assert payback_months(_cash(_bought(3), 300.0)) is None
    assert payback_months(_cash(_bought(3, residual=100.0), 300.0)) == 3
    steady = payback_at_todays_prices(
        _bought(3), monthly_bill(_bought(3), _work(300.0)), u.usd_per_month(300.0)
    )
    assert steady == pytest.approx(10 / 3)


def test_payback_takes_the_decline_that_npv_takes() -> None:
    """Prices fall to 1/4096 a year, to half each month: 500 + 250 + 125 + ... never reach $1,000,
    though at today's price it is one month. With a residual of $300: 500 + 250 + 300 after 2."""
    falls = 1 - 0.5**12
    cash = _cash(_bought(12), 1_000.0, decline=falls)
    assert [float(s) for s in cash.saved[:3]] == pytest.approx([500, 250, 125])
    assert payback_months(cash) is None
    assert float(npv(cash)) == pytest.approx(-1000 * 0.5**12)
    # to two thirds each month from $960: 640, then 360 of the 426.67 of the second month
    slower = payback_months(_cash(_bought(12), 960.0, decline=1 - (2 / 3) ** 12))
    assert slower == pytest.approx(1 + 360 / (960 * 4 / 9))
    assert payback_months(_cash(_bought(2, 300.0), 1_000.0, decline=falls)) == 2


def test_a_server_added_later_has_to_be_paid_back_too() -> None:
    """Demand doubles each month from 400 and a server carries 1,000: 800 saved in the first month,
    1,600 in the second, which takes a second server bought at the end of the first; 3,200 in the
    third with four servers, 6,400 in the fourth with seven. -1000 +800 -1000 +1600 -2000 +3200
    -3000 +6400: covered for good 1,400 / 6,400 into the fourth month."""
    cash = _cash(_bought(4), 400.0, growth=2.0**12 - 1)
    assert [float(b) for b in cash.bought] == pytest.approx([1000, 1000, 2000, 3000, 0])
    assert payback_months(cash) == pytest.approx(3 + 1400 / 6400)


def test_what_was_bought_costs_its_site_and_people_where_demand_falls() -> None:
    """Demand halves each month from 3,600, three servers of 1,000 and one to spare: 1,800, then
    900. All four go on costing $10 of site and $5 of care a month, and the idle power."""
    costs = replace(
        _bought(2),
        site=u.Rate(10.0, u.Usd, u.ServerMonth),
        care=u.Rate(5.0, u.Usd, u.ServerMonth),
        idle_kw=np.asarray(1.0),
        load_kw=np.asarray(1.0),
    )
    cash = _cash(costs, 3_600.0, growth=0.5**12 - 1)
    assert [float(b) for b in cash.bought] == pytest.approx([4_000, 0, 0])
    running = 4 * (10 + 5 + 0.1 * 730)
    assert [float(s) for s in cash.saved] == pytest.approx([1_800 - running, 900 - running])


@pytest.mark.parametrize("decline", [0.0, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("growth", [-0.3, 0.0, 0.5])
def test_payback_and_npv_agree(decline: float, growth: float) -> None:
    """Without interest, NPV is at least 0 exactly where there is a payback within the life."""
    for demand in np.geomspace(5, 900, 40):
        cash = _cash(_bought(36, 50.0), float(demand), decline=decline, growth=growth)
        assert (float(npv(cash)) >= 0) is (payback_months(cash) is not None)


def test_spot_counts_lost_hours() -> None:
    rate = spot_rate(u.Rate(2.0, u.Usd, u.GpuHour), np.asarray(0.1), np.asarray(2.0))
    assert float(rate) == pytest.approx(2.5)
    with pytest.raises(InputError, match="no useful hour"):
        spot_rate(u.Rate(2.0, u.Usd, u.GpuHour), np.asarray(0.5), np.asarray(2.0))


def test_cost_per_correct_answer_by_hand() -> None:
    """1,000 in at $1/M and 500 out at $4/M are $0.003; at a pass rate of 0.6, $0.005."""
    demand: u.Rate[u.Mtok, u.Month] = u.Rate(2.0, u.Mtok, u.Month)
    cost = spread_cost(u.usd_per_month(5.0), demand, _split(1, 4), np.asarray(0.5))
    assert float(usd_per_correct_answer(cost, 1000, 500, 0.6)) == pytest.approx(0.005)
    with pytest.raises(InputError, match="pass_rate"):
        usd_per_correct_answer(cost, 1000, 500, 0.0)


def test_equal_quality_must_be_shown() -> None:
    def rate(value: float, reach: float) -> Figure:
        return Figure(value=value, low=value - reach, high=value + reach, source="test")

    assert equivalent(rate(0.70, 0.003), rate(0.71, 0.004), 0.02) is True  # 0.01 + 0.005
    assert equivalent(rate(0.70, 0.03), rate(0.71, 0.04), 0.02) is False
    assert equivalent(Figure(value=0.7, source="t"), rate(0.7, 0.001), 0.02) is None
