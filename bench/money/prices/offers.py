"""Offers of GPUs by clouds: per GPU of the machine that they come with, host included.

Three shapes: SkyPilot's catalogue, gpuhunt's, and the table of instances.vantage.sh as it is
exported there. The lowest price per GPU and kind is kept, with its machine and region; a GPU's name
is turned into the catalogue's where it can mean one thing alone.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from bench.money.prices.gpu_names import asked_for, known_as
from bench.values.errors import InputError, nearest


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a cloud asks for a machine with GPUs: USD/h of all of it, None where it has no price."""

    gpu: str
    kind: str
    usd: float | None
    gpus: float | None
    machine: str = ""
    region: str = ""
    host: str = ""
    memory_gb: float | None = None
    """Memory of one GPU, where the table says it."""

    @property
    def per_gpu(self) -> float | None:
        """USD/h of one GPU and its share of the machine."""
        return self.usd / self.gpus if self.usd is not None and self.gpus else None

    @property
    def words(self) -> str:
        """`p5.48xlarge (8 GPUs, 192 vCPUs, 2048 GiB, us-east-1)`."""
        many = f"{self.gpus:g} GPU{'' if self.gpus == 1 else 's'}"
        inner = ", ".join(x for x in (many, self.host, self.region) if x)
        return f"{self.machine or 'a machine'} ({inner})"


@dataclass(frozen=True, kw_only=True)
class Lowest:
    """The lowest offer of a GPU and kind, and of how many it is."""

    model: str
    offer: Offer
    of: int


def price(value: object) -> float | None:
    """A price above 0, or None for a blank, a zero or a text."""
    try:
        number = float(cast(Any, value))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def lowest(
    offers: Iterable[Offer],
    path: str,
    *,
    region: str | None,
    given: Mapping[str, str],
    gpus: Collection[str] | None,
) -> tuple[list[Lowest], int, dict[str, int]]:
    """The lowest offers by GPU and kind, how many had no price, and what was left out by reason.

    With `gpus` None names are taken as they are. InputError where no offer is of that region.
    """
    every = list(offers)
    if region is not None:
        every = in_region(every, region, path)
    by_name: dict[tuple[str, str], list[Offer]] = defaultdict(list)
    skipped = 0
    left_out: dict[str, int] = defaultdict(int)
    for offer in every:
        if offer.per_gpu is None:
            skipped += 1
            continue
        meant = _meant(offer, given, gpus)
        if len(meant) != 1:
            left_out[asked_for(offer.gpu, meant)] += 1
            continue
        by_name[meant[0], offer.kind].append(offer)
    found = [
        Lowest(model=model, offer=min(of, key=lambda o: o.per_gpu or math.inf), of=len(of))
        for (model, _), of in sorted(by_name.items())
    ]
    return found, skipped, dict(left_out)


def in_region(offers: list[Offer], region: str, path: str) -> list[Offer]:
    """The offers of a region or one of its zones; of a table that names none, all are refused."""
    kept = [o for o in offers if o.region == region or o.region.startswith(f"{region}-")]
    kept = kept or [o for o in offers if o.region.startswith(region) and o.region[:-1] == region]
    if kept:
        return kept
    names = {o.region for o in offers if o.region}
    if not names:
        raise InputError(f"{path}: its offers do not say their region: leave region= out.")
    raise InputError(f"region={region}: {path} has none there.{nearest(region, names)}")


def _meant(offer: Offer, given: Mapping[str, str], gpus: Collection[str] | None) -> tuple[str, ...]:
    """The GPUs that an offer's name can mean; its memory decides between sizes of one product."""
    if gpus is None:
        return (given.get(offer.gpu, offer.gpu),)
    found = known_as(offer.gpu, given, gpus)
    if offer.memory_gb is None or offer.gpu in given:
        return found
    size = f"{offer.memory_gb:g}gb"
    sized = [g for g in gpus if any(w.endswith("gb") for w in g.split("-"))]
    if not any(g in sized for g in found):
        return found
    # A table that calls a 40 GB board by the name of the 80 GB one means the board that it has.
    other = [re.sub(r"\d+gb", size, g) for g in found if g in sized]
    return tuple(sorted({g for g in other if g in gpus})) or found


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


def skypilot(reader: Iterable[Mapping[str, str]]) -> Iterator[Offer]:
    """SkyPilot's catalogue; one line may hold two prices."""
    rows = list(reader)
    machines = {
        (r["InstanceType"], _zone(r)): r
        for r in rows
        if r.get("InstanceType") and not r["AcceleratorName"]
    }
    for row in rows:
        name = row["AcceleratorName"]
        if not name:
            continue
        count = price(row["AcceleratorCount"])
        apart = row.get("InstanceType") == ""
        machine = None
        if apart and count is not None and name in GCP_MACHINES:
            machine = machines.get((GCP_MACHINES[name].format(f"{count:g}"), _zone(row)))
        for column, kind in (("Price", "rent_on_demand"), ("SpotPrice", "rent_spot")):
            if column == "Price" or row.get(column):
                usd = price(row[column])
                yield Offer(
                    gpu=name,
                    kind=kind,
                    usd=_whole(usd, machine, column) if apart else usd,
                    gpus=count,
                    machine=row.get("InstanceType") or (machine or {}).get("InstanceType", ""),
                    region=_zone(row),
                    host=_host(row if machine is None else machine),
                )


