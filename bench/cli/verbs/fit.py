"""`bench fit`: say what fits and how fast it could physically be, before anything is started."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.meant import check_once
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
    from bench.report.console import console

    spec = planned(spec, explicit, catalogue)
    rows = answers(spec, explicit, catalogue)
    if one_asked(spec, explicit):
        if as_json:
            print(json_text(rows[0].to_json(), indent=2))
        else:
            from bench.report.fit_table import print_report

            print_report(rows[0], console())
        return 0
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


def planned(spec: RunSpec, explicit: frozenset[str], catalogue: Catalogue) -> RunSpec:
    """The run with its GPU and model as they are; says on stderr where a GPU had to be assumed."""
    from bench.preflight import for_planning, resolve

    found = for_planning(spec, explicit, catalogue)
    if found is not spec:
        text = f"no GPU here: planned for {found.gpu.name}; name another with gpu=NAME"
        print(text, file=sys.stderr)
    return resolve(found, explicit, catalogue)


def one_asked(spec: RunSpec, explicit: frozenset[str]) -> bool:
    """Whether one combination was asked for, no table."""
    from bench.fit.headroom import is_cpu

    return is_cpu(spec) or {"quant", "gpus"} <= explicit


def answers(spec: RunSpec, explicit: frozenset[str], catalogue: Catalogue) -> tuple[FitReport, ...]:
    """The one report, or those of the table; where none fits the last one has alternatives."""
    from bench.preflight import checked

    if one_asked(spec, explicit):
        return (checked(spec, catalogue),)
    rows = tuple(table(spec, explicit, catalogue))
    if any(r.fits for r in rows):
        return rows
    last = dataclasses.replace(
        spec, quant=catalogue.quants.get(rows[-1].quant, spec.quant), gpus=rows[-1].gpus
    )
    return (*rows[:-1], checked(last, catalogue))


def reports(
    words: Sequence[str], catalogue: Catalogue, config_dirs: Sequence[str] = ()
) -> tuple[FitReport, ...]:
    """The reports of what would be typed as these words."""
    check_once(words)
    explicit = Arguments(overrides=tuple(words)).typed_keys
    spec = run_spec(compose(words, config_dirs), detect_gpus=False)
    return answers(planned(spec, explicit, catalogue), explicit, catalogue)


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
