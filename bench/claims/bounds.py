"""Whether physics allows the number: the bound of the claimed hardware under the conditions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.claims.limits import Limit, limits, named_precision, work_of
from bench.claims.metrics import CLAIM_METRICS, in_metric_unit, known_metric, metric_unit
from bench.claims.scenarios import implied, with_scenario
from bench.claims.spec import Conditions, CurvePoint, Serving, Stated
from bench.claims.variants import gpu_names, model_of
from bench.claims.verdict import Check, CheckVerdict, number, say
from bench.config.catalogue import Catalogue
from bench.sizing.architecture import from_config
from bench.sizing.precision import PRECISIONS
from bench.values.count_words import count
from bench.values.errors import nearest
from bench.values.units import UnitError

# No CPU core yet shipped does more per cycle (AMX, 8 bits: 16 × 16 × 64 multiply-adds in 16
# cycles) or clocks higher; a bound, not an estimate.
CPU_OPS_PER_CYCLE = 2048.0
CPU_HZ = 6.5e9

_NEEDS = {
    "speculation": "more than one token per pass over the weights ({0} or more), by speculative "
    "decoding, {1}",
    "scope": "more than the GPUs may draw; what else the power covers is not said (power_scope)",
}


def check_units(says: Serving) -> Check | None:
    """Whether metric and stated unit go together; None when they do, or nothing is stated."""
    if says.metric is None:
        return None
    try:
        known_metric(says.metric)
        for metric, stated in (
            (says.metric, says.stated),
            *((a.metric, a.stated) for a in says.also),
        ):
            if stated is not None:
                unit = stated.unit
                in_metric_unit(1.0, unit, metric)
    except UnitError as error:
        text = f"{unit} is no unit of {metric}: {error}"
        return Check(kind="units", verdict="not comparable", evidence=(text,))
    return None


def stated_in_metric_unit(says: Serving) -> float | None:
    """The least bold reading of the stated number, in the metric's own unit: the lower end of its
    band, rounding included, or the upper end where smaller is bolder."""
    if says.metric is None or says.stated is None:
        return None
    return _mildest(says.metric, says.stated)


def _mildest(metric: str, stated: Stated) -> float | None:
    if stated.value is None:
        return None
    low, high = stated.band
    return in_metric_unit(high if known_metric(metric).at_least else low, stated.unit, metric)


@dataclass(frozen=True, kw_only=True)
class Held:
    """One number against the limits of all deployments: what it comes to, and why."""

    verdict: CheckVerdict
    lines: tuple[str, ...]
    figures: dict[str, float | None]


def check_bound(says: Serving, catalogue: Catalogue) -> Check | None:
    """Impossible when the number exceeds what every deployment could physically do; with a curve,
    when any of its points does."""
    if says.metric is None:
        return Check(kind="bound", verdict="untested", evidence=("no number to hold against it",))
    found: list[Held] = []
    claimed = stated_in_metric_unit(says)
    if claimed is not None and says.stated is not None:
        defined = says.definition is not None
        found.append(
            hold(says.metric, claimed, says.stated, says.conditions, catalogue, defined=defined)
        )
    found += [_point(says, point, catalogue) for point in says.curve]
    for one in says.also:
        value = _mildest(one.metric, one.stated)
        if value is not None:
            found.append(hold(one.metric, value, one.stated, says.conditions, catalogue))
    if not found:
        return Check(kind="bound", verdict="untested", evidence=("no number to hold against it",))
    order: tuple[CheckVerdict, ...] = ("impossible", "not comparable", "untested", "possible")
    worst = min(found, key=lambda f: order.index(f.verdict))
    lines = [line for one in (found if len(found) < 4 else [worst]) for line in one.lines]
    if says.curve:
        lines.insert(0, f"{count(len(says.curve), 'point')} of a curve, each against its own bound")
    return Check(kind="bound", verdict=worst.verdict, evidence=tuple(lines), figures=worst.figures)


def _point(says: Serving, point: CurvePoint, catalogue: Catalogue) -> Held:
    assert says.metric is not None
    unit = says.stated.unit if says.stated is not None else metric_unit(says.metric)
    value = in_metric_unit(point.value, unit, says.metric)
    stated = Stated(value=point.value, unit=unit)
    defined = says.definition is not None
    return hold(says.metric, value, stated, point.of(says.conditions), catalogue, defined=defined)


def hold(
    metric: str,
    claimed: float,
    stated: Stated,
    c: Conditions,
    catalogue: Catalogue,
    *,
    defined: bool = True,
) -> Held:
    """A number in the metric's unit against the most permissive of the limits; `defined` where the
    source says what it counts."""
    every = _cpu(metric, c, catalogue) if c.gpu == "cpu" else limits(metric, c, catalogue)
    known = [x for x in every if x.tightest is not None]
    if not known:
        text = _why_unknown(metric, c, catalogue)
        return Held(verdict="untested", lines=(text,), figures={"stated": claimed})
    floor = known[0].floor
    best = (min if floor else max)(known, key=lambda x: x.tightest or 0.0)
    limit = best.tightest or 0.0
    figures = {"stated": claimed, "bound": limit, "compute_bound": best.compute}
    lines = [_line(x, metric) for x in _distinct(known)]
    if (assumed := implied(c)) is not None:
        lines.insert(0, assumed)
    if open_keys := _most_let_through(c):
        keys = ", ".join(open_keys)
        lines.append(f"not said, so read in the way that lets most through: {keys}")
    ratio = _over(claimed, limit, floor=floor)
    if ratio <= 1:
        share = f"{ratio:.0%} of the bound" if ratio >= 0.005 else "far from the bound"
        lines.append(f"stated {say(stated)}: {share}, not forbidden")
        return Held(verdict="possible", lines=tuple(lines), figures=figures)
    lines.append(f"stated {say(stated)}: {number(ratio)} times what the bound allows")
    verdict, more = _reading(metric, claimed, c, best, ratio, floor=floor)
    if verdict == "impossible":
        for other, what in other_readings(metric, c, defined=defined):
            ends = [x.tightest for x in limits(*other, catalogue)]
            if any(e is None or _over(claimed, e, floor=floor) <= 1 for e in ends):
                verdict, more = "not comparable", (f"possible {what}",)
                break
    return Held(verdict=verdict, lines=(*lines, *more), figures=figures)


_OPEN = ("quant", "input_tokens", "output_tokens", "concurrency", "kv_bits", "offload")


def _most_let_through(c: Conditions) -> list[str]:
    """The keys that a source leaves open and that a bound on GPUs takes at their mildest."""
    if c.gpu == "cpu":
        return []
    said = with_scenario(c)
    found = [key for key in _OPEN if getattr(said, key) is None]
    speculates = c.speculative is None and c.tokens_per_pass is None
    return [*found, "speculative"] if speculates else found


def other_readings(
    metric: str, c: Conditions, *, defined: bool
) -> Iterator[tuple[tuple[str, Conditions], str]]:
    """What an unsaid definition or phase may also mean: prompts counted in, or the rate of the
    nodes that only decode, or only take prompts in."""
    kind, _, per = metric.partition("_tokens_per_s")
    total = metric.replace("output", "total", 1)
    if not defined and total != metric and total in CLAIM_METRICS:
        yield (total, c), f"if tokens of the prompts are counted, too ({total})"
    phase: Literal["decode", "prefill"] = "decode" if kind == "output" else "prefill"
    several = c.gpus != 1  # one GPU has no other that takes prompts in for it
    split = (per in ("_per_gpu", "_per_node") and several) or not defined
    if c.phase is None and split and kind in ("output", "input"):
        words = "while nothing but answers is computed" if kind == "output" else "of prompts alone"
        yield (metric, replace(c, phase=phase)), f"{words} (phase: {phase})"


def _over(claimed: float, limit: float, *, floor: bool) -> float:
    """How many times bolder than the bound a number is."""
    above, below = (limit, claimed) if floor else (claimed, limit)
    return above / below if below else math.inf


def _reading(
    metric: str, claimed: float, c: Conditions, best: Limit, ratio: float, *, floor: bool
) -> tuple[CheckVerdict, tuple[str, ...]]:
    """What a number above the bound comes to: impossible, unless something unsaid allows it."""
    if known_metric(metric).bounded == "power" and c.power_scope != "gpu":
        return "not comparable", (_NEEDS["scope"],)
    speculates = c.speculative is not False and c.tokens_per_pass is None
    by_compute = 0.0 if best.compute is None else _over(claimed, best.compute, floor=floor)
    told = "which the source does not mention (speculative)"
    if c.speculative:
        told = "whose accepted tokens the source does not say (tokens_per_pass)"
    if speculates and best.reading == best.tightest and by_compute <= 1:
        return "not comparable", (_NEEDS["speculation"].format(number(ratio), told),)
    said = []
    if c.dataset is None and c.prefix_reuse is None and c.input_tokens is not None:
        said.append("prompts of a fixed length are taken to be drawn anew (prefix_reuse: true)")
    return "impossible", tuple(said)


def _why_unknown(metric: str, c: Conditions, catalogue: Catalogue) -> str:
    if known_metric(metric).bounded is None:
        return f"no bound is known for {metric}"
    if known_metric(metric).bounded == "cost" and c.usd_per_gpu_h is None:
        return "a cost has a bound only with the rent behind it (usd_per_gpu_h)"
    if model_of(c, catalogue) is None:
        return f"no bound: {c.model or 'the model'} is not in the catalogue"
    if c.gpu is not None and not gpu_names(c, catalogue.gpus):
        word = "-".join(w for w in (c.gpu, c.form_factor) if w)
        return f"no bound: gpu {word} is not in the catalogue.{nearest(word, catalogue.gpus)}"
    if named_precision(c, catalogue) is None:
        known_words = (*PRECISIONS, *catalogue.quants)
        return f"no bound: precision {c.quant} is not known.{nearest(c.quant or '', known_words)}"
    return "no bound is known for this precision, hardware or number of GPUs"


def _distinct(found: Sequence[Limit]) -> list[Limit]:
    return list({(x.where, x.tightest): x for x in found}.values())


def _line(limit: Limit, metric: str) -> str:
    at = "" if limit.batch is None else f" with {number(round(limit.batch))} at once"
    unit = metric_unit(metric)
    kind = "floor" if limit.floor else "bound"
    parts = [
        f"{name} {number(value)} {unit}"
        for name, value in (("reading memory", limit.reading), ("multiplying", limit.compute))
        if value is not None
    ]
    if known_metric(metric).bounded in ("power", "energy", "cost", "ttft"):
        parts = [f"{number(limit.tightest or 0.0)} {unit}"]
    return f"{kind} on {limit.where}{at}: {', '.join(parts)}"


def _cpu(metric: str, c: Conditions, catalogue: Catalogue) -> tuple[Limit, ...]:
    """A CPU's caches may hold the weights, so that only the cores' arithmetic bounds it."""
    model = model_of(c, catalogue)
    kind = known_metric(metric).bounded
    if (
        model is None
        or c.host_cpu_count is None
        or kind not in ("output", "user", "requests", "itl")
    ):
        return ()
    peak = c.host_cpu_count * CPU_HZ * CPU_OPS_PER_CYCLE
    rate = peak / (2.0 * from_config(model.config).matmul_params)
    if kind == "requests":
        rate /= work_of(c).output_tokens or 1.0
    where = (
        f"{c.host_cpu_count} cores × {CPU_HZ / 1e9:g} GHz × "
        f"{CPU_OPS_PER_CYCLE:g} operations per cycle"
    )
    value = 1e3 / rate if kind == "itl" else rate
    return (Limit(where=where, compute=value, reading=None, batch=None, floor=kind == "itl"),)
