"""What a GPU is rented for is read in one place: `bench fit` says what `bench prices` lists."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.ask.costs import book_rows, cost_question
from bench.ask.fits import reports
from bench.config.compose import catalogue, options
from bench.config.rents import with_rents
from bench.money.prices.book import RENT_KINDS, select
from bench.report.fit_table import _rent_line, price
from bench.values.spec import Price

GPUS = [name for name in options("gpu") if name not in ("auto", "cpu")]


def of_the_book(gpu: str) -> dict[str, list[float]]:
    """The rents that `bench prices` prints of a GPU, by tier, in order."""
    held = select(book_rows(cost_question(("tco=worked-example",), ()).prices), None).values()
    rows = [row for row in held if row.model == gpu and row.kind in RENT_KINDS]
    return {
        tier: sorted(row.usd for row in rows if row.kind == f"rent_{tier}")
        for tier in ("on_demand", "reserved", "spot")
    }


@pytest.mark.parametrize("name", GPUS)
def test_a_gpu_has_the_rents_of_the_book(name: str) -> None:
    book, found = of_the_book(name), catalogue().gpus[name].price
    on_demand, reserved, spot = book.values()
    ends = (on_demand[0], on_demand[-1]) if on_demand else (None, None)
    least = (reserved[0] if reserved else None, spot[0] if spot else None)
    assert found.tiers == (*ends, *least)


def test_fit_lists_them_apart() -> None:
    """An L4 has rents; an H200's range is on demand and begins at no spot price; of a B200 only a
    contract price is known."""
    (l4,) = reports(("model=llama-3.1-8b", "quant=fp8", "gpu=l4", "gpus=2"), catalogue())
    book = of_the_book("l4")
    assert l4.usd_per_h_low == pytest.approx(2 * book["on_demand"][0])
    assert l4.usd_per_h_spot == pytest.approx(2 * book["spot"][0])
    assert book["spot"][0] < book["on_demand"][0]
    words = ("model=llama-3.1-8b", "quant=fp8", "gpus=1")
    (h200,) = reports((*words, "gpu=h200-sxm"), catalogue())
    assert price(h200) == "7.91"  # 7.91 and 7.912
    assert _rent_line(h200) == "listed rent 7.91 $/h on demand; spot from 3.32 (bench prices)"
    (b200,) = reports((*words, "gpu=b200-sxm"), catalogue())
    assert (b200.usd_per_h_low, price(b200)) == (None, "reserved from 2.90")
    (none,) = reports((*words, "gpu=rtx-3090"), catalogue())
    assert (price(none), _rent_line(none)) == ("–", "listed rent – $/h")


def test_a_file_of_ones_own_is_left_as_it_is() -> None:
    mine = replace(
        catalogue().gpus["l4"], price=Price(low_usd_per_gpu_h=1.0, high_usd_per_gpu_h=1.0)
    )
    assert with_rents(mine) is mine
