"""`bench fit`: say what fits and how fast it could physically be, before anything is started."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bench.ask.fits import answers, one_asked
from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.unread import check_read
from bench.cli.verb import Verb
from bench.config.compose import catalogue, compose, run_spec
from bench.values.json_text import json_text
from bench.values.spec import RunSpec

if TYPE_CHECKING:
    from bench.config.catalogue import Catalogue


VERB = Verb(
    usage=("bench fit [model=NAME] [quant=NAME] [gpu=NAME] [gpus=N] [--json]",),
    more="What is not typed of quant and gpus becomes an axis of a table.",
    keys=(
        *keys.WHAT_IS_SERVED,
        ("engine.max_model_len=N", "the longest context to make room for"),
        ("load.concurrency=[N,N]", "how many requests are in flight at once"),
        ("workload=NAME", "how long their prompts and answers are"),
        ("engine.gpu_layers=N", "with engine=llamacpp: layers on the GPUs, the others on the host"),
        ("engine.cpu_moe_layers=N", "with engine=llamacpp: layers whose experts stay on the host"),
        ("fit.host_gb_per_s=N", "the host's memory bandwidth, for what lies there"),
    ),
)


def call(arguments: Arguments) -> int:
    """The fit of what was typed; no GPU of this machine is looked for unless gpu=auto asks."""
    spec = run_spec(compose(arguments.overrides, arguments.config_dirs), detect_gpus=False)
    check_read("fit", spec, arguments.typed_keys)
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
    from bench.preflight import for_planning, resolve
    from bench.report.console import console

    found = for_planning(spec, explicit, catalogue)
    if found is not spec:
        text = f"no GPU here: planned for {found.gpu.name}; name another with gpu=NAME"
        print(text, file=sys.stderr)
    spec = resolve(found, explicit, catalogue)
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
