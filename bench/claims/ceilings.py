"""Whether physics allows the number: memory bandwidth and matrix units of the claimed hardware."""

from __future__ import annotations

from dataclasses import dataclass

from bench.claims.quantity import Unit, parse_unit, quantity
from bench.claims.spec import Conditions, Serving
from bench.claims.variants import Variant, model_of, quants_of, spec_for, variants
from bench.claims.verdict import Check, number, say
from bench.config.catalogue import Catalogue
from bench.fit.headroom import served
from bench.fit.roofline import decode_ceiling, decode_flops, peak_flops
from bench.values.units import UnitError

# No CPU core yet shipped does more per cycle (AMX, 8 bits: 16 × 16 × 64 multiply-adds in 16
# cycles) or clocks higher; a bound, not an estimate.
CPU_OPS_PER_CYCLE = 2048.0
CPU_HZ = 6.5e9

_BOUNDED = (
    "output_tokens_per_s",
    "goodput_output_tokens_per_s",
    "output_tokens_per_s_per_gpu",
    "output_tokens_per_s_per_user",
    "requests_per_s",
)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The most that one variant can do, in the metric's own unit. `compute` holds whatever the
    engine does; `reading` supposes one token per pass over the weights, which speculative
    decoding may beat; None where no bandwidth is known."""

    where: str
    compute: float | None
    reading: float | None
    batch: int | None

    @property
    def lowest(self) -> float | None:
        """The tighter of the two."""
        known = [b for b in (self.compute, self.reading) if b is not None]
        return min(known, default=None)


def metric_unit(metric: str) -> str:
    """The unit that bench gives a metric of this name, by the ending that every name has."""
    endings = {
        "_tokens_per_s": "tokens/s",
        "_tokens_per_s_per_gpu": "tokens/s/GPU",
        "_tokens_per_s_per_user": "tokens/s/user",
        "requests_per_s": "requests/s",
        "_ms": "ms",
    }
    return next((unit for end, unit in endings.items() if metric.endswith(end)), "1")


def check_units(says: Serving) -> Check | None:
    """Whether the stated unit can be that of the metric; None when it can, or nothing is stated."""
    if says.metric is None or says.stated is None:
        return None
    try:
        quantity(1.0, says.stated.unit).to(_unit(says.metric))
    except UnitError as error:
        text = f"{says.stated.unit} is no unit of {says.metric}: {error}"
        return Check(kind="units", verdict="not comparable", evidence=(text,))
    return None


def _unit(metric: str) -> Unit:
    return parse_unit(metric_unit(metric))


def stated_in_metric_unit(says: Serving) -> float | None:
    """The stated value (the lower end of a range) in the metric's own unit."""
    if says.metric is None or says.stated is None or says.stated.value is None:
        return None
    return quantity(says.stated.value, says.stated.unit).to(_unit(says.metric))


def check_ceiling(says: Serving, catalogue: Catalogue) -> Check:
    """Impossible when the number exceeds what every variant could physically do."""
    claimed = stated_in_metric_unit(says)
    if says.metric is None or claimed is None or says.stated is None:
        return Check(kind="ceiling", verdict="untested", evidence=("no number to hold against it",))
    found = bounds(says.metric, says.conditions, catalogue)
    known = [b for b in found if b.lowest is not None]
    if not known:
        unknown = "no ceiling is known for this metric, model or hardware"
        return Check(kind="ceiling", verdict="untested", evidence=(unknown,))
    best = max(known, key=lambda b: b.lowest or 0.0)
    slower = says.metric.endswith("_ms")
    ceiling, compute = best.lowest or 0.0, best.compute
    lines = [_line(b, says.metric) for b in _distinct(known)]
    figures = {
        "stated": claimed,
        "ceiling": 1e3 / ceiling if slower else ceiling,
        "compute_ceiling": compute,
    }
    rate = 1e3 / claimed if slower else claimed
    if rate <= ceiling:
        lines.append(
            f"stated {say(says.stated)}: {rate / ceiling:.0%} of the ceiling, not forbidden"
        )
        return Check(kind="ceiling", verdict="possible", evidence=tuple(lines), figures=figures)
    lines.append(f"stated {say(says.stated)}: {number(rate / ceiling)} times the ceiling")
    if (
        best.reading == ceiling
        and says.conditions.speculative is not False
        and (compute is None or rate <= compute)
    ):
        lines.append(
            "more than one token per pass over the weights needs speculative decoding, "
            "which the source does not mention"
        )
        return Check(
            kind="ceiling", verdict="not comparable", evidence=tuple(lines), figures=figures
        )
    return Check(kind="ceiling", verdict="impossible", evidence=tuple(lines), figures=figures)


