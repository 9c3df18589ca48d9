"""Mixing units raises when run and is refused by mypy; conversions are exact."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.values import units as u

PRICE: Any = u.usd_per_mtok(3.0)
HOURS: Any = u.Qty(730.0, u.Hour)
MONTHS: Any = u.Qty(1.0, u.Month)
DOLLARS: Any = u.usd(5.0)


def test_a_price_times_millions_of_tokens_is_dollars() -> None:
    cost = u.usd_per_mtok(14.0) * u.Qty(1.0, u.Mtok)
    assert float(cost) == 14.0  # the source document's $14,000 is this times a thousand
    assert cost.unit is u.Usd


def test_tokens_must_be_converted_first() -> None:
    assert float(u.usd_per_mtok(14.0) * u.mtok(u.Qty(1e6, u.Token))) == 14.0


@pytest.mark.parametrize(
    "mix",
    [
        lambda: PRICE * u.Qty(1e6, u.Token),
        lambda: HOURS + MONTHS,
        lambda: MONTHS - HOURS,
        lambda: DOLLARS + 5.0,
        lambda: DOLLARS + PRICE,
        lambda: PRICE + u.usd_per_month(3.0),
        lambda: PRICE - 1.0,
        lambda: PRICE * PRICE,
        lambda: PRICE.per(u.usd_per_month(1.0)),
        lambda: PRICE.ratio(u.usd_per_month(1.0)),
        lambda: HOURS.ratio(MONTHS),
        lambda: DOLLARS / 2.0,
        lambda: DOLLARS * DOLLARS,
        lambda: PRICE * True,
    ],
)
def test_mixed_units_raise(mix: Callable[[], object]) -> None:
    with pytest.raises(u.UnitError, match="cannot"):
        mix()


def test_chains_keep_their_units() -> None:
    monthly = u.usd_per_mtok(2.0) * u.Rate(30.0, u.Mtok, u.Month)
    assert (float(monthly), monthly.symbol) == (60.0, "$/month")
    assert monthly.per(u.Rate(30.0, u.Mtok, u.Month)).symbol == "$/M tokens"
    assert float(u.usd(60.0) / u.Qty(3.0, u.Month)) == 20.0
    assert (np.array([1.0, 2.0]) * u.usd(3.0)).value.tolist() == [3.0, 6.0]


def test_conversions() -> None:
    assert float(u.months(u.Qty(1460.0, u.Hour))) == 2.0
    assert float(u.per_month(u.Rate(24.0, u.Usd, u.Year))) == 2.0
    assert float(u.per_server_month(u.Rate(2.0, u.Usd, u.GpuHour), 8)) == 11_680.0
    assert float(u.server_seconds(u.Rate(2.0, u.ServerMonth, u.Month))) == 5.256e6


def test_a_vector_is_not_one_number() -> None:
    with pytest.raises(ValueError, match="vector of 2"):
        float(u.usd([1.0, 2.0]))


MIXED = """\
from bench.values import units as u
good: u.Qty[u.Usd] = u.usd_per_mtok(3.0) * u.Qty(1.0, u.Mtok)
bad_tokens = u.usd_per_mtok(3.0) * u.Qty(1e6, u.Token)
bad_time = u.Qty(1.0, u.Month) + u.Qty(730.0, u.Hour)
bad_rate = u.usd_per_mtok(3.0) + u.usd_per_month(3.0)
bad_number = u.usd(3.0) + 3.0
"""


def test_mypy_refuses_mixed_units(tmp_path: Path) -> None:
    """Each bad line, and only those, is an error of the strict type checker."""
    snippet = tmp_path / "mixed.py"
    snippet.write_text(MIXED)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--no-incremental",
            "--follow-imports=silent",
            str(snippet),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "MYPYPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
    )
    lines = {line.split(":")[1] for line in done.stdout.splitlines() if ": error:" in line}
    assert lines == {"3", "4", "5", "6"}, done.stdout + done.stderr
