"""Memory, predicted and measured, and energy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.compare.variant import Measured
from bench.report.numbers import amount, load_words, quantity
from bench.report.page.blocks import (
    Block,
    Cell,
    Picture,
    Section,
    Table,
    Text,
    measured,
    number,
    rounded,
    word,
)
from bench.report.page.material import Material

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ENERGY = (
    ("power mean, W", "power_mean_w"),
    ("power peak, W", "power_peak_w"),
    ("J/output token", "energy_per_output_token_j"),
    ("above idle, J/output token", "energy_above_idle_per_output_token_j"),
    ("J/total token", "energy_per_total_token_j"),
    ("J/request", "energy_per_request_j"),
    ("tokens/s/W", "output_tokens_per_s_per_w"),
)


def memory(m: Material) -> Section | None:
    """What the fit said before the launch, held against what was seen after it."""
    bars: dict[str, dict[str, float]] = {}
    blocks: list[Block] = []
    for one in m.runs:
        name = m.name(one) + "\n" if len(m.runs) > 1 else ""
        for kind, parts in (("predicted", _predicted(one)), ("measured", _measured(one))):
            if parts:
                bars[name + kind] = parts
        if one.measurement.fit_errors:
            blocks.append(_errors(one, m.name(one)))
    if not bars:
        return None

    def draw() -> Figure:
        from bench.report.pictures.memory import memory as picture

        return picture(bars)

    named = list(dict.fromkeys(p for bar in bars.values() for p in bar))
    rows = [
        [
            word(name.replace("\n", ", ")),
            *(rounded(bar.get(p)) for p in named),
        ]
        for name, bar in bars.items()
    ]
    table = Table(caption="GiB of the whole deployment", columns=("deployment", *named), rows=rows)
    caption = (
        "Predicted (modelled before the launch) and measured, over all GPUs or the host. Weights "
        "and KV cache are measured as the engine's log says; “rest” is what the meter or the "
        "engine's processes hold beyond them."
    )
    picture = Picture(name="memory", caption=caption, draw=draw, numbers=table)
    heading = "Memory, predicted and measured"
    return Section(name="memory", heading=heading, blocks=[picture, *blocks])


def _predicted(one: Measured) -> dict[str, float]:
    fit, boards = one.run.fit, max(1, one.run.spec.gpus)
    if fit is None:
        return {}
    keys = (
        ("weights", "weights_gib_per_gpu"),
        ("KV cache", "kv_gib_per_gpu"),
        ("other", "other_gib_per_gpu"),
    )
    return {name: float(fit[key]) * boards for name, key in keys if fit.get(key) is not None}


def _measured(one: Measured) -> dict[str, float]:
    """Parts that were told apart, and the rest of the total where there is one."""
    facts: Mapping[str, object] = one.run.engine_facts or {}
    points = one.measurement.points
    metrics = points[-1].metrics if points else {}
    parts = {
        title: m.value
        for title, key in (("weights", "weights_gib"), ("KV cache", "kv_pool_gib"))
        if (m := metrics.get(key)) is not None and m.value is not None
    }
    reserved = metrics.get("engine_reserved_gib")
    total = reserved.value if reserved is not None else None
    if total is None and isinstance(held := facts.get("private_memory_gib"), (int, float)):
        total = float(held)
    if total is not None and total > sum(parts.values()):
        rest = "rest" if "weights" in parts else "rest, weights in it"
        parts[rest] = total - sum(parts.values())
    return parts


def _errors(one: Measured, name: str) -> Table:
    rows = []
    for e in one.measurement.fit_errors:
        seen = word(None)
        if e.measured is not None:
            seen = Cell(text=amount(e.measured, e.unit), value=e.measured)
        off = number(e.error, "+.1%")
        predicted = Cell(text=amount(e.predicted, e.unit), value=e.predicted)
        by = word("not measured" if e.measured is None else e.source)
        rows.append([word(e.quantity), word(e.unit), predicted, seen, off, by])
    return Table(
        caption=f"{name}: prediction against measurement",
        columns=("quantity", "unit", "predicted", "measured", "off by", "measured by"),
        rows=rows,
        left=(0, 1, 5),
    )


def energy(m: Material) -> Section | None:
    """Power and energy per load point, with what it is of and how it arose."""
    blocks: list[Block] = []
    for place, one in enumerate(m.runs):
        power, points = one.measurement.power or {}, one.measurement.points
        if not power.get("scope") or not points:
            continue
        suffix = f"-{place + 1}" if len(m.runs) > 1 else ""
        blocks += _energy_of(one, m.name(one), suffix)
    return Section(name="energy", heading="Energy", blocks=blocks) if blocks else None


def _energy_of(one: Measured, name: str, suffix: str) -> list[Block]:
    power, points = one.measurement.power or {}, one.measurement.points
    source = str(power["power_source"])
    label = "" if source not in ("replay", "synthetic") else f" ({source}: no measurement)"
    rows = [[word(load_words(p)), *(measured(p.metrics[k]) for _, k in _ENERGY)] for p in points]
    table = Table(
        caption=f"{name}: power and energy by {source}{label}, {power['scope']}",
        columns=("load", *(t for t, _ in _ENERGY)),
        rows=rows,
    )
    first = points[0].metrics
    text = f"Scope: {power['scope']}, {len(power.get('devices', ()))} summed."
    for words, key in (
        ("idle before launch", "idle_before_launch_w"),
        ("idle with the model resident", "idle_resident_w"),
    ):
        if first[key].value is not None:
            text += f" {words.capitalize()}: {quantity(first[key].value or 0.0)} W."
    error = first["energy_instrument_error"].value
    if error is not None:
        text += f" Sensors may be off by ± {error:.0%} besides (quoted, systematic)."
    if source == "nvml" and not power["verified_on_hardware"]:
        text += " The method is unverified on hardware."
    blocks: list[Block] = [table, Text(text=text)]
    gross = [p.metrics["energy_per_output_token_j"] for p in points]
    above = [p.metrics["energy_above_idle_per_output_token_j"] for p in points]
    if any(g.value is not None for g in gross):

        def draw() -> Figure:
            from bench.report.pictures.energy import energy as picture

            title = f"energy by {source}{label}"
            return picture([p.point.label for p in points], gross, above, title)

        caption = f"Energy per output token of {name}{label}, with 95 % intervals over repeats."
        blocks.insert(0, Picture(name=f"energy{suffix}", caption=caption, draw=draw))
    return blocks
