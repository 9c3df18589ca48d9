"""The bound of one deployment in a metric's own unit, from `bench.sizing.bound`.

Whatever a claim leaves unsaid is read in the way that lets most through: the smallest format and
cache, the fastest units, any number of tokens per pass, weights and cache in host memory. Prompts
of a stated fixed length count as drawn anew, as every generator of such prompts does; those of a
data set may share prefixes. `prefix_reuse` says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.claims.metrics import known_metric
from bench.claims.scenarios import with_scenario
from bench.claims.spec import Conditions
from bench.claims.variants import gpu_names, model_of
from bench.config.catalogue import Catalogue
from bench.sizing import bound
from bench.sizing.architecture import from_config
from bench.sizing.bound import Bound, Held, Machine, Work
from bench.sizing.precision import SMALLEST_KV_BITS, Precision, precision
from bench.values.spec import GpuSpec, QuantSpec, SloSpec

GPU_ENGINES = ("vllm", "tensorrt", "trt", "sglang", "lmdeploy", "tgi", "nim", "mii", "max")
"""Engines (the beginning of their names) whose weights and cache are multiplied on GPUs alone."""
ENERGY_FLOOR = 0.4
"""J per token are never below this share of (power limit × GPUs ÷ bound): of 305 measurements with
energy the lowest has 0.95 (tests/data/evidence); a lower power limit saves at most half."""
POWER_SLACK = 1.1
"""Board sensors and limits agree to about 5 %; a mean above this times the limit is no reading."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The bound of one deployment in the metric's own unit, a floor where smaller is bolder.

    `compute` holds whatever the engine does; `reading` supposes `tokens_per_pass`; either is None
    where it bounds nothing. `batch` is the largest that load and memory allow.
    """

    where: str
    compute: float | None
    reading: float | None
    batch: float | None
    floor: bool = False

    @property
    def tightest(self) -> float | None:
        """The one that forbids most."""
        known = [b for b in (self.compute, self.reading) if b is not None]
        return (max if self.floor else min)(known, default=None)


def named_precision(conditions: Conditions, catalogue: Catalogue) -> Precision | None:
    """The stated precision by its word, else by a catalogue entry's bits; None when unknown."""
    known = precision(conditions.quant, model_of(conditions, catalogue))
    quant = catalogue.quants.get(conditions.quant or "")
    return known if known is not None or quant is None else _of_bits(quant)


def _of_bits(quant: QuantSpec) -> Precision | None:
    if quant.weight_bits is None:
        return None
    wide = (quant.activation_bits or 16) > 8
    units = ("bf16_tflops",) if quant.weight_bits > 8 and wide else ("fp8_tflops", "int8_tops")
    return Precision(name=quant.name, weight_bits=quant.weight_bits, units=(*units, "bf16_tflops"))


def work_of(said: Conditions) -> Work:
    """What the conditions ask of the hardware, in the reading that asks least."""
    c = with_scenario(said)
    reused = c.prefix_reuse if c.prefix_reuse is not None else _may_share(said)
    return Work(
        input_tokens=c.input_tokens,
        output_tokens=c.output_tokens,
        concurrency=c.concurrency,
        fresh_prompt=0.0 if reused else 1.0,
        tokens_per_pass=c.tokens_per_pass or 1.0,
        phase=c.phase or "both",
        kept_tokens_per_s=c.interactivity_tokens_per_s,
    )


def _may_share(c: Conditions) -> bool:
    return c.dataset is not None and c.scenario is None


def limits(metric: str, c: Conditions, catalogue: Catalogue) -> tuple[Limit, ...]:
    """The limit of every GPU that the conditions allow; none where model, precision, GPUs or
    metric have no bound here."""
    kind = known_metric(metric).bounded
    model, wanted = model_of(c, catalogue), named_precision(c, catalogue)
    if kind is None or model is None or wanted is None or not c.gpus:
        return ()
    kv_bits = c.kv_bits or SMALLEST_KV_BITS
    h = bound.held(from_config(model.config), wanted, kv_bits)
    found = []
    for name in gpu_names(c, catalogue.gpus):
        gpu = catalogue.gpus[name]
        m = machine_of(c, gpu, wanted, h)
        if m is not None:
            where = f"{c.gpus}×{name}, {_words(c, wanted)}"
            found.append(limit_of(metric, c, m, h, gpu, where))
    return tuple(found)


def machine_of(c: Conditions, gpu: GpuSpec, wanted: Precision, h: Held) -> Machine | None:
    """The GPUs and what the host may add: nothing where offload is excluded, else its memory over
    the link; its processor, too, unless the engine is one that multiplies on GPUs alone."""
    engine = (c.engine or "").casefold()
    on_gpus = any(engine.startswith(name) for name in GPU_ENGINES)
    host: bound.Host = "none" if c.offload is False else "link" if on_gpus else "computes"
    m = bound.machine(gpu, c.gpus or 0, wanted, host)
    if m is not None and h.weights <= m.memory and not c.offload:
        m = replace(m, host_peak=0.0)  # nobody multiplies on the host what the GPUs hold
    return m


