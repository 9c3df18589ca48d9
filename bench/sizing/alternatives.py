"""The smallest changes that would make a run fit, found by trying the catalogue."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Iterator

from bench.config.catalogue import Catalogue
from bench.sizing.declared import geometry_of
from bench.sizing.fit import fit
from bench.sizing.geometry import Geometry
from bench.sizing.headroom import gpu_memory_gib, has_checkpoint, is_cpu, longest_of, vllm_of
from bench.sizing.quantisations import is_local, own_quantisation
from bench.sizing.report import Alternative, FitReport
from bench.values.engine_flags import flags_of
from bench.values.errors import InputError
from bench.values.override_text import engine_args, pasted
from bench.values.spec import (
    GpuSpec,
    LengthSpec,
    ModelSpec,
    QuantSpec,
    RunSpec,
    VllmSpec,
    WorkloadSpec,
)

GPU_COUNTS = (1, 2, 4, 8, 16)


def alternatives(spec: RunSpec, report: FitReport, catalogue: Catalogue) -> tuple[Alternative, ...]:
    """Changes that fit, the fewest things changed first, without repeats.

    One change: another quantisation, more of the same GPUs, another GPU, a shorter context. Two or
    more: for each quantisation the least memory that holds it (all that is proposed for a host
    without GPUs). Last: a distilled sibling on the GPUs at hand. Only pairs with published (or
    local) weights are proposed.
    """
    if report.fits:
        return ()
    geometry = geometry_of(spec.model)
    found: dict[tuple[str, str, str, int], Alternative] = {}
    for one in _search(spec, report, catalogue, geometry):
        own = spec.model.checkpoints.get(one.quant) if one.model == spec.model.name else None
        key = (one.model, own.repo if own else one.quant, one.gpu, one.gpus)
        found.setdefault(key, one)
    return tuple(found.values())


def _search(
    spec: RunSpec, report: FitReport, catalogue: Catalogue, geometry: Geometry
) -> Iterator[Alternative]:
    quants = _distinct(spec.model, catalogue)
    if is_cpu(spec):
        for quant in quants:
            yield from _least(spec, catalogue, geometry, quant)
        return
    for quant in quants:
        yield from _one(spec, "quant", geometry, quant=quant)
    for count in GPU_COUNTS:
        if count > spec.gpus:
            more = tuple(_one(spec, "gpus", geometry, gpus=count))
            yield from more
            if more:
                break
    for gpu in _cheapest(_others(catalogue, spec.gpu)):
        bigger = tuple(_one(spec, "gpu", geometry, gpu=gpu))
        yield from bigger
        if bigger:
            break
    yield from _shorter(spec, report, geometry)
    for quant in quants:
        yield from _least(spec, catalogue, geometry, quant)
    yield from _sibling(spec, catalogue)


def _distinct(model: ModelSpec, catalogue: Catalogue) -> list[QuantSpec]:
    """The quantisations whose weights can be had, the same repository or folder only once."""
    if is_local(model) and own_quantisation(model.config):
        return [catalogue.quants["none"]]  # what the folder holds, whatever it is called
    found: dict[str, QuantSpec] = {}
    for quant in sorted(catalogue.folder_quants(), key=lambda q: (q.weight_bits is None, q.name)):
        if has_checkpoint(model, quant.name):
            checkpoint = model.checkpoints.get(quant.name)
            found.setdefault(checkpoint.repo if checkpoint else quant.name, quant)
    return list(found.values())


def _others(catalogue: Catalogue, gpu: GpuSpec) -> Iterator[GpuSpec]:
    """Other GPUs to propose: those that this program can run on and whose memory was seen."""
    known = (g for g in catalogue.planning_gpus() if g.nvml_names and g.memory_gib is not None)
    return (g for g in known if g.name != gpu.name)


def _cheapest(gpus: Iterable[GpuSpec]) -> list[GpuSpec]:
    """Least memory first, then the lower price: the smallest step up."""
    return sorted(gpus, key=lambda g: (gpu_memory_gib(g), _price(g), g.name))


def _price(gpu: GpuSpec) -> float:
    return next((usd for usd in gpu.price.tiers if usd is not None), 1e9)


def _least(
    spec: RunSpec, catalogue: Catalogue, geometry: Geometry, quant: QuantSpec
) -> Iterator[Alternative]:
    """With this quantisation: the same GPU if up to a node of 8 holds it, else the least memory."""
    same = [(n, spec.gpu) for n in GPU_COUNTS if n <= 8 and spec.gpu.kind == "gpu"]
    rest = [(n, g) for n in GPU_COUNTS if n <= 8 for g in _others(catalogue, spec.gpu)]
    rest.sort(key=lambda pair: (pair[0] * gpu_memory_gib(pair[1]), _price(pair[1]) * pair[0]))
    for count, gpu in (*same, *rest):
        kind = "gpus" if gpu is spec.gpu else "gpu"
        fitting = tuple(_one(spec, kind, geometry, quant=quant, gpu=gpu, gpus=count))
        if fitting:
            yield fitting[0]
            return


def _shorter(spec: RunSpec, report: FitReport, geometry: Geometry) -> Iterator[Alternative]:
    """The longest context that the same GPUs hold at the low end of the band, when the weights at
    least fit: of the engine where its own was typed, else of the workload's prompts."""
    longest = report.max_context_tokens_low // 16 * 16
    if not 0 < longest < report.context_needed_tokens:
        return
    typed = flags_of(spec).max_model_len is not None
    work = spec.workload
    asked = work.shared_prefix_tokens + sum(
        map(longest_of, (work.input_tokens, work.output_tokens))
    )
    if asked <= longest:
        engine = dataclasses.replace(vllm_of(spec), max_model_len=longest)
        yield from _one(dataclasses.replace(spec, engine=engine), "context", geometry)
        return
    prompt = longest - asked + longest_of(work.input_tokens)
    if prompt < 1 or not isinstance(work.input_tokens, int):
        return  # a workload whose lengths vary, or whose answers alone are too long
    shorter = dataclasses.replace(spec, workload=dataclasses.replace(work, input_tokens=prompt))
    if typed:
        engine = dataclasses.replace(vllm_of(spec), max_model_len=longest)
        shorter = dataclasses.replace(shorter, engine=engine)
    yield from _one(shorter, "context", geometry)


