"""Public price tables as dated rows of the price book, and what they change in it.

Read are LiteLLM's JSON, llm-prices' JSON with days, OpenRouter's list of models, CSV of GPU offers
(SkyPilot's catalogue, gpuhunt's, and the table of instances.vantage.sh), and the book's own CSV. A
price of 0 or a blank is no price: such entries are counted as skipped.
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.money.prices.book import Key, PriceRow, select
from bench.money.prices.litellm import is_litellm, litellm
from bench.money.prices.llm_prices import is_llm_prices, llm_prices
from bench.money.prices.offers import VANTAGE, gpuhunt, lowest, skypilot, vantage
from bench.money.prices.openrouter import is_openrouter, openrouter
from bench.values.codec import decode
from bench.values.errors import InputError
from bench.values.figure import first_day
from bench.values.file_kind import other_reader

BOOK_COLUMNS = ("provider", "model", "kind", "usd", "as_of", "source", "verified")
_COLUMNS = (
    set(BOOK_COLUMNS[:6]),
    {"AcceleratorName", "AcceleratorCount", "Price"},
    {"gpu_name", "gpu_count", "price"},
    set(VANTAGE),
)
"""Columns of the tables that are known: the book's own, then offers of GPUs."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """Rows read from a file, how many entries had no usable price, and the shape recognised.

    `left_out` counts what has a price and is not for this book, by reason.
    """

    rows: tuple[PriceRow, ...]
    skipped: int
    shape: str
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One price an import adds; `before` is the price it follows, None when it is the first."""

    row: PriceRow
    before: PriceRow | None

    @property
    def relative(self) -> float | None:
        """The change as a share of the price before."""
        return None if self.before is None else self.row.usd / self.before.usd - 1


def read_prices(
    text: str,
    path: str,
    *,
    as_of: str,
    provider: str | None,
    gpu_names: Mapping[str, str] | None = None,
    gpus: Collection[str] | None = None,
    region: str | None = None,
) -> Imported:
    """Rows of a price file; `as_of` dates shapes that carry no date, `provider` names the seller
    where the file does not; `gpu_names` turns a seller's GPU names into those of the gpu group
    (a seller's "H100" does not say which form factor), `gpus` are the names of that group: offers
    that are clearly none or more than one of them are left out, and say so; `region` keeps the
    offers of one. InputError when the shape is not known or holds no price.
    """
    try:
        first_day(as_of)
    except ValueError as error:
        raise InputError(str(error)) from error
    text = text.removeprefix("\ufeff")
    if path.casefold().endswith((".yaml", ".yml")):
        raise InputError(
            f"{path}: no price table, which is CSV or JSON.{other_reader(path, 'prices')}"
        )
    if text.lstrip().startswith(("{", "[")):
        found = _of_json(text, path, as_of)
    else:
        try:
            found = _csv(text, path, as_of, provider, gpu_names or {}, gpus, region)
        except csv.Error as error:
            raise InputError(f"{path}: {error}.") from error
    if not found.rows:
        reasons = "; ".join(found.left_out)
        why = f"; left out: {reasons}" if reasons else ""
        skipped = f"({found.skipped} entries skipped{why})"
        raise InputError(f"{path}: no usable price in it {skipped}.{other_reader(path, 'prices')}")
    return found


def is_price_table(text: str) -> bool:
    """Whether a text has one of the shapes of prices, by its beginning or its columns."""
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith("{"):
        try:
            table = json.loads(text)
        except (ValueError, RecursionError):
            return False
        return is_openrouter(table) or is_llm_prices(table) or is_litellm(table)
    try:
        have = set(next(csv.reader(io.StringIO(text)), []))
    except csv.Error:
        return False
    return any(columns <= have for columns in _COLUMNS)


