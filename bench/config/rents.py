"""The rents of a GPU as the price book lists them, so that every verb prices it alike.

A file of the gpu group says none: one place is looked after, and `bench prices` prints it. A user's
own file may (`price.low_usd_per_gpu_h` and `high_…`), and then nothing is put in its place.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import cache

from bench.values.spec import GpuSpec, Price


@cache
def listed() -> dict[str, dict[str, tuple[float, ...]]]:
    """$/GPU-h by GPU and tier (on_demand, reserved, spot), of each seller the newest."""
    import yaml

    from bench.config.compose import conf_dir
    from bench.money.prices.book import RENT_KINDS, PricesSpec, select
    from bench.money.prices.shipped import configured
    from bench.values.codec import decode

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with (conf_dir() / "prices" / "default.yaml").open(encoding="utf-8") as file:
        book = decode(PricesSpec, yaml.load(file, loader), "prices")
    found: dict[str, dict[str, tuple[float, ...]]] = defaultdict(lambda: defaultdict(tuple))
    for row in select(configured(book), None).values():
        if row.kind in RENT_KINDS:
            found[row.model][row.kind.removeprefix("rent_")] += (row.usd,)
    return found


def with_rents(gpu: GpuSpec) -> GpuSpec:
    """The GPU with its listed rents, where it says none of its own."""
    if gpu.kind != "gpu" or gpu.price.known or gpu.name not in listed():
        return gpu
    tiers = listed()[gpu.name]
    found = Price(
        low_usd_per_gpu_h=min(tiers["on_demand"], default=None),
        high_usd_per_gpu_h=max(tiers["on_demand"], default=None),
        reserved_usd_per_gpu_h=min(tiers["reserved"], default=None),
        spot_usd_per_gpu_h=min(tiers["spot"], default=None),
        note=gpu.price.note,
    )
    return replace(gpu, price=found)