def _words(c: Conditions, wanted: Precision) -> str:
    bits = f"{wanted.weight_bits:g} bits a weight"
    if c.quant is None:
        return f"{bits}, the smallest format served anywhere"
    return f"{c.quant}: {bits}"


def limit_of(metric: str, c: Conditions, m: Machine, h: Held, gpu: GpuSpec, where: str) -> Limit:
    """One deployment's limit in the metric's unit."""
    known = known_metric(metric)
    w = work_of(c)
    if known.bounded in ("ttft", "itl", "e2e"):
        return _times(known.bounded, m, h, w, where)
    if known.bounded == "power":
        top = None if gpu.power_w is None else POWER_SLACK * gpu.power_w * (c.gpus or 0)
        return Limit(where=where, compute=top, reading=None, batch=None)
    rate = _within(metric, m, h, w, with_scenario(c).slo)
    if known.bounded in ("energy", "cost"):
        return _per_token(metric, c, rate, gpu, where)
    shares = {"gpu": c.gpus, "node": c.nodes}.get(metric.rpartition("_per_")[2], 1)
    scaled = rate.scaled(1 / shares) if shares else Bound(compute=None, reading=None)
    return Limit(where=where, compute=scaled.compute, reading=scaled.reading, batch=rate.batch)


def _within(metric: str, m: Machine, h: Held, w: Work, slo: SloSpec | None) -> Bound:
    """The rate under an SLO: the given percentile of requests keep TTFT and TPOT, so that their
    share of the work is bounded by the batch whose step is short enough; none of them where even
    one request alone cannot keep it."""
    free = _rate(metric, m, h, w)
    if slo is None or known_metric(metric).bounded == "user":
        return free
    kept = max(w.kept_tokens_per_s or 0.0, 1e3 / slo.tpot_ms)
    bound_kept = _rate(metric, m, h, replace(w, kept_tokens_per_s=kept))
    if bound.ttft_floor_s(m, h, w) * 1e3 > slo.ttft_ms:
        bound_kept = Bound(compute=0.0, reading=0.0, batch=0.0)
    scaled = bound_kept.scaled(100 / slo.percentile)
    low = _least_of(free.reading, scaled.reading)
    return Bound(
        compute=_least_of(free.compute, scaled.compute),
        reading=low,
        batch=scaled.batch if low == scaled.reading else free.batch,
    )


def _least_of(a: float | None, b: float | None) -> float | None:
    return min((x for x in (a, b) if x is not None), default=None)


def _rate(metric: str, m: Machine, h: Held, w: Work) -> Bound:
    kind = known_metric(metric).bounded
    if kind == "user":
        return bound.user_bound(m, h, w)
    if kind == "input":
        return bound.input_bound(m, h, w)
    if kind == "requests" or metric == "energy_per_request_j":
        return bound.request_bound(m, h, w)
    if kind == "total" or "total" in metric:
        return total_bound(m, h, w)
    return bound.output_bound(m, h, w)


def total_bound(m: Machine, h: Held, w: Work) -> Bound:
    """Prompt and answer tokens/s together. With a length unsaid a total may be prompt alone."""
    if w.input_tokens is not None and w.output_tokens is not None:
        return bound.request_bound(m, h, w).scaled(w.input_tokens + w.output_tokens)
    return bound.input_bound(m, h, replace(w, input_tokens=None))


def _times(kind: str, m: Machine, h: Held, w: Work, where: str) -> Limit:
    """Floors in ms; with more than one token per pass only multiplying bounds what follows the
    first token."""
    first = bound.ttft_floor_s(m, h, w)
    if kind == "ttft":
        return Limit(where=where, compute=first * 1e3, reading=None, batch=None, floor=True)
    user = bound.user_bound(m, h, w)
    each = [
        None if rate is None or rate == 0 else 1 / rate for rate in (user.compute, user.reading)
    ]
    if kind == "e2e":
        rest = max((w.output_tokens or 1.0) - 1, 0.0)
        each = [first + rest * (s or 0.0) for s in each]
    compute, reading = (None if s is None else s * 1e3 for s in each)
    return Limit(where=where, compute=compute, reading=reading, batch=1, floor=True)


def _per_token(metric: str, c: Conditions, rate: Bound, gpu: GpuSpec, where: str) -> Limit:
    """J or USD per token, request or M tokens from the bound of their rate."""
    kind = known_metric(metric).bounded
    if kind == "cost":
        per_s = None if c.usd_per_gpu_h is None else c.usd_per_gpu_h * (c.gpus or 0) / 3600 * 1e6
    else:
        per_s = None if gpu.power_w is None else ENERGY_FLOOR * gpu.power_w * (c.gpus or 0)
    inverse = "_per_w" in metric or "_per_mw" in metric
    unit = 1e6 if metric.endswith("_per_mw") else 1.0

    def turned(tokens_per_s: float | None) -> float | None:
        if per_s is None or not tokens_per_s:
            return None
        return tokens_per_s / per_s * unit if inverse else per_s / tokens_per_s

    return Limit(
        where=where,
        compute=turned(rate.compute),
        reading=turned(rate.reading),
        batch=rate.batch,
        floor=not inverse,
    )
