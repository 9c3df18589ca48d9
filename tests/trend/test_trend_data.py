"""What the shipped snapshots say, worked out by hand once, and the verbs that read them."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from bench.cli.main import main
from bench.money.prices.book import PriceRow
from bench.trend.prices import blended, price_trend
from bench.trend.rating import is_open, per_month, rating_trend
from bench.trend.snapshots import by_day, changed, lines, read_ratings, shipped
from bench.values.errors import InputError

DAYS = [
    date(2025, *d).toordinal() for d in ((3, 7), (4, 4), (5, 6), (7, 27), (8, 1), (11, 5), (12, 11))
]
OPEN = [1362.9, 1369.9, 1371.9, 1424, 1430, 1429.1, 1441.2]
CLOSED = [1411.5, 1440.1, 1437, 1472, 1469, 1466.2, 1486.6]


def slope(values: list[float]) -> float:
    """Points per month by the textbook's sum."""
    x, y = np.array(DAYS) - np.mean(DAYS), np.array(values) - np.mean(values)
    return float(x @ y / (x @ x)) * 365.25 / 12


def test_the_shipped_snapshots_by_hand() -> None:
    found = rating_trend(shipped())
    assert [b.rating for b in found.best_open] == OPEN
    assert [b.rating for b in found.best_closed] == CLOSED
    assert [b.model for b in found.best_open][-2:] == ["glm-4.5", "glm-4.6"]
    assert found.gaps == pytest.approx([48.6, 70.2, 65.1, 48, 39, 37.1, 45.4])
    assert found.scales == (0, 0, 0, 1, 1, 2, 3)
    assert [s.common for s in found.shifts] == [204, 214, 185, 257, 177, 238]
    assert found.added == pytest.approx((15.7, 15.7, 15.7, -3.4, -3.4, -4.3, 0), abs=0.06)
    gap = per_month(found.lines["gap"])
    assert gap is not None
    assert gap[0] == pytest.approx(slope(list(found.gaps)))
    joined = per_month(found.lines["open joined"])
    assert joined is not None
    assert found.added is not None
    assert joined[0] == pytest.approx(
        slope([r + s for r, s in zip(OPEN, found.added, strict=True)])
    )
    assert joined == pytest.approx((6.69, 4.03, 9.36), abs=0.01)
    assert found.tenth == 1438.0


def test_when_they_meet_is_a_distribution() -> None:
    """The gap of 7 dates falls by 2.4 ± 3.1 points a month: a third by the end of 2026, and one in
    sixteen that it never closes."""
    meets = rating_trend(shipped()).meets
    assert meets is not None
    chances = [meets.by(date(y, 12, 31).toordinal()) for y in (2026, 2027, 2028)]
    assert chances == pytest.approx([0.35, 0.70, 0.81], abs=0.02)
    assert meets.never == pytest.approx(0.06, abs=0.01)
    assert date.fromordinal(int(meets.median_day)).year == 2027


def test_scales_are_said_and_never_joined_silently() -> None:
    said = rating_trend(shipped()).findings
    assert any("185 models in both moved by +19.1" in f for f in said)
    assert any("238 models in both moved by -4.3" in f for f in said)
    assert any("4 scales: rates are within scales" in f for f in said)


def test_open_is_what_can_be_downloaded() -> None:
    for name, licence in (("deepseek-r1", ""), ("Llama-3.1-405B", "Llama 3.1"), ("glm-4.6", "")):
        assert is_open(name, licence), name
    for name, licence in (
        ("gpt-5", ""),
        ("qwen3-max-preview", ""),
        ("Gemini", "Proprietary"),
        ("llama-4-maverick-03-26-experimental", ""),  # on the board, never published
    ):
        assert not is_open(name, licence), name


def test_a_snapshot_goes_in_and_out(tmp_path: Path) -> None:
    columns = "rank,model,arena_score,95_pct_ci,votes,organization,license"
    board = f'{columns}\n1,A,1500,+5/-4,"1,234",X,MIT\n'
    (one,) = read_ratings(board, "board.csv", as_of="2026-01-01", source="test")
    assert (one.rating, one.low_95, one.high_95, one.votes) == (1500, 1496, 1505, 1234)
    assert read_ratings(lines([one], header=True), "x", as_of="1970", source="y") == (one,)
    arena = json.dumps(
        {"full": {"A": {"rating": 1510.5, "rating_q025": 1500, "rating_q975": 1521}}}
    )
    (two,) = read_ratings(arena, "a.json", as_of="2026-02-01", source="test")
    assert (two.rating, two.half_width) == (1510.5, 10.5)
    found = changed([one], [two])
    assert (found.before, found.moved) == ("2026-01-01", (("A", 10.5),))
    with pytest.raises(InputError, match="no leaderboard: it needs model and arena_score"):
        read_ratings("a,b\n1,2\n", "x.csv", as_of="2026", source="y")
    with pytest.raises(InputError, match="full or overall for board=arena-text: it has coding"):
        read_ratings('{"coding": {}}', "x.json", as_of="2026", source="y")
    with pytest.raises(InputError, match=r"line 2: could not convert"):
        read_ratings("model,rating\nA,high\n", "x.csv", as_of="2026", source="y")


