"""Whether the claimed deployment has room for the weights and the claimed context.

Impossible only where no reading of the claim fits: the smallest format and cache where they are
unsaid, and host memory or disk unless they are excluded. What the catalogue's formats and vLLM need
is shown beside it, and "not in the formats and engines known here" is said exactly so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.claims.limits import named_precision
from bench.claims.spec import Conditions
from bench.claims.variants import Variant, gpu_names, model_of, spec_for, variants
from bench.claims.verdict import FEWEST, NOT_KNOWN, OFFLOADED, Check, CheckVerdict
from bench.config.catalogue import Catalogue
from bench.sizing.alternatives import alternatives
from bench.sizing.architecture import from_config
from bench.sizing.bound import held, kv_bytes_kept
from bench.sizing.fit import fit
from bench.sizing.geometry import Geometry
from bench.sizing.overheads import GIB
from bench.sizing.precision import UNSAID
from bench.sizing.report import FitReport
from bench.values.engine_words import may_serve
from bench.values.errors import InputError
from bench.values.spec import GpuSpec, ModelSpec

Outcome = Literal["bytes", "overheads", "fits"]
SHOWN_ALTERNATIVES = 4
LLAMACPP = "llama.cpp"
LLAMACPP_KV_BITS = 4.5
"""The smallest cache that llama.cpp serves with (q4_0: 18 bytes for 32 elements, ggml-common.h)."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One variant with its fit: `bytes` when weights and cache alone exceed the memory,
    `overheads` when only an engine's needs beside them do."""

    variant: Variant
    report: FitReport

    @property
    def bare_gb(self) -> float:
        """Weights and the cache of one request of the claimed context."""
        return self.report.weights_gb + self.report.kv_gb_needed

    @property
    def outcome(self) -> Outcome:
        if self.report.fits:
            return "fits"
        return "bytes" if self.bare_gb > self.variant.memory_gb else "overheads"


def check_fit(conditions: Conditions, catalogue: Catalogue) -> Check:
    """Impossible when no variant has room; `possible` when one has; else what is unknown."""
    if conditions.gpu == "cpu":
        return Check(
            kind="fit",
            verdict="possible",
            evidence=("a host without GPU: its memory was not looked at",),
        )
    found = variants(conditions, catalogue)
    model = model_of(conditions, catalogue)
    if model is None or not conditions.gpus or not gpu_names(conditions, catalogue.gpus):
        return Check(kind="fit", verdict="untested", evidence=(_unknown(conditions, catalogue),))
    least = _least(conditions, catalogue)
    if not found:
        return _by_bits_alone(conditions, catalogue, least)
    geometry = from_config(model.config)
    tried = [_try(v, geometry) for v in found]
    eight = variants(conditions, catalogue, cache_bits=8)
    small_cache = [_try(v, geometry) for v in eight]
    fits_here = any(t.outcome == "fits" for t in (*tried, *small_cache))
    verdict = "possible" if fits_here else least.verdict
    shown = [t for t in tried if t.variant.spec.gpu.name == _largest(tried)]
    lines = [_memory(shown, conditions), *(_line(t) for t in shown)]
    if not fits_here:
        lines += [*_cache_lines(shown, small_cache), *least.lines]
    figures = _figures(shown) | {"least_gb": least.gb}
    if conditions.gpu is None:
        for quant, best in _smallest(conditions, catalogue, geometry).items():
            lines.append(_smallest_line(quant, best))
            figures[f"kv_left_gb_{quant}"] = None if best is None else _kv_left_gb(best)
    if not fits_here:
        lines += _would_fit(shown[-1], catalogue)
    return Check(kind="fit", verdict=verdict, evidence=tuple(lines), figures=figures)


def _try(variant: Variant, geometry: Geometry) -> Tried:
    return Tried(variant=variant, report=fit(variant.spec, geometry=geometry))


@dataclass(frozen=True, kw_only=True)
class Least:
    """The fewest bytes any reading of the conditions needs, in GB, and what that comes to."""

    gb: float | None
    verdict: CheckVerdict
    lines: tuple[str, ...]


