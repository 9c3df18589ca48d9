"""Cases: what goes into an anonymous file, what stays out, and several beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stored_support import busy, stored

from bench.cli.main import main
from bench.money.case import Known, beside

QUESTION = (
    "tco.demand.mtok_per_month=1",
    "tco.allow=[synthetic,invalid]",
    "tco.uncertainty.draws=100",
)


def code(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(str(ended.value.code or 0))


def test_a_run_becomes_a_case_that_names_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """20 tokens a second on one H100; its folder's name and its host stay out of the file."""
    secret = tmp_path / "acme-customer-7"
    path = stored(secret, busy(70.0, 400.0))
    where = f"results_dir={secret}"
    mine, other = tmp_path / "mine.json", tmp_path / "other.json"
    assert code("case", "export", path.name, str(mine), where, *QUESTION) == 0, capsys.readouterr()
    capsys.readouterr()
    text = mine.read_text(encoding="utf-8")
    for word in ("acme", str(tmp_path), path.name, "127.0.0.1", "http"):
        assert word not in text, word
    case = json.loads(text)
    assert (case["run"]["gpus"], case["run"]["gpu"], case["month"]) == (1, "h100-sxm", "2026-11")
    assert "synthetic" in case["tco"]["words"]  # carried through
    assert case["tco"]["figures"]["own bill, USD/month"] > 0
    assert any(key.startswith("tco.own") for key in case["assumed"])
    more = (*QUESTION, "tco.fleet.spares=3")
    assert code("case", "export", path.name, str(other), where, *more) == 0
    capsys.readouterr()
    assert code("case", "compare", str(mine), str(other), "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows["own bill, USD/month"][1] > rows["own bill, USD/month"][0]
    assert code("case", "compare", str(mine), str(other)) == 0
    assert "own bill, USD/month" in capsys.readouterr().out
    assert code("case", "export", path.name, str(mine), where) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_name_of_one_s_own_is_in_no_case() -> None:
    """A fine-tuned model and a contract's seller carry names that tell whose they are."""
    known = Known(
        models={"tiny"},
        quants={"fp8"},
        gpus={"l4"},
        prices={"openai/gpt-5-mini", "google/gemini-2.5-pro"},
    )
    assert known.of_run("model", "tiny") == "tiny"
    assert known.of_run("model", "acme-support-llama") == "own model"
    assert known.of_run("valid", True) is True
    for name in (
        "own cost, USD/Mtok",
        "on_demand bill, USD/month",
        "openai/gpt-5-mini bill, USD/month",
        "prices.google/gemini-2.5-pro.input",
        "tco.people.fte",
    ):
        assert known.of_key(name) == name
    assert known.of_key("acme/llm break-even, Mtok/month") == "own seller 1 break-even, Mtok/month"
    assert known.of_key("prices.acme/llm.input") == "prices.own seller 1.input"
    assert known.of_key("prices.other/x.output") == "prices.own seller 2.output"


def test_cases_of_unlike_things_stand_beside_each_other() -> None:
    def case(bill: float, spares: float, **metrics: float) -> dict[str, object]:
        return {
            "run": {"model": "m", "gpus": 8},
            "month": "2026-11",
            "metrics": {k: {"value": v} for k, v in metrics.items()},
            "tco": {"basis": "own", "figures": {"own bill, USD/month": bill}},
            "assumed": {"tco.spares": {"value": spares}, "tco.same": {"value": 1}},
        }

    rows = {r.name: r.values for r in beside([case(10, 1, ttft_p50_ms=5.0), case(20, 2)])}
    assert rows["own bill, USD/month"] == (10, 20)
    assert rows["ttft_p50_ms"] == (5.0, None)
    assert rows["assumed tco.spares"] == (1, 2)
    assert "assumed tco.same" not in rows  # alike: nothing to say


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("case",), "bench case takes: export RUN FILE.json"),
        (("case", "compare", "a.json"), "bench case takes"),
        (("case", "compare", "a.json", "b.json"), "a.json: No such file"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code(*words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_file_that_is_no_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (("a", "{}"), ("b", '{"case": 1}'), ("c", "[")):
        (tmp_path / f"{name}.json").write_text(text, encoding="utf-8")
    for name, message in (("a", "is no case"), ("b", "run is missing"), ("c", "is no JSON")):
        assert code("case", "compare", *[str(tmp_path / f"{name}.json")] * 2) == 2
        assert message in capsys.readouterr().err
