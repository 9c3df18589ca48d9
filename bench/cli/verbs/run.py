"""`bench run`: launch the engine, drive it, print a measurement one can trust."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.composed import (
    run_asked,
)
from bench.cli.streams import shown_error
from bench.cli.verb import Flag, Verb
from bench.config.compose import (
    catalogue,
    check_sweep,
    compose,
    conf_dir,
    prepared,
)
from bench.values.errors import BenchError, InputError
from bench.values.json_text import json_text

VERB = Verb(
    usage=(
        "bench [run] [KEY=VALUE ...] [--json]",
        "bench -m KEY=A,B ...      a sweep, as in Hydra",
    ),
    more="Any key of conf/ may be typed; --cfg job prints the composed run. Exit codes: 0 done,\n"
    "1 failed at run time, 2 bad input, 5 with --strict: done, and NOT VALID.",
    keys=(
        *keys.WHAT_IS_SERVED,
        ("engine=NAME", "vllm, an endpoint that runs already, or truth, a server of known timing"),
        ("engine.base_url=URL", "where that endpoint is"),
        ("workload=NAME", "prompts and answers: lengths, a file, turns, shared prefixes"),
        ("load=NAME", "how requests arrive: closed or open loop, a search for the limit"),
        ("load.concurrency=[N,N]", "requests in flight, a load point each"),
        ("load.repeats=N", "how often each load point is measured"),
        ("load.duration_s=X", "how long a load point lasts"),
        ("meter=NAME", "where power is read"),
        ("quality=NAME", "which tasks are scored; none leaves them out"),
        ("seed=N", "prompts and arrivals are drawn from it"),
        keys.RESULTS_DIR,
    ),
    flags=(Flag(name="--strict", what="exit 5 when the run is NOT VALID (else 0)"),),
    sweeps=True,
)


def call(arguments: Arguments) -> int:
    """One run or, with Hydra's flags, a sweep."""
    if arguments.hydra_flags:
        return _hydra(arguments)
    data = compose(arguments.overrides, arguments.config_dirs)
    document, code = _one_run(data, arguments)
    if arguments.as_json and document is not None:
        print(json_text(document))
    return code


NOT_VALID = 5
"""Exit code of a run that was measured and cannot be trusted, where --strict asks for one."""


def _one_run(
    data: dict[str, Any], arguments: Arguments, title: str = ""
) -> tuple[dict[str, Any] | None, int]:
    """Execute one composed run and show it; its JSON document and exit code."""
    from bench.derive import derive
    from bench.report.live import shown
    from bench.run import execute

    with shown(title=title) as progress:
        run = execute(run_asked(data, arguments), catalogue(arguments.config_dirs), progress)
    measurement = derive(run)
    if not arguments.as_json:
        from bench.report.terminal import print_run

        print_run(run, measurement)
    from bench.cli.summaries import keep
    from bench.report.document import run_document, summary

    keep(Path(run.path), summary(run, measurement))
    errors = [point.metrics["error_rate"].value for point in measurement.points]
    if errors and all(share == 1 for share in errors):
        print(f"bench: every request failed: nothing was measured. See {run.path}", file=sys.stderr)
        return run_document(run, measurement), 1
    if run.quality is not None and run.quality.status == "failed":
        print(f"bench: quality was not scored: {run.quality.failure}", file=sys.stderr)
        return run_document(run, measurement), 1
    strict = "--strict" in arguments.flags and not measurement.valid
    return run_document(run, measurement), NOT_VALID if strict else 0


def _hydra(arguments: Arguments) -> int:
    """Sweeps and Hydra's own flags, through Hydra's main; one failed job does not stop the rest."""
    import hydra
    from omegaconf import DictConfig, OmegaConf

    combinations = check_sweep(arguments.overrides, arguments.config_dirs)
    several = len(combinations) > 1 and any(f in _MULTIRUN for f in arguments.hydra_flags)
    if several:
        look_before(combinations, arguments)
    documents: list[dict[str, Any]] = []
    codes: list[int] = []

    def job(config: DictConfig) -> None:
        data = OmegaConf.to_container(config, resolve=True)
        assert isinstance(data, dict)
        plain = {str(k): v for k, v in data.items()}
        try:
            title = f"run {len(codes) + 1} of {len(combinations)}" if several else ""
            document, code = _one_run(plain, arguments, title)
        except BenchError as error:
            print(f"bench: {shown_error(error)}", file=sys.stderr)
            document, code = {"valid": False, "error": str(error)}, error.exit_code
        finally:
            _redact_sweep()
        documents.append(document or {})
        codes.append(code)

    ready = prepared(arguments.overrides, arguments.config_dirs)
    sys.argv = [sys.argv[0], *arguments.hydra_flags, *ready]
    hydra.main(config_path=str(conf_dir().absolute()), config_name="config", version_base="1.3")(
        job
    )()
    if arguments.as_json and documents:
        print(json_text(documents))
    elif len(documents) > 1:
        _compare_sweep(documents)
    failed = sum(code != 0 for code in codes)
    if failed:
        print(f"bench: {failed} of {len(codes)} runs of the sweep failed.", file=sys.stderr)
    return 1 if failed else 0


_MULTIRUN = ("-m", "--multirun")


def look_before(combinations: Sequence[Sequence[str]], arguments: Arguments) -> None:
    """Say which combinations of a sweep cannot run here, before the first one does.

    InputError when none can; else the sweep goes on, for a job that fails stops no other.
    """
    from bench.preflight import preflight

    known = catalogue(arguments.config_dirs)
    refused: list[str] = []
    for words in combinations:
        try:
            preflight(run_asked(compose(words, arguments.config_dirs), arguments), known)
        except InputError as error:
            refused.append(shown_error(InputError(f"{' '.join(words)}: {error}")))
    for line in refused:
        print(f"bench: will not run: {line}", file=sys.stderr)
    if len(refused) == len(combinations):
        raise InputError("no combination of this sweep can run here.")


def _redact_sweep() -> None:
    """Hydra's own record of a sweep, its owner's alone and without keys."""
    from hydra.core.hydra_config import HydraConfig

    from bench.values.redact import redacted_text

    record = Path(HydraConfig.get().sweep.dir, "multirun.yaml")
    with contextlib.suppress(OSError):
        record.chmod(0o600)
        text = record.read_text()
        record.write_text(redacted_text(text))


def _show_engines(paths: Sequence[Path]) -> None:
    """After a sweep over engines: what was equalised between them, and what was not."""
    from bench.derive import derive
    from bench.report.console import console
    from bench.report.fairness_table import print_fairness
    from bench.store import load_run

    runs = [load_run(path) for path in paths]
    print_fairness(console(), [(run, derive(run)) for run in runs])


def _compare_sweep(documents: Sequence[Mapping[str, Any]]) -> None:
    """After a sweep over quant: its runs beside each other, unless they differ in more."""
    from bench.cli.verbs import compare

    done = [d for d in documents if d.get("status") == "complete"]
    if len({d["spec"]["engine"]["kind"] for d in done}) > 1:
        _show_engines([Path(d["run"]) for d in done])
    if len({d["spec"]["quant"]["name"] for d in done}) < 2:
        return
    try:
        compare.show(
            compare.compared([Path(d["run"]) for d in done], compare.Request()), as_json=False
        )
    except InputError as error:
        print(f"no comparison of the sweep: {error}", file=sys.stderr)
