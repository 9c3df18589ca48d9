"""The deployments that a claim's conditions leave open: every form factor and published precision.

A bound forbids a claim only when it forbids all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.claims.spec import Claim, Conditions, Serving, Speedup
from bench.config.catalogue import Catalogue
from bench.sizing.headroom import gpu_memory_gib, has_checkpoint
from bench.sizing.overheads import GIB
from bench.values.spec import (
    GpuSpec,
    LoadSpec,
    ModelSpec,
    QuantSpec,
    RunSpec,
    SloSpec,
    VllmSpec,
    WorkloadSpec,
)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One deployment that the conditions allow; `cache_bits` is 16 unless an 8-bit cache is
    tried."""

    spec: RunSpec
    cache_bits: int = 16

    @property
    def memory_gb(self) -> float:
        """Memory of all GPUs together, in GB."""
        return gpu_memory_gib(self.spec.gpu) * GIB / 1e9 * self.spec.gpus

    @property
    def place(self) -> str:
        """`2×a100-80gb-sxm`."""
        return f"{self.spec.gpus}×{self.spec.gpu.name}"


def gpu_names(conditions: Conditions, gpus: Mapping[str, GpuSpec]) -> tuple[str, ...]:
    """Entries of conf/gpu that the stated GPU can be; every GPU when the source names none."""
    planning = {n: g for n, g in gpus.items() if g.kind == "gpu"}
    size = conditions.gpu_memory_gb

    def fits_size(gpu: GpuSpec) -> bool:
        return size is None or gpu.memory_gb is None or abs(gpu.memory_gb - size) < 1

    if conditions.gpu is None:
        return tuple(n for n, g in planning.items() if fits_size(g))
    exact = conditions.gpu
    if conditions.form_factor is not None:
        exact = f"{conditions.gpu}-{conditions.form_factor}"
    if exact in gpus:
        return (exact,)
    if conditions.gpu in gpus:  # a GPU sold in one form only
        return (conditions.gpu,)
    start, end = f"{conditions.gpu}-", f"-{conditions.form_factor or ''}"
    return tuple(
        n
        for n, g in planning.items()
        if n.startswith(start) and fits_size(g) and (end == "-" or n.endswith(end))
    )


def model_of(conditions: Conditions, catalogue: Catalogue) -> ModelSpec | None:
    """The catalogue's model, or the one named as having the same architecture."""
    for name in (conditions.model, conditions.architecture):
        if name is not None and name in catalogue.models:
            return catalogue.models[name]
    return None


def in_our_words(claim: Claim, catalogue: Catalogue) -> Claim:
    """The claim with its precision by the catalogue's name, so that runs are found under it."""
    says = claim.says
    if isinstance(says, Serving):
        return replace(claim, says=replace(says, conditions=_named(says.conditions, catalogue)))
    if isinstance(says, Speedup):
        new, old = (_named(c, catalogue) for c in (says.conditions, says.baseline))
        return replace(claim, says=replace(says, conditions=new, baseline=old))
    return claim


def _named(c: Conditions, catalogue: Catalogue) -> Conditions:
    """Q4_K_M is q4_k_m, and a model's own data type is `none`; other words stay."""
    plain = "" if c.quant is None else c.quant.strip().casefold().replace(" ", "-")
    model = model_of(c, catalogue)
    if plain in catalogue.quants:
        return replace(c, quant=plain)
    own = "bfloat16" if plain == "bf16" else plain
    if model is not None and own == model.native_dtype.casefold():
        return replace(c, quant="none")
    return c


def quants_of(conditions: Conditions, model: ModelSpec, catalogue: Catalogue) -> list[QuantSpec]:
    """The stated precision, or every one with published weights (the same weights only once)."""
    if conditions.quant is not None:
        named = catalogue.quants.get(conditions.quant)
        return [] if named is None else [named]
    found: dict[str, QuantSpec] = {}
    ordered = sorted(catalogue.folder_quants(), key=lambda q: -(q.weight_bits or 32))
    for quant in ordered:
        if has_checkpoint(model, quant.name):
            checkpoint = model.checkpoints.get(quant.name)
            found.setdefault(checkpoint.repo if checkpoint else quant.name, quant)
    return list(found.values())


def variants(
    conditions: Conditions, catalogue: Catalogue, *, cache_bits: int = 16
) -> tuple[Variant, ...]:
    """Every deployment that the conditions allow; empty when model, GPUs or precision are not in
    the catalogue, or their number is unsaid."""
    model = model_of(conditions, catalogue)
    if model is None or not conditions.gpus:
        return ()
    return tuple(
        Variant(
            spec=spec_for(conditions, model, quant, catalogue.gpus[name], cache_bits),
            cache_bits=cache_bits,
        )
        for quant in quants_of(conditions, model, catalogue)
        for name in gpu_names(conditions, catalogue.gpus)
    )


def spec_for(
    conditions: Conditions,
    model: ModelSpec,
    quant: QuantSpec,
    gpu: GpuSpec,
    cache_bits: int = 16,
) -> RunSpec:
    """The least that the claim asks for: unsaid lengths count as one token."""
    return RunSpec(
        model=model,
        quant=quant,
        gpu=gpu,
        gpus=conditions.gpus or 0,
        engine=VllmSpec(
            max_model_len=conditions.context_tokens,
            args=("--kv-cache-dtype", "fp8") if cache_bits == 8 else (),
        ),
        workload=WorkloadSpec(
            name="claim",
            input_tokens=conditions.input_tokens or 1,
            output_tokens=conditions.output_tokens or 1,
            slo=conditions.slo or SloSpec(ttft_ms=1.0, tpot_ms=1.0),
        ),
        load=LoadSpec(concurrency=(conditions.concurrency or 1,)),
    )
