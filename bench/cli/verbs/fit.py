"""`bench fit`: say what fits and how fast it could physically be, before anything is started."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.verb import Verb
from bench.config.compose import catalogue, compose, run_spec
from bench.values.json_text import json_text
from bench.values.spec import QuantSpec, RunSpec

if TYPE_CHECKING:
    from bench.config.catalogue import Catalogue
    from bench.fit.report import FitReport


VERB = Verb(
    usage=("bench fit [model=NAME] [quant=NAME] [gpu=NAME] [gpus=N] [--json]",),
    more="What is not typed of quant and gpus becomes an axis of a table.",
    keys=(
        *keys.WHAT_IS_SERVED,
        ("engine.max_model_len=N", "the longest context to make room for"),
        ("load.concurrency=[N,N]", "how many requests are in flight at once"),
        ("workload=NAME", "how long their prompts and answers are"),
    ),
)


def call(arguments: Arguments) -> int:
    """The fit of what was typed; no GPU of this machine is looked for unless gpu=auto asks."""
    spec = run_spec(compose(arguments.overrides, arguments.config_dirs), detect_gpus=False)
    return run(
        spec,
        explicit=arguments.typed_keys,
        catalogue=catalogue(arguments.config_dirs),
        as_json=arguments.as_json,
    )


def run(
    spec: RunSpec, *, explicit: frozenset[str], catalogue: Catalogue, as_json: bool = False
) -> int:
    """Print the fit of one combination, or of the table of those not typed; exit status 0.

    `explicit` holds the keys of the overrides that were typed: `quant` and `gpus` both typed (or a
    host without GPUs) ask for one combination, each one missing becomes an axis of the table.
    That a run does not fit is an answer, not a failure: see `fits` in the JSON.
    """
    from bench.fit.headroom import is_cpu
    from bench.preflight import checked, for_planning, resolve
    from bench.report.console import console

    planned = for_planning(spec, explicit, catalogue)
    if planned is not spec:
        text = f"no GPU here: planned for {planned.gpu.name}; name another with gpu=NAME"
        print(text, file=sys.stderr)
    spec = resolve(planned, explicit, catalogue)
    if is_cpu(spec) or {"quant", "gpus"} <= explicit:
        report = checked(spec, catalogue)
        if as_json:
            print(json_text(report.to_json(), indent=2))
        else:
            from bench.report.fit_table import print_report

            print_report(report, console())
        return 0
    rows = tuple(table(spec, explicit, catalogue))
    if not any(r.fits for r in rows):
        last = dataclasses.replace(
            spec, quant=catalogue.quants.get(rows[-1].quant, spec.quant), gpus=rows[-1].gpus
        )
        rows = (*rows[:-1], checked(last, catalogue))
    if as_json:
        data = {
            "model": spec.model.name,
            "gpu": spec.gpu.name,
            "table": [r.to_json() for r in rows],
        }
        print(json_text(data, indent=2))
    else:
        from bench.report.fit_table import print_table

        print_table(rows, console())
    return 0


def table(spec: RunSpec, explicit: frozenset[str], catalogue: Catalogue) -> Iterator[FitReport]:
    """One report per quantisation and GPU count that was not typed; no alternatives."""
    from bench.fit.alternatives import GPU_COUNTS
    from bench.fit.declared import geometry_of
    from bench.fit.fit import fit

    quants = [spec.quant] if "quant" in explicit else _quants(spec, catalogue)
    counts = [spec.gpus] if "gpus" in explicit else list(GPU_COUNTS)
    geometry = geometry_of(spec.model)
    for quant in quants:
        for count in counts:
            cell = dataclasses.replace(spec, quant=quant, gpus=count)
            yield fit(cell, geometry=geometry)


def _quants(spec: RunSpec, catalogue: Catalogue) -> list[QuantSpec]:
    """Those with published weights, widest first; all of them when none has any.

    Weights of a folder or file that are quantised already are one row.
    """
    from bench.fit.headroom import has_checkpoint
    from bench.fit.quantisations import own_quantisation

    local = spec.model.weights not in ("hub", "bundled", "dummy")
    if local and own_quantisation(spec.model.config):
        return [catalogue.quants["none"]]
    every = sorted(catalogue.folder_quants(), key=lambda q: (-(q.weight_bits or 32), q.name))
    listed = _apart(spec, [q for q in every if has_checkpoint(spec.model, q.name)])
    return listed or every or [spec.quant]


def _apart(spec: RunSpec, quants: list[QuantSpec]) -> list[QuantSpec]:
    """The same without those that are one checkpoint under two names (a native FP8 model)."""
    found: dict[str, QuantSpec] = {}
    for quant in quants:
        checkpoint = spec.model.checkpoints.get(quant.name)
        found.setdefault(checkpoint.repo if checkpoint else quant.name, quant)
    return list(found.values())
