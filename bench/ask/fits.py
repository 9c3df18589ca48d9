"""What fits: one combination, or the table of those that were not chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bench.config.compose import compose, run_spec
from bench.config.words import check_once, typed_keys
from bench.values.spec import QuantSpec, RunSpec

if TYPE_CHECKING:
    from bench.config.catalogue import Catalogue
    from bench.sizing.report import FitReport


def reports(
    words: Sequence[str], catalogue: Catalogue, config_dirs: Sequence[str] = ()
) -> tuple[FitReport, ...]:
    """The reports of what would be typed as these words."""
    from bench.preflight import for_planning, resolve

    check_once(words)
    explicit = typed_keys(words)
    spec = run_spec(compose(words, config_dirs), detect_gpus=False)
    spec = resolve(for_planning(spec, explicit, catalogue), explicit, catalogue)
    return answers(spec, explicit, catalogue)


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


def one_asked(spec: RunSpec, explicit: frozenset[str]) -> bool:
    """Whether one combination was asked for, no table."""
    from bench.sizing.headroom import is_cpu

    return is_cpu(spec) or {"quant", "gpus"} <= explicit


def table(spec: RunSpec, explicit: frozenset[str], catalogue: Catalogue) -> Iterator[FitReport]:
    """One report per quantisation and GPU count that was not typed; no alternatives."""
    from bench.sizing.alternatives import GPU_COUNTS
    from bench.sizing.declared import geometry_of
    from bench.sizing.fit import fit

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
    from bench.sizing.headroom import has_checkpoint
    from bench.sizing.quantisations import own_quantisation

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
