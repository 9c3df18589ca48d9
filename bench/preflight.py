"""Before anything is started: which hardware there is, and whether the run can work on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bench.config.catalogue import Catalogue, match_gpu
from bench.engines.cpu import cpu_flags
from bench.engines.vllm_flags import check_flags, check_ours
from bench.models.gguf import config_of, is_gguf, quantisation_of, read_gguf
from bench.models.model_config import hub_config, read_config
from bench.models.weights import resolve_weights
from bench.sizing.alternatives import alternatives
from bench.sizing.architecture import from_config
from bench.sizing.declared import geometry_of, longest_context
from bench.sizing.fit import fit, suggested_max_model_len, with_alternatives
from bench.sizing.geometry import Geometry
from bench.sizing.headroom import is_cpu, typical
from bench.sizing.precision import PRECISIONS, precision
from bench.sizing.report import FitReport
from bench.traffic.limits import ensure_streams, workers_for
from bench.values.cores import available
from bench.values.engine_flags import flags_of
from bench.values.errors import InputError, nearest
from bench.values.serving import ON_HOST
from bench.values.spec import (
    EndpointSpec,
    GpuSpec,
    LoadSpec,
    ModelSpec,
    OtherSpec,
    RunSpec,
    TransformersSpec,
    TruthSpec,
    VllmSpec,
)

if TYPE_CHECKING:
    from bench.meters.gpus import GpuList
    from bench.values.machine import Install


def list_gpus() -> GpuList:
    """This machine's GPUs; a fit that names its GPU does not wait for the meters' libraries."""
    from bench.meters import gpus

    return gpus.list_gpus()


def host_memory_bytes() -> int:
    """Bytes that a new process may still take on this host."""
    from bench.meters import gpus

    return gpus.host_memory_bytes()


def preflight(spec: RunSpec, catalogue: Catalogue) -> tuple[RunSpec, dict[str, Any] | None]:
    """The run on the hardware that is really here, and its fit as plain data.

    Only an engine that this program launches needs hardware. InputError, in a few lines, when GPUs
    are missing or the model does not fit (unless fit.force).
    """
    # What a fit does not need is fetched here: these take longer to import than to run.
    from bench.evaluators.lm_eval import check as check_quality
    from bench.meters.machine import install
    from bench.traffic.plan import as_read, check_workload

    check_quality(spec)
    check_nodes(spec)
    check_workload(spec)
    spec = replace(spec, workload=as_read(spec.workload))
    check_generator(spec)
    check_streams(spec.load)
    check_formats(spec)
    spec = with_cores(spec)
    if isinstance(spec.engine, OtherSpec):
        check_package(spec)
        return on_hardware(spec, catalogue), None
    if not isinstance(spec.engine, VllmSpec):
        return spec, None
    check_ours(spec.engine.args)
    if spec.engine.container is None:
        check_flags(spec.engine.args)
    check_context(spec)
    resolve_weights(spec.model, spec.quant)  # refuses a pair without a checkpoint
    check_kernels(spec, cpu_flags())
    missing = _missing_gpus(spec)
    if spec.gpu.kind == "auto" and not missing:
        spec = resolve(spec, frozenset({"gpus"}), catalogue)
    spec = _on_processor(spec, catalogue)
    check_build(spec, install())
    planned = spec.gpu.kind != "auto"
    report = checked(spec, catalogue) if planned else None
    problems = [missing] if missing else []
    if report is not None and not report.fits:
        problems += [f"does not fit: {reason}" for reason in report.reasons]
        problems += [f"what would: {a.text}" for a in report.alternatives[:4]]
    if problems and (missing or not spec.fit.force):
        name = f"model={spec.model.name} quant={spec.quant.name} gpus={spec.gpus}"
        raise InputError(f"{name} cannot run here: " + "\n  ".join(problems))
    if report is None:
        return spec, None
    return _as_planned(spec, report), report.to_json()


def refusal(spec: RunSpec, catalogue: Catalogue) -> Refusal | None:
    """Why a run cannot work on the GPUs that it names, wherever those are; None where it can, where
    nobody counts the engine's memory beforehand, and where what it gets is not known here: which
    GPUs `gpu=auto` will be, how much memory the host of a run on the processor has."""
    check_nodes(spec)
    if not isinstance(spec.engine, VllmSpec):
        return None
    try:
        resolve_weights(spec.model, spec.quant)
    except InputError as error:
        return Refusal(text=str(error).rstrip("."), forced=False)
    if spec.gpu.kind != "gpu" or not spec.gpus or spec.fit.force:
        return None
    report = checked(spec, catalogue)
    if report.fits:
        return None
    would = [f"; what would: {a.text}" for a in report.alternatives[:1]]
    return Refusal(text="".join((f"does not fit: {report.reasons[0]}", *would)), forced=True)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a run cannot work, in a line, and whether fit.force=true sends it all the same."""

    text: str
    forced: bool


