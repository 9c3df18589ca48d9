"""Before anything is started: which hardware there is, and whether the run can work on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.catalogue import Catalogue
from bench.errors import InputError
from bench.meters.gpus import list_gpus
from bench.spec import RunSpec, VllmSpec
from bench.verbs.fit import checked, resolve
from bench.weights import resolve_weights


def preflight(spec: RunSpec, catalogue: Catalogue) -> tuple[RunSpec, dict[str, Any] | None]:
    """The run on the hardware that is really here, and its fit as plain data.

    Only an engine that this program launches needs hardware. InputError, in a few lines, when GPUs
    are missing or the model does not fit (unless fit.force).
    """
    if not isinstance(spec.engine, VllmSpec):
        return spec, None
    resolve_weights(spec.model, spec.quant)  # refuses a pair without a checkpoint
    missing = _missing_gpus(spec)
    if spec.gpu.kind == "auto" and not missing:
        spec = resolve(spec, frozenset({"gpus"}), catalogue)
    if spec.gpus == 0 and spec.gpu.kind != "cpu":
        spec = replace(spec, gpu=catalogue.gpus["cpu"])
    planned = spec.gpu.kind != "auto"
    report = checked(spec, catalogue) if planned else None
    problems = [missing] if missing else []
    if report is not None and not report.fits:
        problems += [f"does not fit: {reason}" for reason in report.reasons]
        problems += [f"what would: {a.text}" for a in report.alternatives[:4]]
    if problems and (missing or not spec.fit.force):
        name = f"model={spec.model.name} quant={spec.quant.name} gpus={spec.gpus}"
        raise InputError(f"{name} cannot run here: " + "\n  ".join(problems))
    return spec, None if report is None else report.to_json()


def _missing_gpus(spec: RunSpec) -> str | None:
    """Why the GPUs asked for are not there; None when they are."""
    if spec.gpus == 0:
        return None
    found = list_gpus()
    have = len(found.devices)
    if have >= spec.gpus:
        return None
    if have:
        return f"gpus={spec.gpus}, but this machine has {have}. Ask for at most {have}."
    return (
        f"gpus={spec.gpus}, but no GPU was found ({found.reason}). "
        "On this machine use gpus=0 with a small model (bench model=tiny), or plan with "
        f"bench fit model={spec.model.name} gpu=h100-sxm."
    )
