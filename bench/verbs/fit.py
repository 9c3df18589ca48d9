"""`bench fit`: what fits and how fast it could physically be, before anything is downloaded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

from bench.alternatives import GPU_COUNTS, alternatives
from bench.architecture import from_config
from bench.catalogue import Catalogue, match_gpu
from bench.errors import InputError
from bench.fit import fit, with_alternatives
from bench.fit_report import FitReport
from bench.headroom import has_checkpoint, is_cpu
from bench.meters.gpus import host_memory_bytes, list_gpus
from bench.model_config import hub_config, read_config
from bench.spec import GpuSpec, ModelSpec, QuantSpec, RunSpec


def run(
    spec: RunSpec, *, explicit: frozenset[str], catalogue: Catalogue, as_json: bool = False
) -> int:
    """Print the fit of one combination, or of the table of those not typed; exit status 0.

    `explicit` holds the keys of the overrides that were typed: `quant` and `gpus` both typed (or a
    host without GPUs) ask for one combination, each one missing becomes an axis of the table.
    That a run does not fit is an answer, not a failure: see `fits` in the JSON.
    """
    spec = resolve(spec, explicit, catalogue)
    if is_cpu(spec) or {"quant", "gpus"} <= explicit:
        report = checked(spec, catalogue)
        if as_json:
            print(json.dumps(report.to_json(), indent=2))
        else:
            from bench.report.fit_table import print_report

            print_report(report)
        return 0
    rows = tuple(table(spec, explicit, catalogue))
    if as_json:
        data = {
            "model": spec.model.name,
            "gpu": spec.gpu.name,
            "table": [r.to_json() for r in rows],
        }
        print(json.dumps(data, indent=2))
    else:
        from bench.report.fit_table import print_table

        print_table(rows)
    return 0


def checked(spec: RunSpec, catalogue: Catalogue) -> FitReport:
    """The fit of a resolved run, with alternatives when it does not fit."""
    report = fit(spec, host_memory_bytes=host_memory_bytes() if is_cpu(spec) else None)
    if report.fits:
        return report
    return with_alternatives(report, alternatives(spec, report, catalogue))


def table(spec: RunSpec, explicit: frozenset[str], catalogue: Catalogue) -> Iterator[FitReport]:
    """One report per quantisation and GPU count that was not typed; no alternatives."""
    quants = [spec.quant] if "quant" in explicit else _quants(spec, catalogue)
    counts = [spec.gpus] if "gpus" in explicit else list(GPU_COUNTS)
    geometry = from_config(spec.model.config)
    for quant in quants:
        for count in counts:
            cell = dataclasses.replace(spec, quant=quant, gpus=count)
            yield fit(cell, geometry=geometry)


def _quants(spec: RunSpec, catalogue: Catalogue) -> list[QuantSpec]:
    """Those with published weights, widest first; all of them when none has any."""
    every = sorted(catalogue.quants.values(), key=lambda q: (-(q.weight_bits or 32), q.name))
    listed = [q for q in every if has_checkpoint(spec.model, q.name)]
    return listed or every or [spec.quant]


def resolve(spec: RunSpec, explicit: frozenset[str], catalogue: Catalogue) -> RunSpec:
    """The run with `model.path`, `model.repo` and `gpu=auto` replaced by what they stand for."""
    spec = dataclasses.replace(spec, model=_resolve_model(spec.model, explicit))
    if spec.gpu.kind == "gpu" and spec.gpus == 0:
        if "gpus" in explicit:
            raise InputError(
                f"gpus: 0 of {spec.gpu.name} cannot serve anything; set gpus=1 or more, or gpu=cpu."
            )
        return dataclasses.replace(spec, gpus=1)
    if spec.gpu.kind != "auto":
        return spec
    gpu, count = detect(catalogue)
    if gpu.kind == "cpu":
        return dataclasses.replace(spec, gpu=gpu, gpus=0)
    if "gpus" not in explicit and spec.gpus == 0:
        return dataclasses.replace(spec, gpu=gpu, gpus=count)
    return dataclasses.replace(spec, gpu=gpu)


def detect(catalogue: Catalogue) -> tuple[GpuSpec, int]:
    """This machine's GPU and how many it has; the CPU entry and 0 when it has none.

    InputError for a GPU that the catalogue does not know, or different GPUs side by side.
    """
    found = list_gpus()
    if not found.devices:
        cpu = next((g for g in catalogue.gpus.values() if g.kind == "cpu"), None)
        if cpu is None:
            raise InputError(f"gpu=auto: {found.reason}, and the catalogue lists no CPU.")
        return cpu, 0
    matches = [match_gpu(d.name, d.memory_total_bytes, catalogue.gpus) for d in found.devices]
    names = {m.name for m in matches}
    if len(names) > 1:
        raise InputError(
            f"gpu=auto: this machine has {', '.join(sorted(names))}; choose one kind with gpu=NAME "
            "and CUDA_VISIBLE_DEVICES."
        )
    # NVML's own total is exact where the catalogue's is a model's usual one.
    gib = min(d.memory_total_bytes for d in found.devices) / 1024**3
    return dataclasses.replace(matches[0], memory_gib=gib), len(matches)


def _resolve_model(model: ModelSpec, explicit: frozenset[str]) -> ModelSpec:
    """A model nobody listed, by the config.json that `model.path` or `model.repo` leads to."""
    if "model.path" in explicit and model.path is not None:
        config, name, weights = read_config(model.path), model.path, model.path
    elif "model.repo" in explicit and model.repo is not None:
        config, name, weights = hub_config(model.repo), model.repo, "hub"
    else:
        return model
    geometry = from_config(config)
    return dataclasses.replace(
        model,
        name=name.rstrip("/").rsplit("/", 1)[-1] or name,
        weights=weights,
        config=config,
        max_context_tokens=geometry.max_context_tokens,
        total_params_b=None,
        active_params_b=None,
        checkpoints={},
        siblings=(),
    )
