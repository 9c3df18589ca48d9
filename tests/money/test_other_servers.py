"""Figures of one server are not used for another: typed anew, copied, or of another power group."""

from __future__ import annotations

import re
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


def test_a_throughput_typed_whole_keeps_nothing_of_the_file(mine: Path) -> None:
    """Not how it arose, nor how surely it was known: both were said of another figure."""
    file = mine / "tco" / "mine.yaml"
    text = file.read_text("utf-8").replace("illustrative", "our offer")
    text = text.replace("override /power: h100-x8", "override /power: default")
    text = text.replace("relative_ci: null", "relative_ci: 0.04")
    file.write_text(text.replace("arose: assumed\n", "arose: measured\n"), encoding="utf-8")
    words = ("tco=mine", "power.load_w=900", "power.idle_w=300")
    before = cost_question(words, (str(mine),)).tco.throughput
    assert before is not None
    assert (before.arose, before.relative_ci) == ("measured", 0.04)
    points = POINTS.removeprefix("tco.throughput.points=")
    whole = f'tco.throughput={{points:{points},source:a talk,as_of:"2026-10"}}'
    found = cost_question((*words, whole), (str(mine),)).tco.throughput
    assert found is not None
    assert (found.source, found.as_of) == ("a talk", "2026-10")
    assert (found.arose, found.relative_ci) == ("quoted", None)
    said = whole.replace("source:a talk", "source:a talk,arose:measured,relative_ci:0.1")
    kept = cost_question((*words, said), (str(mine),)).tco.throughput
    assert kept is not None
    assert (kept.arose, kept.relative_ci) == ("measured", 0.1)
    # A word before a colon inside a text is no key: the file's 0.04 was kept by this one.
    odd = whole.replace("source:a talk", 'source:"a talk, relative_ci: none"')
    parts = (POINTS, "tco.throughput.source=a talk")  # quoted as the whole is: was assumed
    for typed in ((odd,), parts):
        again = cost_question((*words, *typed), (str(mine),)).tco.throughput
        assert again is not None
        assert (again.arose, again.relative_ci) == ("quoted", None)


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


def test_a_value_typed_as_a_whole_keeps_nothing_of_the_file() -> None:
    """`key={value: 36}` once kept the file's source and date: hers was said to be quoted then."""
    words = ("tco=worked-example", "tco.own={life_months: {value: 36}}")
    own = cost_question(words, ()).tco.own
    assert own is not None
    life = figure(own.life_months)
    assert (life.value, life.source, life.arose, life.as_of) == (36, "typed", "assumed", "")
    said = "tco.people.fte={value: 1, source: 'our plan, as_of: May'}"
    fte = figure(cost_question(("tco=worked-example", said), ()).tco.people.fte)
    assert (fte.source, fte.arose, fte.as_of) == ("our plan, as_of: May", "quoted", "")


def test_two_questions_of_ones_own_may_share_a_flat_fee(mine: Path) -> None:
    """Maintenance by contract, the same for either server; all else is each server's own."""
    first = (mine / "tco" / "mine.yaml").read_text("utf-8").replace("illustrative", "our offer")
    first = first.replace("override /power: h100-x8", "override /power: default")
    four = first.replace("gpu: a100-80gb-sxm, gpus: 2", "gpu: h100-sxm, gpus: 4")
    (mine / "tco" / "mine.yaml").write_text(four, encoding="utf-8")
    (mine / "tco" / "short.yaml").unlink()
    two = four.replace("gpus: 4", "gpus: 2")
    (mine / "tco" / "two.yaml").write_text(two, encoding="utf-8")
    watts = ("power.load_w=900", "power.idle_w=300")
    with pytest.raises(InputError, match=r"tco=mine has the same ones, word for word, for 4×h100"):
        cost_question(("tco=two", *watts), (str(mine),))
    with pytest.raises(InputError, match=r"type tco\.own\.residual_usd"):
        cost_question(("tco=two", POINTS, "tco.own.capex_usd=90000", *watts), (str(mine),))
    cost_question(("tco=two", POINTS, *OF_ITS_OWN[:3], *watts), (str(mine),))
    for key, other in (("capex_usd", 90_000), ("residual_usd", 9_000), ("provisioned_kw", 3)):
        two = re.sub(rf"({key}: {{value: )[\d.]+", rf"\g<1>{other}", two)
    two = re.sub(r"low: [\d.]+, high: [\d.]+, ", "", two)
    two = two.replace("input_tokens_per_s: ", "input_tokens_per_s: 1")
    (mine / "tco" / "two.yaml").write_text(two, encoding="utf-8")
    for name in ("two", "mine"):
        found = cost_question((f"tco={name}", *watts), (str(mine),))
        assert found.tco.own is not None, name
        assert figure(found.tco.own.maintenance_usd_per_month).value == 2000


BROKEN = {
    "broken": "tco: {server: [",
    "comments": "# to be written\n",
    "five": "# @package _global_\ntco: {server: 5}\n",
    "inside": "tco: {server: 5}\n",
    "number": "# @package _global_\ntco: 5\n",
    "list": "- 1\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_question_that_was_not_chosen_stops_no_other(name: str, tmp_path: Path) -> None:
    (tmp_path / "tco").mkdir()
    (tmp_path / "tco" / f"{name}.yaml").write_text(BROKEN[name], encoding="utf-8")
    words = ("tco=worked-example",)
    assert cost_question(words, (str(tmp_path),)) == cost_question(words, ())
    with pytest.raises(InputError) as chosen:
        cost_question((f"tco={name}",), (str(tmp_path),))
    said = str(chosen.value)
    assert "\n" not in said
    assert name in said or "tco" in said
    if name in ("broken", "comments", "list"):  # named by another file, it is read, too
        short = f"# @package _global_\ndefaults: [{name}, _self_]\ntco: {{name: short}}\n"
        (tmp_path / "tco" / "short.yaml").write_text(short, encoding="utf-8")
        with pytest.raises(InputError, match=f"{name}.yaml"):
            cost_question(("tco=short",), (str(tmp_path),))


def test_a_broken_file_of_another_group_is_refused(tmp_path: Path) -> None:
    (tmp_path / "power").mkdir()
    (tmp_path / "power" / "mine.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.yaml"):
        cost_question(("tco=worked-example",), (str(tmp_path),))
