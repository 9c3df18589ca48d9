"""How much of the hardware a load point used, and whether it claims more than there is.

MBU, MFU and the plan are expectations from the model's geometry and the measured rates, so they are
`modelled`, may be exceeded and fail nothing; only a bound (`bench.sizing.bound`) does. They
are None where the hardware's limits are not published (a CPU, an endpoint).
`engine_mbu` and `engine_mfu` are the same from what the engine itself counted, where it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.measure.metrics import Metric, Steady
from bench.measure.prefix_cache import cached_share
from bench.measure.window import in_flight
from bench.sizing.bound import Work, held, machine, output_bound
from bench.sizing.formats import Served
from bench.sizing.headroom import served
from bench.sizing.precision import precision, precision_of
from bench.sizing.roofline import decode_expectation, peak_flops, utilisation
from bench.values.engine_flags import flags_of, why_unread
from bench.values.errors import InputError
from bench.values.finding import Finding, finding
from bench.values.spec import EndpointSpec, RunSpec, VllmSpec

_SAME_BITS = 0.5
"""Formats whose weights differ by less are one: what a word leaves out are scales."""
_TOLERANCE = 1.02
"""Clocks and published bandwidths agree to about this; more than this is a wrong number."""


def against_hardware(
    spec: RunSpec, parts: Sequence[Steady], metrics: Mapping[str, Metric]
) -> tuple[dict[str, Metric], Finding]:
    """`mbu`, `mfu`, `plan_tokens_per_s` (an expectation) and `bound_tokens_per_s` of a load point,
    and the check that the bound is not exceeded."""
    rate = metrics["output_tokens_per_s"]
    model = _served(spec)
    if model is None or not parts or not rate.value:
        why = why_unread(spec) or unsaid(spec) or "the hardware is not known"
        return _unknown(), finding("bound", "info", f"no bound: {why}")
    reused = _reused(parts)
    draft = speculation(parts)
    per_pass = 1.0 if draft is None else draft.tokens_per_pass
    if draft is None and drafts(spec):
        text = "no bound: the engine drafts tokens and does not publish how many are accepted"
        return _unknown(), finding("bound", "info", text)
    mean_input, mean_output = _mean_lengths(metrics)
    most = bound_of(spec, model, parts, (mean_input, mean_output))
    bound = _modelled(most, "tokens/s")
    unknown = laid_out_otherwise(spec, model)
    if unknown is not None:
        found = {name: replace(m, reason=unknown) for name, m in _unknown().items()}
        found |= {**_by_the_engine(spec, model, parts), "bound_tokens_per_s": bound}
        return found, _below(rate.value, most, None, allowed(spec))
    used = utilisation(
        model,
        spec.gpu,
        spec.gpus,
        output_tokens_per_s=rate.value,
        input_tokens_per_s=(metrics["input_tokens_per_s"].value or 0.0) * (1 - reused),
        mean_batch=rate.value * (metrics["tpot_p50_ms"].value or 0.0) / 1e3,
        mean_input_tokens=mean_input,
        mean_output_tokens=mean_output,
        replicas=flags_of(spec).data_parallel_size,
    )
    top = decode_expectation(
        model,
        spec.gpu,
        spec.gpus,
        batch=_most_at_once(parts),
        context_tokens=mean_input + mean_output / 2,
        replicas=flags_of(spec).data_parallel_size,
    )
    found = {
        # Weights are read once a pass, which yields several tokens; all that were drafted are
        # computed.
        "mbu": _share(_times(used.mbu, 1 / per_pass), rate),
        "mfu": _share(_times(used.mfu, 1.0 if draft is None else draft.computed_per_token), rate),
        "plan_tokens_per_s": _modelled(None if top is None else top.tokens_per_s, "tokens/s"),
        **_by_the_engine(spec, model, parts),
        "bound_tokens_per_s": bound,
    }
    # Experts that are chosen alike are read less often than MBU takes them to be.
    mbu = None if model.geometry.experts else found["mbu"].value
    return found, _below(rate.value, most, mbu, allowed(spec))


@dataclass(frozen=True, kw_only=True)
class Speculation:
    """Speculative decoding as the engine counted it: verification passes, tokens drafted for them
    and drafted tokens that were accepted."""

    passes: float
    drafted: float
    accepted: float

    @property
    def acceptance(self) -> float:
        """Share of the drafted tokens that were accepted."""
        return self.accepted / self.drafted

    @property
    def tokens_per_pass(self) -> float:
        """What one pass over the weights yields: the accepted tokens and one of its own."""
        return 1 + self.accepted / self.passes

    @property
    def computed_per_token(self) -> float:
        """Tokens that a pass computes for each that it yields."""
        return (1 + self.drafted / self.passes) / self.tokens_per_pass


def speculation(parts: Sequence[Steady]) -> Speculation | None:
    """What the engine's counters say of drafting over all repeats; None where it did none."""
    counted = []
    for name in ("drafts", "draft_tokens", "accepted_tokens"):
        rises = [part.data.counted(f"spec_decode_num_{name}_total") for part in parts]
        counted.append(sum(r for r in rises if r is not None))
    passes, drafted, accepted = counted
    if passes <= 0 or drafted <= 0:
        return None
    return Speculation(passes=passes, drafted=drafted, accepted=accepted)