def check_nodes(spec: RunSpec) -> None:
    """InputError where what was asked of several machines cannot be done."""
    nodes, engine = spec.nodes, spec.engine
    if nodes.count == 1:
        return
    if nodes.engine and not isinstance(engine, VllmSpec | TruthSpec):
        where = "; nodes.engine=false leaves it on one"
        if isinstance(engine, EndpointSpec):
            where = ", so its power is not metered there: nodes.engine=false sends load alone"
        raise InputError(f"nodes: engine={engine.kind} is not started over machines here{where}.")
    if nodes.load and not isinstance(engine, VllmSpec | TruthSpec | EndpointSpec):
        raise InputError(f"nodes.load: engine={engine.kind} listens on this machine alone.")
    if nodes.load and isinstance(engine, EndpointSpec) and on_loopback(engine.base_url):
        raise InputError(
            f"nodes.load: on the other machines {engine.base_url} means themselves: give the "
            "server's own address."
        )
    if nodes.load and spec.load.generator != "bench":
        raise InputError("nodes.load: load.generator=vllm is one process on this machine.")
    if spec.gpus % nodes.serving:
        raise InputError(f"gpus={spec.gpus} do not divide over {nodes.serving} nodes.")
    if nodes.backend == "ray" and isinstance(engine, VllmSpec) and engine.container is not None:
        raise InputError("nodes.backend=ray: Ray is not started in containers here; use mp.")


def on_loopback(url: str) -> bool:
    """Whether a server's address is one that only its own machine can reach."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1", "0.0.0.0") or host.startswith("127.")


def check_package(spec: RunSpec) -> None:
    """InputError where `transformers serve` of this environment lacks what it loads models with:
    it would say so only after its start."""
    engine = spec.engine
    if not isinstance(engine, TransformersSpec) or engine.command or engine.container:
        return
    if not find_spec("accelerate"):
        raise InputError(
            "engine=transformers needs the package accelerate, which is not installed here: "
            "make quality brings it, or set engine.command to the transformers of another "
            "environment."
        )


def on_hardware(spec: RunSpec, catalogue: Catalogue) -> RunSpec:
    """The run of an engine whose memory nobody counts beforehand, on the GPUs that are here."""
    missing = _missing_gpus(spec)
    if missing:
        raise InputError(f"engine={spec.engine.kind} cannot run here: {missing}")
    if spec.gpu.kind == "auto":
        spec = resolve(spec, frozenset({"gpus"}), catalogue)
    return _on_processor(spec, catalogue)


def _on_processor(spec: RunSpec, catalogue: Catalogue) -> RunSpec:
    """A run without GPUs is one on the processor; InputError where it names a GPU."""
    if spec.gpus == 0 and spec.gpu.kind == "gpu":
        raise InputError(
            f"gpu={spec.gpu.name}, but gpus is 0 (unsaid, it is what this machine has): gpus=1 or "
            "more where there is one, or gpu=cpu to serve on the processor."
        )
    if spec.gpus == 0 and spec.gpu.kind != "cpu":
        return replace(spec, gpu=catalogue.gpus["cpu"])
    return spec


def check_generator(spec: RunSpec) -> None:
    """InputError where the engine's own benchmark cannot be the load generator."""
    if spec.load.generator not in ("bench", "vllm"):
        raise InputError(
            f"load.generator: {spec.load.generator} is not started from here: run it, then import "
            "its result: bench audit FILE --import."
        )
    if spec.load.generator == "vllm" and spec.engine.kind != "vllm":
        raise InputError(
            f"load.generator: vllm needs the model's tokenizer, which engine={spec.engine.kind} "
            "does not have: use engine=vllm, or load.generator=bench."
        )


