"""Whether the claimed deployment has room for the weights and the claimed context: bare bytes
first, then with an engine's overheads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.claims.spec import Conditions
from bench.claims.variants import Variant, gpu_names, model_of, variants
from bench.claims.verdict import Check, CheckVerdict
from bench.config.catalogue import Catalogue
from bench.fit.alternatives import alternatives
from bench.fit.architecture import from_config
from bench.fit.fit import fit
from bench.fit.geometry import Geometry
from bench.fit.overheads import GIB
from bench.fit.report import FitReport
from bench.values.errors import InputError

Outcome = Literal["bytes", "overheads", "fits"]
SHOWN_ALTERNATIVES = 4


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
    if not found:
        return Check(kind="fit", verdict="untested", evidence=(_unknown(conditions, catalogue),))
    geometry = from_config(found[0].spec.model.config)
    tried = [_try(v, geometry) for v in found]
    eight = variants(conditions, catalogue, cache_bits=8)
    small_cache = [_try(v, geometry) for v in eight]
    verdict = _verdict(tried, small_cache)
    shown = [t for t in tried if t.variant.spec.gpu.name == _largest(tried)]
    lines = [_memory(shown, conditions), *(_line(t) for t in shown)]
    if verdict != "possible":
        lines += _cache_lines(shown, small_cache)
    figures = _figures(shown)
    if conditions.gpu is None:
        for quant, best in _smallest(conditions, catalogue, geometry).items():
            lines.append(_smallest_line(quant, best))
            figures[f"kv_left_gb_{quant}"] = None if best is None else _kv_left_gb(best)
    if verdict == "impossible":
        lines += _would_fit(shown[-1], catalogue)
    return Check(kind="fit", verdict=verdict, evidence=tuple(lines), figures=figures)


def _try(variant: Variant, geometry: Geometry) -> Tried:
    return Tried(variant=variant, report=fit(variant.spec, geometry=geometry))


def _verdict(tried: Sequence[Tried], small_cache: Sequence[Tried]) -> CheckVerdict:
    if any(t.outcome == "fits" for t in (*tried, *small_cache)):
        return "possible"
    return "impossible" if all(t.outcome == "bytes" for t in tried) else "untested"


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
    text = f"{v.spec.quant.name}: weights {r.weights_gb:,.1f} GB"
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
