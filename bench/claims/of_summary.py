"""The figures of another tool's result against the bound of the hardware they are said to be of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.claims.bounds import hold
from bench.claims.gpu_words import read_gpu
from bench.claims.metrics import metric_unit
from bench.claims.spec import Conditions, Stated
from bench.config.catalogue import Catalogue
from bench.values.finding import Finding, finding

HELD = ("output_tokens_per_s", "total_tokens_per_s", "requests_per_s")
"""Rates that a bound is known for; latencies of a summary are means over unlike requests."""
_SCENARIOS = ("offline", "server", "interactive")


def conditions_of(
    said: Mapping[str, object], known: Mapping[str, float], catalogue: Catalogue
) -> Conditions:
    """What a result says of itself, in the catalogue's words; None where it says nothing that is
    understood. `said` are its words (model, gpu, gpus, quant, …), `known` its mean lengths."""
    gpu = read_gpu(_text(said.get("gpu")) or "", None) if said.get("gpu") else None
    name = None if gpu is None else gpu.gpu
    exact = _text(said.get("gpu"))
    if exact in catalogue.gpus:
        name, gpu = exact, None
    scenario = (_text(said.get("scenario")) or "").casefold()
    speculates = _text(said.get("speculative"))
    return Conditions(
        model=_model(_text(said.get("model")), catalogue),
        quant=_text(said.get("quant")),
        gpu=name,
        form_factor=None if gpu is None else gpu.form_factor,
        gpu_memory_gb=None if gpu is None else gpu.memory_gb,
        gpus=_whole(said.get("gpus")),
        engine=_text(said.get("engine")),
        engine_version=None,
        input_tokens=_whole(known.get("input_tokens")),
        output_tokens=_whole(known.get("output_tokens")),
        concurrency=_whole(said.get("concurrency")),
        dataset="not said",
        speculative=None if speculates is None else speculates not in ("none", "false", "False"),
        scenario=scenario if scenario in _SCENARIOS else None,  # type: ignore[arg-type]
    )


def _model(said: str | None, catalogue: Catalogue) -> str | None:
    """The catalogue's name of a model that is said by it, or by the name of its repository."""
    if said is None or said in catalogue.models:
        return said
    wanted = {_plain(said), _plain(said.rpartition("/")[2])}
    for name, model in catalogue.models.items():
        repos = {c.repo for c in model.checkpoints.values()} | {model.repo}
        names = {name, *(r.rpartition("/")[2] for r in repos if r)}
        if wanted & {_plain(n) for n in names}:
            return name
    return said


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, (str, int, float)) and str(value) else None


def _whole(value: object) -> int | None:
    try:
        number = round(float(str(value)))
    except (ValueError, OverflowError):
        return None
    return number if number >= 1 else None


def bound_findings(
    claims: Mapping[str, float], c: Conditions, catalogue: Catalogue
) -> Iterator[Finding]:
    """One finding a rate; one that says why not, where model, GPUs or precision are not known."""
    held = [name for name in HELD if name in claims]
    if c.model is None or c.gpu is None or c.gpus is None:
        missing = [k for k in ("model", "gpu", "gpus") if getattr(c, k) is None]
        yield finding("bound", "info", f"no bound: say {', '.join(f'{k}=' for k in missing)}")
        return
    for name in held:
        stated = Stated(value=claims[name], unit=metric_unit(name))
        found = hold(name, claims[name], stated, c, catalogue)
        text = "; ".join((name, *found.lines))
        severity = {"impossible": "fail", "possible": "pass"}.get(found.verdict, "info")
        yield finding("bound", severity, text, found.figures.get("bound"), stated.unit)  # type: ignore[arg-type]