def _distinct(found: list[Bound]) -> list[Bound]:
    return list({(b.where, b.lowest): b for b in found}.values())


def _line(bound: Bound, metric: str) -> str:
    at = "" if bound.batch is None else f" at {bound.batch} in flight"
    unit = "tokens/s" if metric.endswith("_ms") else metric_unit(metric)
    parts = [
        f"{name} {number(value)} {unit}"
        for name, value in (("reading the weights", bound.reading), ("multiplying", bound.compute))
        if value is not None
    ]
    return f"ceiling on {bound.where}{at}: {', '.join(parts)}"


def bounds(metric: str, conditions: Conditions, catalogue: Catalogue) -> tuple[Bound, ...]:
    """The bound of every variant; none for metrics that have no bound here."""
    known = metric in _BOUNDED
    if not known and not metric.startswith(("itl_", "tpot_")):
        return ()
    if conditions.gpu == "cpu":
        return _cpu(metric, conditions, catalogue)
    return tuple(_bound(metric, conditions, v) for v in variants(conditions, catalogue))


def _cpu(metric: str, conditions: Conditions, catalogue: Catalogue) -> tuple[Bound, ...]:
    """A CPU's caches may hold the weights, so that only the cores' arithmetic bounds it."""
    model = model_of(conditions, catalogue)
    if model is None or conditions.host_cpu_count is None or "cpu" not in catalogue.gpus:
        return ()
    peak = conditions.host_cpu_count * CPU_HZ * CPU_OPS_PER_CYCLE
    found = []
    for quant in quants_of(conditions, model, catalogue):
        spec = spec_for(conditions, model, quant, catalogue.gpus["cpu"])
        compute = _scaled(metric, conditions, peak / decode_flops(served(spec), 0))
        where = (
            f"{conditions.host_cpu_count} cores × {CPU_HZ / 1e9:g} GHz × "
            f"{CPU_OPS_PER_CYCLE:g} operations per cycle"
        )
        found.append(Bound(where=where, compute=compute, reading=None, batch=None))
    return tuple(found)


def _bound(metric: str, conditions: Conditions, variant: Variant) -> Bound:
    spec = variant.spec
    s = served(spec)
    alone = metric == "output_tokens_per_s_per_user" or metric.startswith(("itl_", "tpot_"))
    batch = 1 if alone else conditions.concurrency
    peak = peak_flops(spec.gpu, s.fmt)
    compute = None if peak is None else peak * spec.gpus / decode_flops(s, 0)
    reading = None
    if batch is not None:
        ceiling = decode_ceiling(s, spec.gpu, spec.gpus, batch=batch, context_tokens=0)
        # hard_tokens_per_s already takes the lower of reading and multiplying
        reading = None if ceiling is None else ceiling.hard_tokens_per_s
        if reading is not None and compute is not None and reading >= compute:
            reading = None
    return Bound(
        where=f"{variant.place}, {spec.quant.name}",
        compute=None if compute is None else _scaled(metric, conditions, compute),
        reading=None if reading is None else _scaled(metric, conditions, reading),
        batch=batch,
    )


def _scaled(metric: str, conditions: Conditions, tokens_per_s: float) -> float:
    """Tokens/s of the whole deployment in the metric's own unit (ms metrics stay in tokens/s)."""
    if metric == "output_tokens_per_s_per_gpu":
        return tokens_per_s / (conditions.gpus or 1)
    if metric == "requests_per_s":
        return tokens_per_s / (conditions.output_tokens or 1)
    return tokens_per_s