def drafts(spec: RunSpec) -> bool:
    """Whether the engine was told to draft tokens."""
    return isinstance(spec.engine, VllmSpec) and flags_of(spec).speculative is not None


def speculation_finding(parts: Sequence[Steady]) -> Finding | None:
    """How far drafting went, as the engine counted; None where nothing was drafted.

    The gain is a matter of two runs, with and without: `bench compare` tests it in pairs.
    """
    found = speculation(parts)
    if found is None:
        return None
    text = (
        f"{found.acceptance:.0%} of the drafted tokens were accepted, {found.tokens_per_pass:.2f} "
        "tokens a pass; whether it gains is what bench compare --interleave says"
    )
    return finding("speculation", "info", text, found.acceptance, "1")


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def bound_of(
    spec: RunSpec, model: Served, parts: Sequence[Steady], lengths: tuple[float, float]
) -> float | None:
    """The most output tokens/s that this load point can honestly show; None where none is known.

    Speculation and what another's server keeps in which format are allowed where they are unsaid.
    """
    launched = isinstance(spec.engine, VllmSpec)
    word, kv_word = _formats(spec)
    own = word == spec.quant.name
    wanted = precision_of(word, spec.model, model.fmt) if word and own else precision(word)
    if wanted is None:
        return None
    m = machine(spec.gpu, spec.gpus, wanted, "link" if launched else "computes")
    if m is None:
        return None
    draft = speculation(parts)
    per_pass = None if not launched or drafts(spec) else 1.0
    shared = spec.workload.shared_prefix_tokens > 0 or spec.workload.turns > 1
    work = Work(
        input_tokens=lengths[0] or None,
        output_tokens=lengths[1] or None,
        concurrency=_most_at_once(parts),
        fresh_prompt=0.0 if shared else 1 - _reused(parts),
        tokens_per_pass=per_pass if draft is None else draft.tokens_per_pass,
    )
    kv = precision(kv_word)
    kv_bits = 8 * model.kv_bytes if launched else kv.weight_bits if kv and kv_word else None
    return output_bound(m, held(model.geometry, wanted, kv_bits), work).lowest


def _formats(spec: RunSpec) -> tuple[str | None, str | None]:
    """The words for the weights' format and the KV cache's; None where nobody said: the quant that
    was not named says nothing of a server that somebody else started."""
    engine = spec.engine
    if not isinstance(engine, EndpointSpec):
        return spec.quant.name, None
    named = None if spec.quant.name == "none" else spec.quant.name
    return engine.weights or named, engine.kv_cache_dtype


def allowed(spec: RunSpec) -> str:
    """What the bound lets pass because nobody said it, for whoever has another bound at hand: that
    of `bench fit` is of one format, without drafting."""
    if isinstance(spec.engine, VllmSpec):
        return ""
    word, kv_word = _formats(spec)
    said = ((word, "weights in any format"), (kv_word, "a KV cache in any"), (None, "any drafting"))
    unsaid = [text for known, text in said if known is None]
    return f", {', '.join(unsaid)} allowed, for nobody said them"


def _below(rate: float, hard: float | None, mbu: float | None, unsaid: str = "") -> Finding:
    """The check that the bound is not exceeded. Shares of a plan (MBU, MFU) forbid nothing, but one
    above all there is has a cause that is not known: a warning. `mbu` None: not to be judged."""
    if hard is None:
        return finding("bound", "info", "no bound: this hardware's is not published")
    share = rate / hard
    if share > _TOLERANCE:
        text = (
            f"{rate:,.0f} tokens/s are {share:.2f} times the most that this hardware can do "
            f"({hard:,.0f}): the model, the GPU or the count is not what was said"
        )
        return finding("bound", "fail", text, share, "1")
    text = f"{share:.0%} of the bound of {hard:,.0f} tokens/s at this load{unsaid}"
    if mbu is not None and mbu > _TOLERANCE:
        text += (
            f", but {mbu:.2f} times what memory can deliver where a pass yields one token: the "
            "server drafts tokens, its weights are smaller, or model or GPU are not what was said"
        )
        return finding("bound", "warn", text, share, "1")
    return finding("bound", "pass", text, share, "1")