def _least(c: Conditions, catalogue: Catalogue) -> Least:
    """Weights at the fewest bits that the claim's words allow, cache likewise, against the whole
    memory of the largest GPUs they allow."""
    model, wanted = model_of(c, catalogue), named_precision(c, catalogue)
    assert model is not None
    if wanted is None:
        text = f"precision {c.quant} is not known here: nothing to count"
        return Least(gb=None, verdict="untested", lines=(text,))
    h = held(from_config(model.config), wanted, c.kv_bits)
    tokens = c.context_tokens or (c.input_tokens or 1) + (c.output_tokens or 1)
    cache = kv_bytes_kept(h, tokens) / 1e9
    size = h.weights / 1e9
    memory = max(_memory_gb(c.gpus or 0, catalogue.gpus[n]) for n in gpu_names(c, catalogue.gpus))
    bits = f"{wanted.weight_bits:g} bits a weight"
    text = f"{FEWEST} ({bits}) it takes {size + cache:,.1f} GB"
    files = _files(c, model, catalogue, tokens) if c.quant is None else []
    lines = [
        f"{what}: " + ("fits" if gb <= memory else f"{gb - memory:,.1f} GB over")
        for what, gb in files
    ]
    if any(gb <= memory for _, gb in files):
        return Least(gb=size + cache, verdict="possible", lines=tuple(lines))
    if size + cache <= memory:
        lines.append(f"{text} of {memory:,.0f}: {NOT_KNOWN}")
        return Least(gb=size + cache, verdict="untested", lines=tuple(lines))
    lines.append(f"{text}, more than the {memory:,.0f} GB of the GPUs")
    if c.offload is False:
        return Least(gb=size + cache, verdict="impossible", lines=tuple(lines))
    said = "names" if c.offload else "does not exclude"
    lines.append(f"{OFFLOADED}, which the source {said}, can it run")
    return Least(gb=size + cache, verdict="untested", lines=tuple(lines))


def _files(
    c: Conditions, model: ModelSpec, catalogue: Catalogue, tokens: int
) -> list[tuple[str, float]]:
    """Files for llama.cpp that the claim may be about, each with its GB, the cache included: those
    published, and the smallest that llama-quantize makes where its layout is known."""
    h = held(from_config(model.config), UNSAID, c.kv_bits or LLAMACPP_KV_BITS)
    cache = kv_bytes_kept(h, tokens) / 1e9
    found = [
        (
            f"published: {f.name}, {f.size_gb:,.1f} GB, for {f.engine} ({f.source}, {f.as_of})",
            f.size_gb + cache,
        )
        for f in model.other_formats
        if may_serve(c.engine, f.engine)
    ]
    gguf = [q for q in catalogue.quants.values() if q.is_gguf]
    if not gguf or not may_serve(c.engine, LLAMACPP):
        return found
    least = min(gguf, key=lambda q: q.weight_bits or 16.0)
    gpu = catalogue.gpus[gpu_names(c, catalogue.gpus)[0]]
    try:
        size = fit(spec_for(c, model, least, gpu, 16)).weights_gb
    except InputError:
        return found
    made = f"made by llama-quantize: {least.name}, {size:,.1f} GB, for {LLAMACPP}"
    return [*found, (made, size + cache)]


def _memory_gb(gpus: int, gpu: GpuSpec) -> float:
    """The whole memory of all GPUs, the larger of what is sold and what NVML reports."""
    return gpus * max(gpu.memory_gb or 0.0, (gpu.memory_gib or 0.0) * GIB / 1e9)


def _by_bits_alone(c: Conditions, catalogue: Catalogue, least: Least) -> Check:
    """A precision that conf/quant does not describe: bytes at its bits, no engine's overheads."""
    if least.gb is None:
        return Check(kind="fit", verdict="untested", evidence=least.lines)
    memory = max(_memory_gb(c.gpus or 0, catalogue.gpus[n]) for n in gpu_names(c, catalogue.gpus))
    verdict: CheckVerdict = "possible" if least.gb <= memory else least.verdict
    lines = least.lines
    if least.gb <= memory:
        lines = (f"{c.quant}: at least {least.gb:,.1f} GB of {memory:,.0f} GB; no engine's needs",)
    return Check(
        kind="fit",
        verdict=verdict,
        evidence=lines,
        figures={"memory_gb": memory, "least_gb": least.gb},
    )


def _largest(tried: Sequence[Tried]) -> str:
    return max(
        tried, key=lambda t: (t.variant.memory_gb, t.variant.spec.gpu.name)
    ).variant.spec.gpu.name


def _unknown(conditions: Conditions, catalogue: Catalogue) -> str:
    """Why nothing can be counted."""
    if model_of(conditions, catalogue) is None:
        return f"{conditions.model or 'the model'} is not in the catalogue: nothing to count"
    if not conditions.gpus:
        return "the number of GPUs is not said"
    if not gpu_names(conditions, catalogue.gpus):
        return f"{conditions.gpu} {conditions.form_factor or ''} is not in the catalogue".rstrip()
    return f"precision {conditions.quant} is not in the catalogue: nothing to count"