_OWN_FIELDS = {
    "model": "engine.served_model",
    **dict.fromkeys(("prompt", "messages"), "workload.file or workload.input_tokens"),
    **dict.fromkeys(("max_tokens", "max_completion_tokens"), "workload.output_tokens"),
    **dict.fromkeys(("n", "best_of"), "load.concurrency, for one answer each"),
    "temperature": "engine.temperature",
    "ignore_eos": "engine.ignore_eos",
    **dict.fromkeys(("stream", "stream_options"), "nothing: what it takes is found out"),
}
"""Fields of a request that are written by what is asked for in other keys."""


def check_formats(spec: RunSpec) -> None:
    """InputError for a word that names no format of an endpoint's weights or KV cache, and for a
    field of its requests that says otherwise than the run."""
    if not isinstance(spec.engine, EndpointSpec):
        return
    for name in spec.engine.extra_body:
        if name in _OWN_FIELDS:
            raise InputError(
                f"engine.extra_body: {name!r} is a field that bench writes itself: use "
                f"{_OWN_FIELDS[name]}."
            )
    for key in ("weights", "kv_cache_dtype"):
        word = getattr(spec.engine, key)
        if word is not None and precision(word) is None:
            raise InputError(
                f"engine.{key}: {word!r} names no format.{nearest(word.casefold(), PRECISIONS)}"
            )


def check_streams(load: LoadSpec) -> None:
    """InputError when this machine cannot hold the streams of the load: before an engine starts.

    How many an open loop will have open depends on the server: there each load point is checked.
    """
    most = max(load.concurrency, default=0) if load.mode != "open" else load.max_in_flight or 0
    if most and load.generator == "bench":
        ensure_streams(most, workers_for(most, load.workers))