def unsaid(spec: RunSpec) -> str | None:
    """Why the run's model says nothing of what was served: it is the composed one, of a server that
    somebody else started. None where it was named."""
    engine = spec.engine
    if not isinstance(engine, EndpointSpec) or engine.expects_model is not None:
        return None
    if spec.load.generator != "bench":  # another tool's result, whose model was named
        return None
    return "which model the server serves was not said (model=NAME, or engine.expects_model=NAME)"


def laid_out_otherwise(spec: RunSpec, model: Served) -> str | None:
    """Why the bytes that a pass reads are not known: the format that `engine.weights` names for
    another's server is not the one that `model` has. None where it is, or where nothing is named.
    """
    if not isinstance(spec.engine, EndpointSpec) or spec.engine.weights is None:
        return None
    word = spec.engine.weights
    named = precision(word, spec.model)
    has = model.fmt.bits or 8 * model.native_bytes
    same = word.strip().casefold() == spec.quant.name
    if named is None or same or abs(named.weight_bits - has) < _SAME_BITS:
        return None
    return (
        f"engine.weights={word} says how many bits a weight has, not which ones: name the "
        "quantisation (quant=NAME), or the folder of its checkpoint (model.path=DIR)"
    )


def _served(spec: RunSpec) -> Served | None:
    if spec.engine.kind == "truth" or not spec.model.config or spec.gpu.kind == "auto":
        return None
    if unsaid(spec):
        return None
    try:
        return served(spec)
    except InputError:  # a quantisation or architecture that was forced past the fit
        return None


def _mean_lengths(metrics: Mapping[str, Metric]) -> tuple[float, float]:
    requests = metrics["requests_per_s"].value
    if not requests:
        return 0.0, 0.0
    prompt = metrics["input_tokens_per_s"].value or 0.0
    return prompt / requests, (metrics["output_tokens_per_s"].value or 0.0) / requests


def _most_at_once(parts: Sequence[Steady]) -> int:
    """The most requests in flight in any window: no step can have had a larger batch."""
    most = 1
    for part in parts:
        sent = part.data.requests["sent_ns"]
        if len(sent):
            most = max(most, int(np.max(in_flight(part.data, sent))))
    return most


def _reused(parts: Sequence[Steady]) -> float:
    """Share of the prompt tokens that the engine took from its prefix cache.

    0 where nothing says: prompts are drawn anew for every request, so that only a workload
    that repeats them can be computed for less than this says.
    """
    return cached_share([part.data for part in parts]) or 0.0


def _by_the_engine(spec: RunSpec, model: Served, parts: Sequence[Steady]) -> dict[str, Metric]:
    """MBU and MFU from vLLM's estimates per GPU, over each whole load point.

    They count reads of weights and cache, and operations, step by step as they were scheduled;
    vLLM keeps them when it is started with --enable-mfu-metrics.
    """
    bandwidth = spec.gpu.bandwidth_gb_s
    peak = peak_flops(spec.gpu, model.fmt)
    limits = {
        "engine_mbu": ("read_bytes", None if bandwidth is None else bandwidth * 1e9),
        "engine_mfu": ("flops", peak),
    }
    found = {}
    for name, (counter, limit) in limits.items():
        rates = [_counted_per_s(part, f"estimated_{counter}_per_gpu_total") for part in parts]
        # Each data-parallel engine counts per GPU of its own, and what is read is summed over them.
        known = [r / flags_of(spec).data_parallel_size for r in rates if r is not None]
        value = sum(known) / len(known) / limit if known and limit and spec.gpus else None
        metric = _modelled(value, "1")
        why = "the engine counts neither: engine.args=[--enable-mfu-metrics] makes vLLM do so"
        found[name] = replace(metric, repeats=len(known), reason=None if known else why)
    return found


def _counted_per_s(part: Steady, name: str) -> float | None:
    """Rise per second of a counter over a load point; one that stands still counts nothing."""
    rise, read_ns = part.data.counted(name), part.data.counted("read_ns")
    return rise / (read_ns / 1e9) if rise and read_ns else None


def _share(value: float | None, rate: Metric) -> Metric:
    """A share that is proportional to the output rate, with the rate's relative interval."""
    metric = replace(_modelled(value, "1"), n=rate.n, repeats=rate.repeats)
    if value is None or not rate.value or rate.ci_low is None or rate.ci_high is None:
        return metric
    return replace(
        metric, ci_low=value * rate.ci_low / rate.value, ci_high=value * rate.ci_high / rate.value
    )


def _modelled(value: float | None, unit: str) -> Metric:
    return Metric(value=value, unit=unit, arose="modelled")


def _unknown() -> dict[str, Metric]:
    shares = ("mbu", "mfu", "engine_mbu", "engine_mfu")
    return {
        **{name: _modelled(None, "1") for name in shares},
        "plan_tokens_per_s": _modelled(None, "tokens/s"),
        "bound_tokens_per_s": _modelled(None, "tokens/s"),
    }