def _sibling(spec: RunSpec, catalogue: Catalogue) -> Iterator[Alternative]:
    """The first listed sibling that fits on the same GPUs, in its best format that does."""
    for name in spec.model.siblings:
        model = catalogue.models.get(name)
        if model is None:
            continue
        geometry = geometry_of(model)
        quants = sorted(catalogue.folder_quants(), key=lambda q: -(q.weight_bits or 16))
        for quant in quants:
            if not has_checkpoint(model, quant.name):
                continue
            fitting = tuple(_one(spec, "sibling", geometry, model=model, quant=quant))
            if fitting:
                yield fitting[0]
                return


def _one(
    spec: RunSpec,
    kind: str,
    geometry: Geometry,
    *,
    model: ModelSpec | None = None,
    quant: QuantSpec | None = None,
    gpu: GpuSpec | None = None,
    gpus: int | None = None,
) -> Iterator[Alternative]:
    """The changed run as an Alternative, if it fits."""
    changed = dataclasses.replace(
        spec,
        model=model or spec.model,
        quant=quant or spec.quant,
        gpu=gpu or spec.gpu,
        gpus=gpus or spec.gpus,
    )
    if isinstance(changed.engine, VllmSpec) and changed.gpus != spec.gpus:
        # A layout typed for the old number of GPUs does not bind the new one.
        changed = dataclasses.replace(
            changed, engine=dataclasses.replace(changed.engine, tensor_parallel_size=None)
        )
    try:
        report = fit(changed, geometry=geometry)
    except InputError:
        return  # this pair cannot even be counted, so it is no proposal
    if report.fits and report.fits_with_margin:  # within the band of the prediction, too
        yield _as_alternative(kind, changed, report)