def with_cores(spec: RunSpec) -> RunSpec:
    """The run with as many cores for the client alone as it needs, where nothing else was said.

    An engine that computes on this host's cores wants all of them at every step; a client that has
    to wait for one sends late and takes up several tokens at once. InputError where the engine
    would be left none.
    """
    load, have = spec.load, len(available())
    if load.own_cores is None:
        here = spec.engine.kind == "truth" or (spec.engine.kind in ON_HOST and spec.gpus == 0)
        workers = workers_for(max(load.concurrency, default=1), load.workers)
        own = min(workers, have // 2) if here else 0
        return replace(spec, load=replace(load, own_cores=own))
    if load.own_cores >= have:
        raise InputError(
            f"load.own_cores={load.own_cores} leaves the engine none of the {have} cores of this "
            f"machine: at most {have - 1}."
        )
    return spec


def check_kernels(spec: RunSpec, flags: frozenset[str]) -> None:
    """Refuse a quantisation whose kernel this CPU lacks.

    vLLM would load it, answer /health with 200, and die at the first request (vllm#55613). No
    flags at all mean that the system does not list them: then the engine decides.
    """
    four_bit = spec.quant.weight_bits == 4 and spec.quant.activation_bits == 16
    if spec.gpus > 0 or not four_bit or not flags or "avx512f" in flags:
        return
    raise InputError(
        f"quant={spec.quant.name}: vLLM's CPU kernel for 4-bit weights needs AVX-512, which this "
        "CPU lacks. Score its quality in-process (engine=none quality=NAME), serve quant=int8, or "
        "use a GPU."
    )


def _as_planned(spec: RunSpec, report: FitReport) -> RunSpec:
    """The run with the engine started as the fit planned: context length, pipeline stages."""
    engine = spec.engine
    assert isinstance(engine, VllmSpec)
    length = suggested_max_model_len(spec, report)
    if length is not None:
        engine = replace(engine, max_model_len=length)
    where = report.layout
    if where.pp > 1 and engine.tensor_parallel_size is None:
        typed = flags_of(spec).pipeline_parallel_size is not None
        stages = () if typed else ("--pipeline-parallel-size", str(where.pp))
        args = (*engine.args, *stages)
        engine = replace(engine, tensor_parallel_size=where.tp, args=args)
    return replace(spec, engine=engine)


def check_context(spec: RunSpec) -> None:
    """Refuse a context that was typed and that the workload's usual request does not go into: the
    server would turn every one away."""
    w, most = spec.workload, flags_of(spec).max_model_len
    if w.file is not None or most is None or most < 0:
        return
    takes = w.shared_prefix_tokens + typical(w.input_tokens) + typical(w.output_tokens)
    if takes > most:
        raise InputError(
            f"engine.max_model_len={most}: a request of {w.name} takes {takes:,.0f} tokens, so the "
            f"server would take none: engine.max_model_len={math.ceil(takes)}, or shorter ones "
            "(workload.input_tokens, workload.output_tokens)."
        )


def check_build(spec: RunSpec, found: Install) -> None:
    """Refuse a run on the processor with an engine that is built for GPUs: it would take one that
    it finds, or not start."""
    if spec.gpus == 0 and found.package == "vllm" and found.torch_cuda:
        raise InputError(
            f"gpus=0, but vLLM {found.vllm} here is built for CUDA {found.torch_cuda} and serves "
            "on GPUs alone: gpus=1, or make demo FLAVOUR=cpu."
        )


def _missing_gpus(spec: RunSpec) -> str | None:
    """Why the GPUs asked for are not there; None when they are."""
    if spec.gpus == 0:
        return None
    found = list_gpus()
    have = len(found.devices)
    wanted = spec.gpus // spec.nodes.serving
    if spec.nodes.serving > 1 and have < wanted:
        return f"gpus={spec.gpus} over {spec.nodes.serving} nodes are {wanted} on each, and " + (
            f"this machine has {have}" + (f" ({found.reason})." if found.reason else ".")
        )
    if spec.nodes.serving > 1:
        return None
    slices = [d for d in found.devices if d.slice_of]
    if slices and spec.gpus > 1:
        return f"gpus={spec.gpus}, but CUDA gives a process one MIG slice at most: gpus=1."
    if have >= spec.gpus:
        return None
    lost = "".join(f" {text}." for text in found.silent)
    if have:
        return f"gpus={spec.gpus}, but this machine has {have}. Ask for at most {have}.{lost}"
    if found.told == "unknown":
        return f"gpus={spec.gpus}, but {untold(found)}"
    return (
        f"gpus={spec.gpus}, but no GPU was found ({found.reason}). "
        "On this machine use gpus=0 with a small model (bench model=tiny), or plan with "
        f"bench fit model={spec.model.name} gpu=h100-sxm."
    )


def untold(found: GpuList) -> str:
    """That nobody can tell which GPUs there are, why, and what to do."""
    return (
        f"it cannot be told which GPUs this machine has ({found.reason}): see nvidia-smi, mend the "
        "driver or CUDA_VISIBLE_DEVICES, or say gpu=cpu gpus=0 to serve on the processor."
    )


def checked(spec: RunSpec, catalogue: Catalogue) -> FitReport:
    """The fit of a resolved run, with alternatives when it does not fit."""
    spec = _as_served(spec)
    report = fit(spec, host_memory_bytes=host_memory_bytes() if is_cpu(spec) else None)
    if report.fits:
        return report
    return with_alternatives(report, alternatives(spec, report, catalogue))


def _as_served(spec: RunSpec) -> RunSpec:
    """The run with the dtype that the engine will be given on this host: its kernels decide."""
    engine = spec.engine
    if not is_cpu(spec) or not isinstance(engine, VllmSpec) or engine.dtype is not None:
        return spec
    from bench.engines.vllm import default_dtype

    return replace(spec, engine=replace(engine, dtype=default_dtype(spec, cpu_flags())))


def resolve(spec: RunSpec, explicit: frozenset[str], catalogue: Catalogue) -> RunSpec:
    """The run with `model.path`, `model.repo` and `gpu=auto` replaced by what they stand for."""
    spec = replace(spec, model=resolve_model(spec.model, explicit))
    if spec.gpu.kind == "gpu" and spec.gpus == 0:
        if "gpus" in explicit:
            raise InputError(
                f"gpus: 0 of {spec.gpu.name} cannot serve anything; set gpus=1 or more, or gpu=cpu."
            )
        return replace(spec, gpus=1)
    if spec.gpu.kind == "cpu" and spec.gpus and "gpus" in explicit:
        raise InputError(
            f"gpus: gpu=cpu is this host without GPUs, so gpus={spec.gpus} of it mean nothing; "
            "leave gpus out, or name a gpu=."
        )
    if spec.gpu.kind != "auto":
        return spec
    gpu, count = detect(catalogue)
    if gpu.kind == "cpu":
        return replace(spec, gpu=gpu, gpus=0)
    if "gpus" not in explicit and spec.gpus == 0:
        return replace(spec, gpu=gpu, gpus=count)
    return replace(spec, gpu=gpu)


def detect(catalogue: Catalogue) -> tuple[GpuSpec, int]:
    """This machine's GPU and how many it has; the CPU entry and 0 when it has none.

    InputError for a GPU that the catalogue does not know, a partitioned one, different GPUs side by
    side, and where it cannot be told which there are.
    """
    return identified(list_gpus(), catalogue)


def identified(found: GpuList, catalogue: Catalogue) -> tuple[GpuSpec, int]:
    """The catalogue's entry for the devices that NVML lists, and their number; see `detect`."""
    if found.told == "unknown":
        raise InputError(f"gpu=auto: {untold(found)}")
    if not found.devices:
        cpu = next((g for g in catalogue.gpus.values() if g.kind == "cpu"), None)
        if cpu is None:
            raise InputError(f"gpu=auto: {found.reason}, and the catalogue lists no CPU.")
        return cpu, 0
    sliced = [d for d in found.devices if d.mig_enabled]
    if sliced:
        listed = ", ".join(d.uuid for d in sliced if d.slice_of) or "NVML lists no slice of it"
        raise InputError(
            f"gpu=auto: GPU {sliced[0].index} ({sliced[0].name}) is partitioned (MIG), {listed}: a "
            "slice has other limits than the whole. Write conf/gpu/NAME.yaml for the slice and use "
            "gpu=NAME, or name the UUIDs of whole boards in CUDA_VISIBLE_DEVICES."
        )
    blank = next((d for d in found.devices if not d.memory_total_bytes), None)
    if blank is not None:
        raise InputError(
            f"gpu=auto: GPU {blank.index} ({blank.name}) does not tell its memory: choose gpu=NAME."
        )
    matches = [match_gpu(d.name, d.memory_total_bytes, catalogue.gpus) for d in found.devices]
    names = {m.name for m in matches}
    if len(names) > 1:
        raise InputError(
            f"gpu=auto: this machine has {', '.join(sorted(names))}; choose one kind with gpu=NAME "
            "and CUDA_VISIBLE_DEVICES."
        )
    # NVML's own total is exact where the catalogue's is a model's usual one.
    gib = min(d.memory_total_bytes for d in found.devices) / 1024**3
    return replace(matches[0], memory_gib=gib), len(matches)


PLANNING_GPU = "h100-sxm"
"""The GPU that is planned for where none is here and none was named."""


def for_planning(spec: RunSpec, explicit: frozenset[str], catalogue: Catalogue) -> RunSpec:
    """The run on a named GPU where `gpus` was typed, no `gpu`, and this machine has none.

    Asking for two GPUs is not asking about this machine's processor. InputError for words that a
    run would not take.
    """
    check_formats(spec)
    asked = spec.gpu.kind == "auto" and "gpus" in explicit and spec.gpus > 0
    if not asked or list_gpus().devices:
        return spec
    return replace(spec, gpu=catalogue.gpus[PLANNING_GPU])


def resolve_model(model: ModelSpec, explicit: frozenset[str]) -> ModelSpec:
    """A model nobody listed, by the config.json that `model.path` or `model.repo` leads to."""
    _check_one_source(model, explicit)
    if "model.path" in explicit and model.path is not None:
        config, key, weights = read_config(model.path), "path", model.path
    elif "model.repo" in explicit and model.repo is not None:
        config, key, weights = hub_config(model.repo), "repo", "hub"
    elif "model.weights" in explicit and model.weights not in ("hub", "bundled", "dummy"):
        if is_gguf(model.weights):
            return _from_gguf(model, named="model" in explicit)
        config, key, weights = read_config(model.weights), "weights", model.weights
    else:
        return model
    if key != "weights" and "model.weights" in explicit:
        weights = model.weights
    if model.config and (key == "weights" or "model" in explicit):
        unlike = _unlike(config, model)
        if not unlike and key == "weights":
            # The same model, made otherwise: it keeps its name and its counts.
            return replace(model, config=config)
        if not unlike:  # nor are the published checkpoints those of its own folder
            return replace(model, config=config, weights=weights, checkpoints={}, siblings=())
        if "model" in explicit:
            raise InputError(
                f"model.{key}: {getattr(model, key)} is not model={model.name} ({unlike}). Leave "
                f"model={model.name} out: a folder says itself what it is; model.name=NAME names "
                "it otherwise."
            )
    declared = {"model.total_params_b", "model.active_params_b"} & explicit
    asked = replace(
        model,
        config=config,
        total_params_b=model.total_params_b if declared else None,
        active_params_b=model.active_params_b if "model.active_params_b" in explicit else None,
        max_context_tokens=longest_context(config) or model.max_context_tokens,
    )
    name = model.name if "model.name" in explicit else str(getattr(model, key))
    return _replaced(asked, name, weights, geometry_of(asked))


def _check_one_source(model: ModelSpec, explicit: frozenset[str]) -> None:
    """InputError where two keys say where one model lies; random weights take their shapes from
    either."""
    typed = [k for k in ("path", "repo", "weights") if f"model.{k}" in explicit]
    typed = [k for k in typed if getattr(model, k) is not None]
    if "weights" in typed and (
        model.weights == "dummy" or (model.weights == "hub" and typed == ["repo", "weights"])
    ):
        typed.remove("weights")
    if len(typed) > 1:
        keys = " and ".join(f"model.{k}={getattr(model, k)}" for k in typed)
        raise InputError(f"{keys} name two models: keep one.")


def _unlike(config: Mapping[str, Any], model: ModelSpec) -> str:
    """What a folder's config.json says otherwise than the model named beside it; empty where both
    have the same shapes."""
    there, here = from_config(config), from_config(dict(model.config))
    found = [
        f"{f.name} {getattr(there, f.name)} for {getattr(here, f.name)}"
        for f in fields(there)
        if getattr(there, f.name) != getattr(here, f.name)
    ]
    short = [text for text in found if len(text) < 60]
    return ", ".join(short[:3] or found[:1])[:200]


def _from_gguf(model: ModelSpec, *, named: bool) -> ModelSpec:
    """The model of a GGUF file: shapes from the model named beside it, else from its own keys.

    InputError where its weights are not as many as those shapes have.
    """
    file = read_gguf(model.weights)
    config = model.config if named else config_of(file)
    config = {**config, "quantization_config": quantisation_of(file)}
    geometry = from_config(config)
    if abs(file.weights / geometry.text_params - 1) > 0.01:
        whose = model.name if named else f"its keys ({file.architecture})"
        raise InputError(
            f"model.weights: {model.weights} holds {file.weights / 1e9:.3f} B weights, and "
            f"{whose} has {geometry.text_params / 1e9:.3f} B: name the file's own model with "
            "model=NAME, or use fit.force=true to run without a fit."
        )
    name = model.name if named else str(file.keys.get("general.name") or model.weights)
    # A GGUF file has no vision tower: that lies in a file of its own.
    text = {k: v for k, v in config.items() if not k.startswith("vision")}
    return _replaced(replace(model, config=text), name, model.weights, geometry)


def _replaced(model: ModelSpec, name: str, weights: str, geometry: Geometry) -> ModelSpec:
    """A model read from its own files: nothing that was listed of another one holds for it."""
    counted = not geometry.notes
    return replace(
        model,
        name=name.rstrip("/").rsplit("/", 1)[-1] or name,
        weights=weights,
        max_context_tokens=geometry.max_context_tokens,
        total_params_b=None if counted else model.total_params_b,
        active_params_b=None if counted else model.active_params_b,
        checkpoints={},
        siblings=(),
    )
