"""What charts are drawn from agrees with the answer itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from tco_support import ask, ask_json


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return ask_json("tco=worked-example")


def test_steps_add_up_to_each_level(data: dict[str, Any]) -> None:
    """By hand: 3 servers at 7,270.591 each of which 3 x 0.221969 work, one is a spare."""
    steps = data["waterfall"]
    monthly = {s["what"].split(":")[0].split()[0]: s["monthly_usd"] for s in steps}
    server = 7_270.591349
    assert monthly["server"] == pytest.approx(3 * 0.221969 * server, rel=1e-5)
    assert monthly["spare"] == pytest.approx(server)
    assert monthly["idle"] == pytest.approx((2 - 3 * 0.221969) * server, rel=1e-5)
    assert monthly["site"] == pytest.approx(12_120)
    assert monthly["staff"] == pytest.approx(10_833.33, abs=0.01)
    total = 0.0
    for level in ("marginal", "utilised", "loaded"):
        total += sum(s["usd_per_mtok"] for s in steps if s["level"] == level)
        assert total == pytest.approx(data["levels"][level]["usd_per_mtok_blended"])
    assert sum(s["monthly_usd"] for s in steps) == pytest.approx(data["monthly_usd"])


def test_a_claimed_fleet_has_no_spares_in_its_steps() -> None:
    data = ask_json("tco=source-document")
    assert sum(s["monthly_usd"] for s in data["waterfall"]) == pytest.approx(data["monthly_usd"])
    assert all(s["monthly_usd"] >= 0 for s in data["waterfall"])


def test_the_curve_is_the_bill_at_each_demand(data: dict[str, Any]) -> None:
    curve = data["curve"]
    grid = curve["mtok_per_month"]
    assert grid[0] < data["breakeven_mtok_per_month"]["anthropic/claude-sonnet-4.5"]
    assert grid[0] < 30_000 < grid[-1]
    for n in (0, 40, 80):
        at = ask_json("tco=worked-example", f"tco.demand.mtok_per_month={grid[n]!r}")
        assert curve["monthly_usd"][n] == pytest.approx(at["monthly_usd"])
        assert curve["servers"][n] == at["servers"]
        for way in ("own", "on_demand"):
            beside = curve["ways"][way]["monthly_usd"][n]
            assert beside == pytest.approx(at["options"][way]["monthly_usd"])
        for end in ("p5", "p50", "p95"):
            assert curve[f"monthly_usd_{end}"][n] == pytest.approx(
                at["uncertainty"]["monthly_usd"][end], rel=1e-9
            )
    assert all(low <= high for low, high in pairwise(curve["servers"]))
    sonnet = curve["apis"]["anthropic/claude-sonnet-4.5"]["monthly_usd"]
    assert sonnet[10] == pytest.approx(6.0 * grid[10])


def test_without_ranges_there_is_no_band() -> None:
    assert ask("tco=source-document").curve.bands == {}
    assert ask_json("tco=source-document")["curve"]["monthly_usd_p95"] is None


def test_a_claim_beyond_its_servers_is_called_impossible() -> None:
    """50 + 150 tokens/s are 525.6 M a month; power never exceeds the load's 2 kW."""
    data = ask_json("tco=source-document", "tco.demand.mtok_per_month=1000", "power.idle_w=1000")
    assert data["utilisation"] == pytest.approx(1000 / 525.6)
    assert data["model"]["mean_kw_per_server"] == pytest.approx(2.0)
    assert any("can do 525.6 M tokens a month, not 1,000" in line for line in data["caveats"])