ARENA = """{"chinese": {"x": {"rating": 1, "rating_q975": 2, "rating_q025": 0}},
 "coding": {"claude-opus-4-1-20250805-thinking-16k": {"rating": 1473.208609908666,
   "rating_q975": 1484.8595067017543, "rating_q025": 1461.5577131155776}},
 "full": {"gemini-2.5-pro": {"rating": 1466.2, "rating_q975": 1470.0, "rating_q025": 1462.4}}}"""
"""The shape of data/leaderboard-text.json, github.com/lmarena/arena-catalog at 236f9a429."""
HISTORY = """date,rank,model,score,ci95,votes,organization,license
2025-11-09,1,gemini-2.5-pro,1452,±4,"62,764",Google,Proprietary
2025-11-10,1,gemini-2.5-pro,1453,±4,"62,800",Google,Proprietary
"""
"""The shape of history.csv, github.com/kevinschaul/lmarena-leaderboard-history at 1ec0bb48."""


def test_a_category_of_arenas_json_is_a_board_of_its_own() -> None:
    (code,) = read_ratings(ARENA, "a", as_of="2025-11-05", source="s", board="arena-coding")
    assert (code.board, code.model) == ("arena-coding", "claude-opus-4-1-20250805-thinking-16k")
    assert (code.rating, code.low_95, code.high_95) == pytest.approx(
        (1473.2, 1461.6, 1484.9), abs=0.1
    )
    (text,) = read_ratings(ARENA, "a", as_of="2025-11-05", source="s")
    assert (text.board, text.model) == ("arena-text", "gemini-2.5-pro")
    with pytest.raises(InputError, match=r"no leaderboard maths for board=arena-maths.*coding"):
        read_ratings(ARENA, "a", as_of="2025-11-05", source="s", board="arena-maths")


def test_a_history_keeps_its_dates_and_its_intervals() -> None:
    """All rows once were of the day of the import, the last of a model won, and ± was dropped."""
    found = read_ratings(HISTORY, "h.csv", as_of="2026-11-26", source="s")
    assert [(r.as_of, r.rating, r.low_95, r.high_95, r.votes) for r in found] == [
        ("2025-11-09", 1452, 1448, 1456, 62764),
        ("2025-11-10", 1453, 1449, 1457, 62800),
    ]
    with pytest.raises(InputError, match="'about 4' is no interval"):
        read_ratings(HISTORY.replace("±4", "about 4"), "h.csv", as_of="2026", source="s")


def test_coding_has_its_own_five_snapshots() -> None:
    """By hand, of arena-catalog's data/leaderboard-text.json at the commits of those days."""
    days = by_day(shipped(), "arena-coding")
    assert list(days) == ["2025-03-07", "2025-04-04", "2025-05-06", "2025-11-05", "2025-12-11"]
    assert [len(d) for d in days.values()] == [204, 214, 226, 241, 278]
    found = rating_trend(shipped(), "arena-coding")
    assert [b.rating for b in found.best_open] == [1370.1, 1386.9, 1393.1, 1456.9, 1468.0]
    assert found.best_open[-1].model == "longcat-flash-chat"
    assert found.best_open[-1].rank == 8


def test_corrections_are_later_rows() -> None:
    (one,) = read_ratings("model,rating\nA,1\n", "x", as_of="2026-01-01", source="s")
    (fixed,) = read_ratings("model,rating\nA,2\n", "x", as_of="2026-01-01", source="s, corrected")
    assert by_day([one, fixed], "arena-text")["2026-01-01"]["a"].rating == 2


def row(usd: float, day: str, kind: str = "input", model: str = "m") -> PriceRow:
    return PriceRow(provider="p", model=model, kind=kind, usd=usd, as_of=day, source="s")  # type: ignore[arg-type]


def test_a_price_has_steps_and_a_yearly_rate_by_hand() -> None:
    """4 → 1 over 730.5 days are √¼ - 1 = -50 % a year; over 10 days nothing is said of a year."""
    two = [row(4, "2024-01-01"), row(1, "2025-12-31")]
    (series,) = price_trend(two).series
    assert series.days == 730
    assert series.per_year == pytest.approx(-0.5, abs=0.001)
    assert [s.relative for s in series.steps] == [-0.75]
    (short,) = price_trend([row(4, "2024-01-01"), row(1, "2024-01-11")]).series
    assert short.per_year is None
    assert "too little for a rate" in (price_trend(two).why or "")