def _as_alternative(kind: str, spec: RunSpec, report: FitReport) -> Alternative:
    overrides = [
        *_model_words(spec.model),
        f"quant={spec.quant.name}",
        f"gpu={spec.gpu.name}",
        f"gpus={spec.gpus}",
    ]
    context = ""
    overrides += _workload_words(spec.workload)
    overrides += _engine_words(spec.engine) if isinstance(spec.engine, VllmSpec) else []
    if isinstance(spec.engine, VllmSpec) and spec.engine.max_model_len is not None:
        overrides.append(f"engine.max_model_len={spec.engine.max_model_len}")
        context = f" at {spec.engine.max_model_len:,} tokens of context"
    return Alternative(
        kind=kind,  # type: ignore[arg-type]
        text=f"{spec.model.name} {spec.quant.name} on {spec.gpus}×{spec.gpu.name}{context}",
        overrides=tuple(overrides),
        model=spec.model.name,
        quant=spec.quant.name,
        gpu=spec.gpu.name,
        gpus=spec.gpus,
        weights_gib_per_gpu=report.weights_gib_per_gpu,
        max_context_tokens=report.max_context_tokens,
        usd_per_h_low=report.usd_per_h_low,
        usd_per_h_high=report.usd_per_h_high,
        usd_per_h_reserved=report.usd_per_h_reserved,
        usd_per_h_spot=report.usd_per_h_spot,
    )


def _model_words(model: ModelSpec) -> list[str]:
    """What to type for this model: its name where the catalogue has it, else where it came from."""
    local = model.weights not in ("hub", "bundled", "dummy")
    if not local and (model.checkpoints or model.weights != "hub"):
        dummy = ["model.weights=dummy"] if model.weights == "dummy" else []
        return [f"model={model.name}", *dummy]
    pairs = (("total_params_b", model.total_params_b), ("active_params_b", model.active_params_b))
    declared = [f"model.{key}={value:g}" for key, value in pairs if value is not None]
    if model.path is not None and model.weights == model.path:
        return [f"model.path={model.path}", *declared]
    if model.weights != "hub":
        return [f"model.weights={model.weights}", *declared]
    return [f"model.repo={model.repo}" if model.repo else f"model={model.name}", *declared]


def _workload_words(workload: WorkloadSpec) -> list[str]:
    """The lengths that the proposal was counted with, where they are not the defaults."""
    if workload.file is not None:
        return [f"workload={workload.name}"]
    lengths = {key: getattr(workload, key) for key in ("input_tokens", "output_tokens")}
    words = []
    if tuple(lengths.values()) != DEFAULT_LENGTHS:
        words = [pasted(f"workload.{key}={_length(length)}") for key, length in lengths.items()]
    if workload.shared_prefix_tokens:
        words.append(f"workload.shared_prefix_tokens={workload.shared_prefix_tokens}")
    return words


def _length(length: int | LengthSpec) -> str:
    """A length as it is typed: 512, or {dist:uniform,min:4,max:600}."""
    if isinstance(length, int):
        return str(length)
    said = (f"{key}:{value}" for key, value in vars(length).items() if value is not None)
    return f"{{{','.join(said)}}}"


DEFAULT_LENGTHS = (1024, 1024)
"""Those of the workload that conf/config.yaml takes where none is typed."""


def _engine_words(engine: VllmSpec) -> list[str]:
    """The settings that the proposal was counted with, where they are not the defaults."""
    words = []
    if engine.gpu_memory_utilization != VllmSpec.gpu_memory_utilization:
        words.append(f"engine.gpu_memory_utilization={engine.gpu_memory_utilization}")
    if engine.enforce_eager is not None:
        words.append(f"engine.enforce_eager={str(engine.enforce_eager).lower()}")
    if engine.tensor_parallel_size is not None:
        words.append(f"engine.tensor_parallel_size={engine.tensor_parallel_size}")
    if engine.args:
        words.append(shlex.quote(engine_args(engine.args)))
    return words
