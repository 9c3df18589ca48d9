"""The dated prices that come with the package, beside those of the configuration.

Rents of GPUs and list prices of APIs as public repositories have had them over time, one row a
price and day, with the repository and its commit: bench/assets/snapshots. Rows are only added.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from bench.money.prices.book import PriceRow, PricesSpec
from bench.money.prices.tables import read_prices

FILES = {"rents": "gpu_rents.csv", "apis": "api_prices.csv"}


@cache
def shipped(what: str) -> tuple[PriceRow, ...]:
    """The rows of one of the shipped files: rents or apis."""
    where = resources.files("bench.assets").joinpath(f"snapshots/{FILES[what]}")
    return read_prices(where.read_text("utf-8"), FILES[what], as_of="1970", provider=None).rows


def configured(spec: PricesSpec) -> tuple[PriceRow, ...]:
    """The rows of a configuration: its own, and the shipped ones that it asks for."""
    return spec.rows + spec.more_rows + tuple(r for what in spec.shipped for r in shipped(what))
