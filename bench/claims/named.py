"""The names in a claim's conditions: a misspelt one is refused, or its claim is about nothing.

A source may well be about a model or a GPU that the catalogue does not have. That is then said in
so many words, `unlisted: [gpu]`, and its claim is not comparable.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from bench.claims.limits import named_precision
from bench.claims.metrics import in_metric_unit, metric_unit, metrics_of_unit
from bench.claims.spec import Claim, Conditions, Serving, Speedup
from bench.claims.variants import gpu_names, in_our_words
from bench.config.catalogue import Catalogue
from bench.values.engine_words import engine_name
from bench.values.errors import InputError, nearest
from bench.values.units import UnitError

OTHER_ENGINES = ("tensorrt-llm", "llama.cpp", "tgi", "lmdeploy", "ollama", "mlc-llm", "dynamo")
"""Engines that sources name and that bench has under another name, or does not start."""


def check_named(
    claim: Claim, catalogue: Catalogue, engines: Iterable[str], measured: Iterable[str]
) -> None:
    """InputError for a name or a unit that is none. `measured` are the models of stored runs,
    which need no entry of the catalogue."""
    if claim.absent is not None:  # it says itself that there is nothing of that name
        return
    says = in_our_words(claim, catalogue).says
    where = claim.asked_by
    for place, c in _conditions(says):
        wrong = {k: v for k, v in _unknown(c, catalogue, engines, measured) if k not in c.unlisted}
        for key, hint in wrong.items():
            so = f" Where the source really says so: unlisted: [{key}]."
            more = hint if key == "architecture" else f"{hint}{so}"
            raise InputError(f"{where}: {place}.{key}: {getattr(c, key)!r} is unknown.{more}")
        known = set(c.unlisted) - dict(_unknown(c, catalogue, engines, measured)).keys()
        for key in sorted(known):
            value = getattr(c, key)
            said = f"{key} is null" if value is None else f"{value!r} is a name that is known"
            raise InputError(f"{where}: {place}.unlisted: {said}: take {key} out.")
    if isinstance(says, Serving):
        _check_units(says, where)


def _conditions(says: object) -> Iterator[tuple[str, Conditions]]:
    if isinstance(says, Serving):
        yield "says.conditions", says.conditions
        for i, report in enumerate(says.reports):
            yield f"says.reports[{i}].conditions", report.conditions
    if isinstance(says, Speedup):
        yield "says.conditions", says.conditions
        yield "says.baseline", says.baseline


def _unknown(
    c: Conditions, catalogue: Catalogue, engines: Iterable[str], measured: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Each key whose name is unknown, with what was probably meant."""
    if c.gpu is not None and c.gpu != "cpu" and not gpu_names(c, catalogue.gpus):
        full = "-".join(filter(None, (c.gpu, c.form_factor)))
        gpus = [n for n, g in catalogue.gpus.items() if g.kind == "gpu"]
        yield "gpu", _near(full, gpus) or nearest(c.gpu, gpus)
    models = {*catalogue.models, *measured}
    if c.architecture is not None and c.architecture not in catalogue.models:
        yield "architecture", nearest(c.architecture, catalogue.models)
    if c.model is not None and c.model not in models and c.architecture is None:
        yield "model", f"{_near(c.model, models)} Of the same shape as one: architecture: NAME."
    listed_quant = c.quant is None or c.quant in catalogue.quants
    if c.quant is not None and not listed_quant and named_precision(c, catalogue) is None:
        yield "quant", _near(c.quant, catalogue.quants)
    words = {engine_name(e): e for e in (*OTHER_ENGINES, *engines)}
    said = engine_name(c.engine)
    close = difflib.get_close_matches(said or "", [w for w in words if w], n=1, cutoff=0.8)
    if said is not None and said not in words and close:  # nobody lists every engine there is
        yield "engine", f" Did you mean {words[close[0]]!r}?"


def _near(name: str, valid: Iterable[str]) -> str:
    """The names meant; of a hundred others none is named."""
    hint = nearest(name, valid)
    return hint if "Did you mean" in hint else ""


def _check_units(says: Serving, where: str) -> None:
    """InputError for a stated number in a unit that its metric cannot have."""
    unit_of_all = None if says.stated is None else says.stated.unit
    stated: list[tuple[str, str | None, str | None]] = [("stated", says.metric, unit_of_all)]
    stated += [(f"also[{i}].stated", a.metric, a.stated.unit) for i, a in enumerate(says.also)]
    stated += [
        (f"reports[{i}]", r.metric or says.metric, r.unit) for i, r in enumerate(says.reports)
    ]
    for place, metric, unit in stated:
        if metric is None or unit is None:
            continue
        try:
            in_metric_unit(1.0, unit, metric)
        except UnitError:
            others = metrics_of_unit(unit)
            hint = f" In {unit} are {', '.join(others[:3])}." if others else ""
            raise InputError(
                f"{where}: says.{place}.unit: {unit!r} is no unit of {metric}, which is in "
                f"{metric_unit(metric)}.{hint}"
            ) from None
        except ValueError:
            continue  # an unknown metric or unit is refused where it is read