def _zone(row: Mapping[str, str]) -> str:
    return row.get("AvailabilityZone") or row.get("Region") or ""


def _host(row: Mapping[str, str]) -> str:
    cores, memory = price(row.get("vCPUs")), price(row.get("MemoryGiB"))
    words = (f"{cores:g} vCPUs" if cores else "", f"{memory:g} GiB" if memory else "")
    return ", ".join(w for w in words if w)


def _whole(usd: float | None, machine: Mapping[str, str] | None, column: str) -> float | None:
    """A GPU's price with its machine's; None where either is not known."""
    beside = None if machine is None else price(machine.get(column))
    if usd is None or beside is None or SKY_NONE in (usd, beside):
        return None
    return usd + beside


def gpuhunt(reader: Iterable[Mapping[str, str]]) -> Iterator[Offer]:
    """gpuhunt's offers: a line each."""
    for row in reader:
        if row["gpu_name"]:
            spot = (row.get("spot") or "").lower() == "true"
            cores, memory = price(row.get("cpu")), price(row.get("memory"))
            yield Offer(
                gpu=row["gpu_name"],
                kind="rent_spot" if spot else "rent_on_demand",
                usd=price(row["price"]),
                gpus=price(row["gpu_count"]),
                machine=row.get("instance_name") or "",
                region=row.get("location") or "",
                host=f"{cores:g} vCPUs, {memory:g} GiB" if cores and memory else "",
                memory_gb=price(row.get("gpu_memory")),
            )


VANTAGE = ("API Name", "GPUs")
_VANTAGE_PRICES = {
    "rent_on_demand": ("On Demand", "Linux On Demand cost"),
    "rent_reserved": ("Linux Reserved cost",),
    "rent_spot": ("Linux Spot Average cost", "Linux Spot cost", "Linux Spot Minimum cost"),
}
"""Columns of instances.vantage.sh (vantage-sh/ec2instances.info, next/utils/colunnData): the first
that a table has."""
_PER = {"hourly": 1.0, "daily": 24.0, "weekly": 168.0, "monthly": 730.0, "annually": 8760.0}
_COST = re.compile(r"^\$(?P<usd>[\d,]+(?:\.\d+)?)(?:\s+(?P<per>\w+))?$")
_COUNTED = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*[xX×]\s*(.+?)\s*(?:\(.*\))?\s*$")
_GB = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(?:GiB|GB)\s*$")


def vantage(reader: Iterable[Mapping[str, str]], path: str) -> Iterator[Offer]:
    """The exported table: a machine a line, prices as `$98.3200 hourly`; machines without GPUs are
    passed over."""
    for number, row in enumerate(reader, 2):
        counted = _gpus(row)
        if counted is None:
            continue
        many, name = counted
        memory = _gb(row.get("GPU memory(per gpu)") or row.get("GPU memory (per GPU)"))
        total = _gb(row.get("GPU memory") or row.get("GPU memory (total)"))
        for kind, columns in _VANTAGE_PRICES.items():
            column = next((c for c in columns if c in row), None)
            if column is None:
                continue
            words = [(row.get("vCPUs") or "").split("(")[0].strip(), row.get("Instance Memory")]
            yield Offer(
                gpu=name,
                kind=kind,
                usd=_cost(row[column], f"{path}, line {number}: {column}"),
                gpus=many,
                machine=row["API Name"],
                host=", ".join(w for w in words if w),
                memory_gb=memory if memory is not None else total / many if total else None,
            )


def _gpus(row: Mapping[str, str]) -> tuple[float, str] | None:
    """How many GPUs of which name: `8` beside `H200`, or `8x H100_SXM` in one; None without."""
    said = (row.get("GPUs") or "").strip()
    both = _COUNTED.match(said)
    if both is not None:
        return float(both[1]), both[2]
    many = price(said)
    name = (row.get("GPU model") or "").strip()
    return (many, name) if many is not None and name else None


def _cost(text: str | None, where: str) -> float | None:
    """USD/h; None for `unavailable`. InputError for another currency or unit: it is not guessed."""
    said = (text or "").strip()
    if not said or said in ("unavailable", "-", "N/A", "0"):
        return None
    found = _COST.match(said)
    per = None if found is None else _PER.get(found["per"] or "hourly")
    if found is None or per is None:
        raise InputError(f"{where}: {said!r}: US dollars and hourly, daily, … are expected.")
    return price(found["usd"].replace(",", "")) and float(found["usd"].replace(",", "")) / per


def _gb(text: str | None) -> float | None:
    found = _GB.match(text or "")
    return None if found is None else float(found[1])
