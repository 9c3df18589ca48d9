"""Public price tables as dated rows of the price book, and what they change in it.

Five shapes are read: LiteLLM's JSON of prices per token by model, llm-prices' JSON with days
(`llm_prices`), OpenRouter's list of models, CSV of GPU offers (SkyPilot's catalogue:
AcceleratorName; gpuhunt's: gpu_name), and the book's own CSV. A price of 0 or a blank is no price:
such entries are counted as skipped.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from bench.tco.prices.book import USD_PER_MTOK, Key, PriceRow, select
from bench.tco.prices.gpu_names import asked_for, known_as
from bench.tco.prices.llm_prices import is_llm_prices, llm_prices
from bench.tco.prices.openrouter import is_openrouter, openrouter
from bench.values.codec import decode
from bench.values.errors import InputError
from bench.values.figure import first_day
from bench.values.units import TOKENS_PER_MTOK

BOOK_COLUMNS = ("provider", "model", "kind", "usd", "as_of", "source", "verified")
TOKEN_PRICE_KINDS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input",
    "input_cost_per_token_cache_hit": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "input_cost_per_token_batches": "batch_input",
    "output_cost_per_token_batches": "batch_output",
}
LONG_KINDS = {
    "input_cost_per_token": "long_input",
    "output_cost_per_token": "long_output",
    "cache_read_input_token_cost": "long_cached_input",
}
LONG = re.compile(r"^(?P<base>\w+)_above_(?P<from>\d+k)_tokens$")
_TEXT_MODES = ("chat", "completion", "responses")


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
) -> Imported:
    """Rows of a price file; `as_of` dates shapes that carry no date, `provider` names the seller
    where the file does not; `gpu_names` turns a seller's GPU names into those of the gpu group
    (a seller's "H100" does not say which form factor), `gpus` are the names of that group: offers
    that are clearly none or more than one of them are left out, and say so. InputError when the
    shape is not known or holds no price.
    """
    try:
        first_day(as_of)
    except ValueError as error:
        raise InputError(str(error)) from error
    if text.lstrip().startswith("{"):
        found = _of_json(text, path, as_of)
    else:
        found = _csv(text, path, as_of, provider, gpu_names or {}, gpus)
    if not found.rows:
        reasons = "; ".join(found.left_out)
        why = f"; left out: {reasons}" if reasons else ""
        raise InputError(f"{path}: no usable price in it ({found.skipped} entries skipped{why}).")
    return found


def _of_json(text: str, path: str, as_of: str) -> Imported:
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}.") from error
    if not isinstance(table, dict) and not is_llm_prices(table):
        raise InputError(f"{path}: a JSON object of models is expected.")
    if is_openrouter(table):
        left_out: dict[str, int] = {}
        entries = list(openrouter(table, as_of, left_out))
        return Imported(
            rows=tuple(_row(path, source=path, **e) for e in entries if e is not None),
            skipped=entries.count(None),
            shape="OpenRouter's models",
            left_out=left_out,
        )
    if not is_llm_prices(table):
        return _litellm(table, path, as_of)
    try:
        found = list(llm_prices(table, as_of))
    except ValueError as error:
        raise InputError(f"{path}: {error}.") from error
    return Imported(
        rows=tuple(_row(path, source=path, **fields) for fields in found if fields is not None),
        skipped=found.count(None),
        shape="llm-prices",
    )


def _litellm(table: Mapping[str, Any], path: str, as_of: str) -> Imported:
    rows, skipped = [], 0
    left_out: dict[str, int] = {}
    for name, entry in table.items():
        if name == "sample_spec" or not isinstance(entry, Mapping):
            continue
        mode = entry.get("mode")
        if mode is not None and mode not in _TEXT_MODES:
            reason = f"mode {str(mode)[:40]}, which is not text for text"
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        seller = entry.get("litellm_provider")
        seller = str(seller) if seller else name.split("/")[0] if "/" in name else "unknown"
        source = f"{path}; {entry['source']}" if entry.get("source") else path
        found = list(_token_prices(entry))
        skipped += not found
        rows += [
            _row(
                path,
                provider=seller,
                model=name.removeprefix(f"{seller}/"),
                kind=kind,
                usd=usd,
                as_of=as_of,
                source=source + above,
            )
            for kind, usd, above in found
        ]
    return Imported(
        rows=tuple(rows), skipped=skipped, shape="LiteLLM price table", left_out=left_out
    )


def _token_prices(entry: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    """Kinds, $/M tokens and, for a long prompt's, from where on; the file has $/token."""
    seen: set[str] = set()
    for name, value in entry.items():
        long = LONG.match(name)
        kind = LONG_KINDS.get(long["base"]) if long else TOKEN_PRICE_KINDS.get(name)
        price = _price(value)
        if kind is None or price is None or kind in seen:
            continue
        usd = round(price * TOKENS_PER_MTOK, 9)
        if USD_PER_MTOK[0] <= usd <= USD_PER_MTOK[1]:
            seen.add(kind)
            yield kind, usd, f"; above {long['from']} tokens" if long else ""


def _price(value: object) -> float | None:
    """A price above 0, or None for a blank, a zero or a text."""
    try:
        number = float(cast(Any, value))
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _csv(
    text: str,
    path: str,
    as_of: str,
    provider: str | None,
    gpu_names: Mapping[str, str],
    gpus: Collection[str] | None,
) -> Imported:
    reader = csv.DictReader(io.StringIO(text))
    have = set(reader.fieldnames or ())
    if set(BOOK_COLUMNS[:6]) <= have:
        booked = tuple(_book_row(row, f"{path}, line {reader.line_num}") for row in reader)
        return Imported(rows=booked, skipped=0, shape="price book")
    if {"AcceleratorName", "AcceleratorCount", "Price"} <= have:
        shape, offers, skipped = "GPU offers (SkyPilot catalogue)", *_offers(_skypilot(reader))
    elif {"gpu_name", "gpu_count", "price"} <= have:
        shape, offers, skipped = "GPU offers (gpuhunt)", *_offers(_gpuhunt(reader))
    else:
        raise InputError(
            f"{path}: columns {', '.join(sorted(have))} are none of the known price "
            "tables: AcceleratorName, AcceleratorCount, Price (SkyPilot); gpu_name, "
            "gpu_count, price (gpuhunt); or the book's own "
            f"{', '.join(BOOK_COLUMNS)}."
        )
    if provider is None:
        raise InputError(f"{path}: GPU offers do not say whose they are; give provider=NAME.")
    rows: list[PriceRow] = []
    left_out: dict[str, int] = {}
    for (gpu, kind), prices in sorted(offers.items()):
        meant = (gpu_names.get(gpu, gpu),) if gpus is None else known_as(gpu, gpu_names, gpus)
        if len(meant) != 1:
            reason = asked_for(gpu, meant)
            left_out[reason] = left_out.get(reason, 0) + len(prices)
            continue
        told = f"lowest of {len(prices)} offers"
        told += "" if gpus is None else f" of {gpu}, per GPU of a machine, its host included"
        rows.append(
            _row(
                path,
                provider=provider,
                model=meant[0],
                kind=kind,
                as_of=as_of,
                usd=round(min(prices), 6),
                source=f"{path}, {told}",
            )
        )
    return Imported(rows=tuple(rows), skipped=skipped, shape=shape, left_out=left_out)


Offer = tuple[str, str, float | None, float | None]


GCP_MACHINES: Mapping[str, str] = {
    "A100": "a2-highgpu-{0}g",
    "A100-80GB": "a2-ultragpu-{0}g",
    "H100": "a3-highgpu-{0}g",
    "H100-MEGA": "a3-megagpu-{0}g",
    "H200": "a3-ultragpu-{0}g",
    "B200": "a4-highgpu-{0}g",
}
"""The machine that Google Cloud sells so many GPUs with (cloud.google.com/compute/docs/gpus). Its
catalogue lists both apart, the GPUs without InstanceType; a rent is their sum in one zone."""
SKY_NONE = 700.0
"""What SkyPilot's catalogue of Google Cloud writes where a zone has no price."""


def _skypilot(reader: Iterable[Mapping[str, str]]) -> Iterator[Offer]:
    """GPU, kind, $/h of the whole machine, GPUs in it; one line may hold two prices."""
    rows = list(reader)
    machines = {
        (r["InstanceType"], r.get("AvailabilityZone") or r.get("Region")): r
        for r in rows
        if r.get("InstanceType") and not r["AcceleratorName"]
    }
    for row in rows:
        name = row["AcceleratorName"]
        if not name:
            continue
        count = _price(row["AcceleratorCount"])
        apart = row.get("InstanceType") == ""
        machine = None
        if apart and count is not None and name in GCP_MACHINES:
            wanted = GCP_MACHINES[name].format(f"{count:g}")
            machine = machines.get((wanted, row.get("AvailabilityZone") or row.get("Region")))
        for column, kind in (("Price", "rent_on_demand"), ("SpotPrice", "rent_spot")):
            if column == "Price" or row.get(column):
                price = _price(row[column])
                yield name, kind, _whole(price, machine, column) if apart else price, count


def _whole(price: float | None, machine: Mapping[str, str] | None, column: str) -> float | None:
    """A GPU's price with its machine's; None where either is not known."""
    beside = None if machine is None else _price(machine.get(column))
    if price is None or beside is None or SKY_NONE in (price, beside):
        return None
    return price + beside


def _gpuhunt(reader: Iterable[Mapping[str, str]]) -> Iterator[Offer]:
    for row in reader:
        if row["gpu_name"]:
            kind = "rent_spot" if row.get("spot", "").lower() == "true" else "rent_on_demand"
            yield row["gpu_name"], kind, _price(row["price"]), _price(row["gpu_count"])


def _offers(offers: Iterator[Offer]) -> tuple[dict[tuple[str, str], list[float]], int]:
    found: dict[tuple[str, str], list[float]] = {}
    skipped = 0
    for gpu, kind, price, count in offers:
        if price is None or count is None:
            skipped += 1
        else:
            found.setdefault((gpu, kind), []).append(price / count)
    return found, skipped


def _book_row(row: Mapping[str, str], where: str) -> PriceRow:
    fields: dict[str, Any] = {k: row[k] for k in BOOK_COLUMNS[:6]}
    fields["verified"] = (row.get("verified") or "true").lower() == "true"
    try:
        fields["usd"] = float(row["usd"])
    except (ValueError, TypeError) as error:  # a row that is too short has None
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
