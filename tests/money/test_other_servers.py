"""Figures of one server are not used for another: typed anew, copied, or of another power group."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.ask.costs import answered, cost_question
from bench.ask.servers import OWN_OF_A_SERVER
from bench.config.compose import conf_dir, options
from bench.values.errors import InputError
from bench.values.figure import figure

POINTS = "tco.throughput.points=[{input_tokens_per_s:6000,output_tokens_per_s:2000}]"
OF_ITS_OWN = (
    *("tco.own.capex_usd=30000", "tco.own.residual_usd=1000", "tco.own.provisioned_kw=2"),
    *("tco.own.maintenance_usd_per_month=100", "power.load_w=1000", "power.idle_w=300"),
)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The worked example copied, as the guide says to, with another server put in."""
    (tmp_path / "tco").mkdir()
    text = (conf_dir() / "tco" / "worked-example.yaml").read_text("utf-8")
    other = "server: {name: mine, gpu: a100-80gb-sxm, gpus: 2}"
    copied = text.replace("server: {name: 8x H100 SXM, gpu: h100-sxm, gpus: 8}", other)
    assert copied != text
    (tmp_path / "tco" / "mine.yaml").write_text(copied, encoding="utf-8")
    short = f"# @package _global_\ndefaults: [worked-example, _self_]\ntco:\n  {other}\n"
    (tmp_path / "tco" / "short.yaml").write_text(short, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", ["mine", "short"])
def test_a_copied_question_keeps_no_figure_of_the_server_it_was_copied_from(
    mine: Path, name: str
) -> None:
    with pytest.raises(InputError) as refused:
        cost_question((f"tco={name}",), (str(mine),))
    said = str(refused.value)
    assert said.startswith("tco.server is 2×a100-80gb-sxm, but tco=worked-example has the same")
    assert "word for word, for 8×h100-sxm; power=h100-x8 gives its watts for 8×h100-sxm" in said
    for key in (*OWN_OF_A_SERVER, "tco.throughput.points", "power.load_w", "power.idle_w"):
        assert key in said, key
    found = cost_question((f"tco={name}", POINTS, *OF_ITS_OWN), (str(mine),))
    assert found.tco.own is not None
    assert figure(found.tco.own.capex_usd).value == 30_000
    assert found.power.host_adder_w is None  # that of eight H100


def test_a_copy_that_is_rented_has_no_purchase_beside_it(mine: Path) -> None:
    with pytest.raises(InputError, match=r"type tco\.throughput\.points of this server"):
        cost_question(("tco=mine", "tco.basis=on_demand"), (str(mine),))
    found = cost_question(("tco=mine", "tco.basis=on_demand", POINTS), (str(mine),))
    assert found.tco.own is None
    assert found.power.load_w is None


def test_a_copy_with_figures_of_its_own_is_taken(mine: Path) -> None:
    """The same dollars with a source of one's own are no copy."""
    file = mine / "tco" / "mine.yaml"
    text = file.read_text("utf-8").replace("illustrative", "offer of 2026-11")
    text = text.replace("override /power: h100-x8", "override /power: default")
    file.write_text(text, encoding="utf-8")
    found = cost_question(("tco=mine", "power.load_w=900", "power.idle_w=300"), (str(mine),))
    assert found.tco.server.gpus == 2


def test_watts_of_another_server_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"power=source-document gives its watts for 2×a100-80gb"):
        cost_question(("tco=worked-example", "power=source-document"), ())
    words = ("power=source-document", "power.load_w=7000", "power.idle_w=2600")
    assert cost_question(("tco=worked-example", *words), ()).power.name == "source-document"


def test_every_shipped_question_is_of_its_own_server() -> None:
    for name in options("tco"):
        found = cost_question((f"tco={name}",), (), measured=True)
        assert (found.tco.own is None) is (name == "deepseek-h800"), name


def test_typed_points_are_typed_and_of_no_file() -> None:
    found = cost_question(("tco=worked-example", POINTS), ()).tco.throughput
    assert found is not None
    assert (found.source, found.arose, found.as_of) == ("typed", "assumed", "")
    words = (POINTS, "tco.throughput.source=my test", 'tco.throughput.as_of="2026-11"')
    said = cost_question(("tco=worked-example", *words), ()).tco.throughput
    assert said is not None
    assert (said.source, said.as_of) == ("my test", "2026-11")
    assert answered(cost_question(("tco=worked-example", POINTS), ()), ()).throughput_source == (
        "typed"
    )


def test_a_typed_value_is_typed_and_of_no_file() -> None:
    words = (
        "tco.people.fte.value=1",
        "power.usd_per_kwh.high=0.3",
        "tco.own.wacc_per_year.value=0.08",
    )
    found = cost_question(("tco=worked-example", *words), ())
    assert found.tco.own is not None
    fte, price = figure(found.tco.people.fte), figure(found.power.usd_per_kwh)
    assert (fte.source, fte.as_of) == ("typed; its range: illustrative", "")
    assert price.source == "illustrative (worked example); its range typed"
    assert price.as_of == "2026-11-23"
    assert figure(found.tco.own.wacc_per_year).source == "typed"
    said = ("tco.people.fte.value=1", "tco.people.fte.source=our plan")
    assert (
        figure(cost_question(("tco=worked-example", *said), ()).tco.people.fte).source == "our plan"
    )