def _of_json(text: str, path: str, as_of: str) -> Imported:
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}.") from error
    if not isinstance(table, dict) and not is_llm_prices(table):
        raise InputError(f"{path}: a JSON object of models is expected.")
    left_out: dict[str, int] = {}
    try:
        if is_openrouter(table):
            shape, found = "OpenRouter's models", list(openrouter(table, as_of, left_out))
        elif is_llm_prices(table):
            shape, found = "llm-prices", list(llm_prices(table, as_of))
        else:
            shape, found = "LiteLLM price table", list(litellm(table, path, as_of, left_out))
    except ValueError as error:
        raise InputError(f"{path}: {error}.") from error
    return Imported(
        rows=tuple(_row(path, **{"source": path, **f}) for f in found if f is not None),
        skipped=found.count(None),
        shape=shape,
        left_out=left_out,
    )


def _csv(
    text: str,
    path: str,
    as_of: str,
    provider: str | None,
    gpu_names: Mapping[str, str],
    gpus: Collection[str] | None,
    region: str | None,
) -> Imported:
    reader = csv.DictReader(io.StringIO(text))
    have = set(reader.fieldnames or ())
    booked_columns, of_skypilot, of_gpuhunt, of_vantage = _COLUMNS
    if booked_columns <= have:
        booked = tuple(_book_row(row, f"{path}, line {reader.line_num}") for row in reader)
        return Imported(rows=booked, skipped=0, shape="price book")
    if of_skypilot <= have:
        shape, offers = "GPU offers (SkyPilot catalogue)", skypilot(reader)
    elif of_gpuhunt <= have:
        shape, offers = "GPU offers (gpuhunt)", gpuhunt(reader)
    elif of_vantage <= have:
        shape, offers = "GPU offers (instances.vantage.sh)", vantage(reader, path)
    else:
        raise InputError(
            f"{path}: columns {', '.join(sorted(have))} are none of the known price "
            "tables: AcceleratorName, AcceleratorCount, Price (SkyPilot); gpu_name, "
            f"gpu_count, price (gpuhunt); {', '.join(VANTAGE)} (instances.vantage.sh); or the "
            f"book's own {', '.join(BOOK_COLUMNS)}."
        )
    if provider is None:
        raise InputError(f"{path}: GPU offers do not say whose they are; give provider=NAME.")
    found, skipped, left_out = lowest(offers, path, region=region, given=gpu_names, gpus=gpus)
    rows = tuple(
        _row(
            path,
            provider=provider,
            model=one.model,
            kind=one.offer.kind,
            as_of=as_of,
            usd=round(one.offer.per_gpu or 0.0, 6),
            source=f"{path}, lowest of {one.of} offers: per GPU of {one.offer.words}, "
            "its host included",
        )
        for one in found
    )
    return Imported(rows=rows, skipped=skipped, shape=shape, left_out=left_out)


def _book_row(row: Mapping[str, str], where: str) -> PriceRow:
    fields: dict[str, Any] = {k: row[k] for k in BOOK_COLUMNS[:6]}
    fields["verified"] = (row.get("verified") or "true").lower() == "true"
    try:
        fields["usd"] = float(row["usd"])
    except (ValueError, TypeError, OverflowError) as error:  # a row that is too short has None
        raise InputError(f"{where}: usd: {error}.") from error
    return _row(where, **fields)


def _row(where: str, **fields: Any) -> PriceRow:
    return decode(PriceRow, fields, where)


def changes(known: Iterable[PriceRow], new: Iterable[PriceRow]) -> tuple[Change, ...]:
    """The new rows that say something: a first price, or one unlike what held on its date."""
    history: dict[Key, list[PriceRow]] = defaultdict(list)
    for row in known:
        history[row.provider, row.model, row.kind].append(row)
    found: list[Change] = []
    for row in new:
        key = (row.provider, row.model, row.kind)
        before = select(history[key], row.as_of).get(key)
        older = before is not None and first_day(before.as_of) < first_day(row.as_of)
        if before is None or older or before.usd != row.usd:
            found.append(Change(row=row, before=before))
    return tuple(found)


def book_lines(rows: Iterable[PriceRow], *, header: bool) -> str:
    """Rows as lines of the book's CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow(BOOK_COLUMNS)
    for row in rows:
        writer.writerow(
            [
                row.provider,
                row.model,
                row.kind,
                repr(row.usd),
                row.as_of,
                row.source,
                str(row.verified).lower(),
            ]
        )
    return out.getvalue()
