"""What changed since an earlier answer, against bills worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tco_support import TODAY, ask_json, request

from bench.cli.main import main
from bench.money.answer import TcoAnswer, answer
from bench.money.prices.book import PriceRow
from bench.money.since import figures_of, figures_of_document, moved, since
from bench.report.since_table import change_line

MORE = (
    "prices.more_rows=["
    "{provider: p, model: m, kind: input, usd: 1, as_of: 2025-01-01, source: list},"
    "{provider: p, model: m, kind: output, usd: 4, as_of: 2025-01-01, source: list},"
    "{provider: p, model: m, kind: input, usd: 0.5, as_of: 2025-06-01, source: list},"
    "{provider: p, model: m, kind: output, usd: 2, as_of: 2025-09-01, source: list},"
    "{provider: q, model: n, kind: input, usd: 3, as_of: 2025-10-01, source: list},"
    "{provider: q, model: n, kind: output, usd: 3, as_of: 2025-10-01, source: list}]"
)
QUESTION = (
    *("tco=worked-example", MORE, "tco.api.compare=[p/m,q/n]", "tco.demand.mtok_per_month=1000"),
    *("tco.demand.input_share=0.75", "tco.demand.cache_hit_rate=0", "tco.uncertainty.draws=100"),
    *("tco.api.discount=0", "tco.api.batch_share=0"),
)


def test_each_price_moves_its_share_and_all_add_up() -> None:
    """1,000 M tokens, three quarters prompt: 750 × 1 + 250 × 4 = 1,750 USD in March 2025; half the
    price of the prompt is 375 less, of the answer 500 less: 875. q/n had no price then: 3,000."""
    asked = request(*QUESTION)
    rows = asked.prices.rows + asked.prices.more_rows

    def ask(book: tuple[PriceRow, ...], as_of: str | None) -> TcoAnswer:
        return answer(
            replace(asked, prices=replace(asked.prices, as_of=as_of)), (), book, None, TODAY
        )

    found = since(ask, rows, "2025-03-01")
    bills = {m.name: (m.before, m.after) for m in found.figures}
    assert list(bills["p/m bill, USD/month"]) == pytest.approx([1750, 875])
    assert bills["q/n bill, USD/month"][0] is None
    assert bills["q/n bill, USD/month"][1] == pytest.approx(3000)
    steps = {
        " ".join((c.rows[0].key, *(r.kind for r in c.rows))): {m.name: m.after for m in c.moved}
        for c in found.changes
    }
    assert steps["p/m input"]["p/m bill, USD/month"] == pytest.approx(1375)
    assert steps["p/m output"]["p/m bill, USD/month"] == pytest.approx(875)
    assert steps["q/n input output"]["q/n bill, USD/month"] == pytest.approx(3000)
    said = next(change_line(c) for c in found.changes if c.rows[0].key == "p/m")
    assert said.startswith("p/m input 1 → 0.5 USD (2025-06-01, list): p/m bill, USD/month 1,750 →")


def test_a_stored_answer_has_the_same_figures() -> None:
    asked = request(*QUESTION)
    now = answer(asked, (), asked.prices.rows + asked.prices.more_rows, None, TODAY)
    stored = json.loads(json.dumps(ask_json(*QUESTION)))
    assert moved(figures_of_document(stored), figures_of(now)) == ()
    stored["monthly_usd"] *= 2
    (one,) = moved(figures_of_document(stored), figures_of(now))
    assert one.name == "own bill, USD/month"


def code(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(str(ended.value.code or 0))


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code("tco", *QUESTION, "--since", "2025-03-01") == 0
    assert "p/m output 4 → 2 USD (2025-09-01, list)" in capsys.readouterr().out
    assert code("tco", *QUESTION, "--json") == 0
    stored = tmp_path / "answer.json"
    stored.write_text(capsys.readouterr().out, encoding="utf-8")
    assert code("tco", *QUESTION, "--since", str(stored)) == 0
    assert "no figure of the answer moved" in capsys.readouterr().out
    stored.write_text("{}", encoding="utf-8")
    for when, message in (
        (str(stored), "is no answer of bench tco --json"),
        ("nowhere.json", "No such file"),
        ("no-such-run", "no-such-run"),
    ):
        assert code("tco", *QUESTION, "--since", when, f"results_dir={tmp_path}") == 2
        assert message in capsys.readouterr().err
