"""What the best closed model costs against the best open one, by hand; and spot rents as lines."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections import defaultdict
from datetime import date, timedelta
from importlib import resources

import pytest

from bench.cli.main import main
from bench.money.prices.book import PriceRow
from bench.money.prices.shipped import shipped as prices_of
from bench.trend.frontier import frontier
from bench.trend.prices import price_trend
from bench.trend.snapshots import Rating, shipped


def rating(model: str, points: float, day: str) -> Rating:
    return Rating(as_of=day, board="arena-text", model=model, rating=points, source="s")


def price(model: str, kind: str, usd: float, day: str, provider: str = "p") -> PriceRow:
    return PriceRow(provider=provider, model=model, kind=kind, usd=usd, as_of=day, source="s")  # type: ignore[arg-type]


def test_the_ratio_by_hand() -> None:
    """Gemini 2.5 Pro at 0.75 × 1.25 + 0.25 × 10 = 3.4375, R1 at 0.75 × 0.55 + 0.25 × 2.19 = 0.96:
    3.58 times; a better model without a price is passed over."""
    board = [
        rating("unpriced-wonder", 1600, "2025-07-27"),
        rating("Gemini-2.5-Pro", 1472, "2025-07-27"),
        rating("DeepSeek-R1-0528", 1424, "2025-07-27"),
    ]
    prices = [
        price("gemini-2.5-pro", "input", 1.25, "2025-06-01", "google"),
        price("gemini-2.5-pro", "output", 10, "2025-06-01", "google"),
        price("deepseek-reasoner", "input", 0.55, "2025-12-01", "deepseek"),
        price("deepseek-reasoner", "output", 2.19, "2025-12-01", "deepseek"),
    ]
    found = frontier(board, prices)
    (pair,) = found.pairs
    assert (pair.closed, pair.open, pair.gap) == ("Gemini-2.5-Pro", "DeepSeek-R1-0528", 48)
    assert pair.ratio == pytest.approx(3.4375 / 0.96)
    assert found.line is None
    assert found.ratio_at(date(2026, 12, 31).toordinal()) is None


def test_the_shipped_data_s_ratio() -> None:
    """Between 3.6 and 7.2 times on seven snapshots of 2025, of which four pairs are unlike: too few
    for an interval that says anything of ten times by the end of 2026."""
    found = frontier(shipped(), prices_of("apis"))
    ratios = [p.ratio for p in found.pairs]
    assert len(ratios) >= 5
    assert min(ratios) == pytest.approx(3.58, abs=0.01)
    assert max(ratios) == pytest.approx(7.20, abs=0.01)
    at = found.ratio_at(date(2026, 12, 31).toordinal())
    assert at is not None
    value, low, high = at
    assert low < value < 10 < high
    assert found.line is not None
    assert found.line.points == 4


def monthly(start: float, per_year: float, months: int = 36, gpu: str = "l4") -> list[PriceRow]:
    """A rent that changes by the same share every day, seen once a month."""
    found = []
    for n in range(months):
        day = date(2023, 1, 1) + timedelta(days=30 * n)
        usd = start * (1 + per_year) ** (30 * n / 365.25)
        noisy = usd * (1.01 if n % 2 else 0.99)
        found.append(price(gpu, "rent_spot", noisy, day.isoformat()))
    return found


def test_a_market_price_is_a_line_through_its_logarithm() -> None:
    """-20 % a year under ±1 % of noise: the rate comes back, inside a narrow interval; no step."""
    (series,) = price_trend(monthly(2.0, -0.2), market=True).series
    assert series.per_year == pytest.approx(-0.2, abs=0.005)
    assert series.low is not None
    assert series.high is not None
    assert series.low < -0.2 < series.high
    assert series.high - series.low < 0.02
    assert series.steps == ()


def test_a_jump_of_a_market_price_is_no_drift() -> None:
    """Doubled after 18 months and flat on either side: a step of +100 %, a rate near 0."""
    rows = monthly(2.0, 0.0)
    rows = [
        r if n < 18 else price("l4", "rent_spot", 2 * r.usd, r.as_of) for n, r in enumerate(rows)
    ]
    (series,) = price_trend(rows, market=True).series
    (step,) = series.steps
    assert (step.after, step.before) == (rows[17].as_of, rows[18].as_of)
    assert step.relative == pytest.approx(1.0, abs=0.03)
    assert series.per_year == pytest.approx(0.0, abs=0.02)


def test_a_gpu_counts_once_however_many_regions_sell_it() -> None:
    """Two regions of each of three GPUs: three witnesses, each the mean of its regions."""
    rows = []
    for gpu, rate in (("l4", -0.1), ("h100-sxm", 0.0), ("a100-80gb-sxm", 0.1)):
        for region in ("a", "b"):
            rows += [
                PriceRow(
                    provider=region, model=gpu, kind=r.kind, usd=r.usd, as_of=r.as_of, source="s"
                )
                for r in monthly(1.0, rate, gpu=gpu)
            ]
    found = price_trend(rows, market=True)
    assert (found.counted, found.of) == (3, "GPUs")
    mean = math.expm1((math.log(0.9) + math.log(1.1)) / 3)
    assert found.per_year == pytest.approx(mean, abs=0.002)


def test_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["trend", "frontier", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["pairs"][0]["open"] == "deepseek-r1"
    with pytest.raises(SystemExit):
        main(["trend", "frontier"])
    assert "end of 2026" in capsys.readouterr().out


def logs_by_model(kinds: set[str]) -> dict[str, list[float]]:
    """ln(last ÷ first) a year of every API price seen over 90 days, by model."""
    where = resources.files("bench.assets").joinpath("snapshots/api_prices.csv")
    seen: dict[tuple[str, str, str], dict[date, float]] = defaultdict(dict)
    for row in csv.DictReader(io.StringIO(where.read_text("utf-8"))):
        if row["kind"] in kinds:
            key = (row["provider"], row["model"], row["kind"])
            seen[key][date.fromisoformat(row["as_of"])] = float(row["usd"])
    found: dict[str, list[float]] = defaultdict(list)
    for (provider, model, _), days in seen.items():
        first, last = min(days), max(days)
        if (last - first).days >= 90:
            years = (last - first).days / 365.25
            found[f"{provider}/{model}"].append(math.log(days[last] / days[first]) / years)
    return found


def test_the_rate_of_list_prices_on_the_page_by_hand() -> None:
    """The mean over models of each one's mean, and t(102) = 1.9835 times its standard error."""
    kinds = {"input", "output", "cached_input", "cache_write"}
    rates = [statistics.mean(found) for found in logs_by_model(kinds).values()]
    mean = statistics.mean(rates)
    reach = 1.9835 * statistics.stdev(rates) / math.sqrt(len(rates))
    found = price_trend(prices_of("apis"))
    assert (found.counted, len(rates)) == (103, 103)
    assert found.per_year == pytest.approx(math.expm1(mean), abs=1e-6)
    assert found.low == pytest.approx(math.expm1(mean - reach), abs=1e-4)
    assert found.high == pytest.approx(math.expm1(mean + reach), abs=1e-4)


def test_a_spot_rent_of_the_page_by_hand() -> None:
    """Least squares of ln USD on days, L4 at us-east4: the textbook's sums, no step."""
    rows = [
        r
        for r in prices_of("rents")
        if (r.provider, r.model, r.kind) == ("gcp-us-east4", "l4", "rent_spot")
    ]
    x = [float(date.fromisoformat(r.as_of).toordinal()) for r in rows]
    y = [math.log(r.usd) for r in rows]
    mx, my = statistics.mean(x), statistics.mean(y)
    slope = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    slope /= sum((a - mx) ** 2 for a in x)
    (series,) = price_trend(rows, market=True).series
    assert series.steps == ()
    assert series.per_year == pytest.approx(math.expm1(slope * 365.25), abs=1e-9)
    assert (rows[0].usd, rows[-1].usd) == (0.238832, 0.310596)