def _memory(shown: Sequence[Tried], conditions: Conditions) -> str:
    first = shown[0].variant
    open_ends = [
        text
        for said, text in (
            (conditions.gpu, f"of all GPUs known, the largest is {first.spec.gpu.name}"),
            (conditions.quant, "precision unsaid: every published one is tried"),
        )
        if said is None
    ]
    if conditions.gpu is not None and conditions.form_factor is None:
        open_ends.append("form factor unsaid: each has this memory or less")
    more = f" ({'; '.join(open_ends)})" if open_ends else ""
    return f"{first.place} have {first.memory_gb:,.0f} GB{more}"


def _line(tried: Tried) -> str:
    """One precision: bytes, and the room or the excess."""
    r, v = tried.report, tried.variant
    text = f"{v.spec.quant.name}: weights as loaded {r.weights_gb:,.1f} GB"
    if r.kv_gb_needed >= 0.05:
        text += f" + cache of {r.context_needed_tokens:,} tokens {r.kv_gb_needed:,.1f} GB"
        if r.kv_gb_if_no_layer_forgets > 1.01 * r.kv_gb_needed:
            text += f" ({r.kv_gb_if_no_layer_forgets:,.1f} GB if no layer forgets)"
        text += f" = {tried.bare_gb:,.1f} GB"
    if tried.outcome == "bytes":
        return f"{text}: {tried.bare_gb - v.memory_gb:,.1f} GB too much"
    if tried.outcome == "overheads":
        return f"{text}: but {r.reasons[0]}"
    return f"{text}: fits, {r.kv_tokens:,} tokens of cache"


def _cache_lines(shown: Sequence[Tried], small_cache: Sequence[Tried]) -> list[str]:
    """The best that an 8-bit cache would do, where the weights at least have room."""
    place = shown[0].variant.spec.gpu.name
    close = [
        t
        for t in small_cache
        if t.variant.spec.gpu.name == place and t.report.weights_gb < t.variant.memory_gb
    ]
    if not close:
        return []
    best = min(close, key=lambda t: t.bare_gb)
    r = best.report
    return [
        f"with an 8-bit cache, which the source does not mention, {best.variant.spec.quant.name} "
        f"takes {best.bare_gb:,.1f} GB; beside the engine's overheads there is room for "
        f"{r.max_context_tokens:,} tokens"
    ]


def _smallest(
    conditions: Conditions, catalogue: Catalogue, geometry: Geometry
) -> dict[str, Tried | None]:
    """Per precision, the smallest GPUs known that hold the weights; None where none does."""
    least = replace(conditions, context_tokens=None, input_tokens=None, output_tokens=None)
    found: dict[str, Tried | None] = {}
    for variant in variants(least, catalogue):
        best = found.setdefault(variant.spec.quant.name, None)
        tried = _try(variant, geometry)
        if tried.report.fits and (best is None or variant.memory_gb < best.variant.memory_gb):
            found[variant.spec.quant.name] = tried
    return found


def _smallest_line(quant: str, best: Tried | None) -> str:
    if best is None:
        return f"{quant}: the weights alone fit none of the GPUs known"
    return (
        f"{quant}: the smallest that hold the weights are {best.variant.place}, which leaves "
        f"{_kv_left_gb(best):,.1f} GB of cache, {best.report.max_context_tokens:,} tokens"
    )


def _kv_left_gb(tried: Tried) -> float:
    return tried.report.kv_gib_per_gpu * GIB / 1e9 * tried.variant.spec.gpus


def _would_fit(tried: Tried, catalogue: Catalogue) -> list[str]:
    try:
        found = alternatives(tried.variant.spec, tried.report, catalogue)
    except InputError:
        return []
    texts = [a.text for a in found[:SHOWN_ALTERNATIVES]]
    return [f"would fit: {'; '.join(texts)}"] if texts else []


def _figures(shown: Sequence[Tried]) -> dict[str, float | None]:
    found: dict[str, float | None] = {"memory_gb": shown[0].variant.memory_gb}
    for tried in shown:
        r, quant = tried.report, tried.variant.spec.quant.name
        found[f"weights_gb_{quant}"] = r.weights_gb
        found[f"max_context_tokens_{quant}"] = float(r.max_context_tokens)
    first = shown[0].report
    found["kv_gb"] = first.kv_gb_needed
    found["kv_gb_if_no_layer_forgets"] = first.kv_gb_if_no_layer_forgets
    return found