def test_the_rate_over_series_by_hand() -> None:
    """Halved, kept and doubled in a year (365.25 days): mean 0 on the log scale, standard deviation
    ln 2, error ln 2 ÷ √3 = 0.4002, t(2) 4.303: e^±1.722 - 1."""
    rows = [
        row(usd, day, model=name)
        for name, end in (("a", 1.0), ("b", 2.0), ("c", 4.0))
        for usd, day in ((2.0, "2024-03-01"), (end, "2025-03-01"))
    ]
    found = price_trend(rows)
    assert found.per_year == pytest.approx(0, abs=1e-9)
    assert (found.low, found.high) == pytest.approx((-0.821, 4.597), abs=0.01)


def test_input_and_output_of_one_model_are_one_witness() -> None:
    """Two models with two prices each are two, not four that agree."""
    rows = [
        row(usd, day, kind, name)
        for name in ("a", "b")
        for kind in ("input", "output")
        for usd, day in ((2.0, "2024-03-01"), (1.0, "2025-03-01"))
    ]
    found = price_trend(rows)
    assert (found.counted, found.per_year) == (2, None)
    assert "prices of 2 models" in (found.why or "")


def test_a_blend_is_known_where_both_prices_are() -> None:
    rows = [row(1, "2025-01-01"), row(5, "2025-02-01", "output"), row(2, "2025-03-01")]
    assert [(b.usd, b.as_of) for b in blended(rows)] == [(2.0, "2025-02-01"), (2.75, "2025-03-01")]


def code(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(str(ended.value.code or 0))


def test_the_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code("trend", "rating", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parity"]["by"]["2026"] == pytest.approx(0.35, abs=0.02)
    assert code("trend", "rating") == 0
    assert "they meet (if the gap goes on as a line): 35% by the end of 2026" in (
        capsys.readouterr().out
    )
    assert code("trend", "rating", "board=arena-coding", "--json") == 0
    assert json.loads(capsys.readouterr().out)["board"] == "arena-coding"
    assert code("trend", "spot") == 0
    assert "mean of 4 GPUs known over 90 days or more" in capsys.readouterr().out
    assert code("trend", "spot", "model=rtx-pro-6000") == 0
    assert "too little for a rate" in capsys.readouterr().out
    assert code("trend", "price", "provider=deepseek", "model=deepseek-chat", "--json") == 0
    (price, *_) = json.loads(capsys.readouterr().out)["series"]
    assert (price["first_usd"], price["last_usd"]) == (0.14, 0.27)
    for words, message in (
        (["trend", "ratng"], "Did you mean 'rating'"),
        (["trend", "rating", "board=arena-codin"], "Did you mean 'arena-coding'"),
        (["trend", "price", "provider=nobody"], "no price is known of nobody"),
        (["snapshot", "import"], "bench snapshot takes: import FILE"),
        (["snapshot", "import", "nowhere.csv"], "nowhere.csv: No such file"),
        (["snapshot", "import", "x", "colour=red"], "'colour' is no key of bench snapshot"),
    ):
        assert code(*words) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_an_import_says_what_changed_and_only_adds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new, book = tmp_path / "new.csv", tmp_path / "own.csv"
    new.write_text("model,rating\nglm-4.6,1450.2\nnewcomer,1500\n", encoding="utf-8")
    words = ["snapshot", "import", str(new), "as_of=2026-01-15", f"ratings={book}", "--json"]
    assert code(*words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["before"], found["added"], found["new"]) == ("2025-12-11", 2, ["newcomer"])
    assert found["moved"] == [{"model": "glm-4.6", "points": pytest.approx(9.0)}]
    assert code(*words) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 0
    assert len(book.read_text(encoding="utf-8").splitlines()) == 3


def test_the_page_says_what_the_figures_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In short, with the numbers worked out above; pictures with their words; nothing fetched."""
    path = tmp_path / "trend.html"
    assert code("trend", "rating", "--page", str(path)) == 0
    assert capsys.readouterr().out.strip() == str(path)
    text = path.read_text(encoding="utf-8")
    for words in (
        "the best open model (glm-4.6) stood 45 points behind the best closed one (gemini-3-pro)",
        "Whether it shrinks is not certain: -2.4 points a month, 95 % -5.5 to +0.7",
        "Parity by the end of 2026 has a chance of 35%",
        "List prices: +2% a year, 95 % -1% to +4%, mean of 103 models",
        "mean of 4 GPUs known over 90 days or more",
    ):
        assert words in text
    assert text.count("<svg") == 4
    assert "http-equiv" in text
    assert "<script" not in text
    with pytest.raises(SystemExit):
        main(["trend", "rating", "--page", str(tmp_path / "no" / "x.html")])
    assert "No such file" in capsys.readouterr().err
