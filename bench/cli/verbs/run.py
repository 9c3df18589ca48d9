"""`bench run`: launch the engine, drive it, print a measurement one can trust."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.composed import check_address, run_asked
from bench.cli.conflicts import refuse_no_sweep
from bench.cli.streams import shown_error
from bench.cli.sweeps import asked_sweep, by_id, ended
from bench.cli.verb import Flag, Verb
from bench.config.compose import (
    catalogue,
    check_sweep,
    compose,
    conf_dir,
    prepared,
)
from bench.traffic import forks
from bench.values.errors import BenchError, InputError
from bench.values.json_text import json_text

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from bench.config.catalogue import Catalogue
    from bench.measure.measurement import Measurement
    from bench.sweep.asked import Sweep
    from bench.values.record import Run
    from bench.values.spec import RunSpec

VERB = Verb(
    usage=(
        "bench [run] [KEY=VALUE ...] [--json]",
        "bench -m KEY=A,B ...      a sweep, as in Hydra",
    ),
    more="Any key of conf/ may be typed; --cfg job prints the composed run. Exit codes: 0 done,\n"
    "1 failed at run time, 2 bad input, 5 with --strict: done, and NOT VALID, 75 stopped by\n"
    "SIGUSR1: the same --run-id goes on where it stopped.",
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
        ("nodes=slurm", "one engine over all nodes of the job; nodes=hosts names machines"),
        ("nodes.load=true", "load clients on all of them, too"),
        ("quality=NAME", "which tasks are scored; none leaves them out"),
        ("seed=N", "prompts and arrivals are drawn from it"),
        keys.RESULTS_DIR,
    ),
    flags=(
        Flag(
            name="--strict",
            what="exit 5 when the run is NOT VALID or a load point FAILED (else 0)",
        ),
        Flag(name="--resume", what="of the same sweep begun before, do what is missing"),
        Flag(
            name="--run-id",
            value="MODEL/NAME",
            what="its folder below results_dir; a run that was interrupted there goes on",
        ),
    ),
    sweeps=True,
)


def call(arguments: Arguments) -> int:
    """One run or, with Hydra's flags, a sweep."""
    run_id = arguments.option("--run-id")
    if arguments.hydra_flags:
        if run_id is not None:
            raise InputError("--run-id names one run: a sweep (-m) names its own.")
        return _hydra(arguments)
    if "--resume" in arguments.flags:
        raise InputError("--resume belongs to a sweep (-m); one run goes on by its --run-id.")
    data = compose(arguments.overrides, arguments.config_dirs)
    if run_id is None:
        document, code = _one_run(data, arguments)
    else:
        document, code = by_id(
            run_id, str(data["results_dir"]), lambda: _one_run(data, arguments, run_id=run_id)
        )
    if arguments.as_json and document is not None:
        print(json_text(document))
    return code


NOT_VALID = 5
"""Exit code of a run that was measured and cannot be trusted, where --strict asks for one."""

Shown = tuple[dict[str, Any] | None, int]
"""A run's JSON document and its exit code."""


def _one_run(
    data: dict[str, Any],
    arguments: Arguments,
    title: str = "",
    run_id: str | None = None,
    known: Catalogue | None = None,
) -> Shown:
    """Execute one composed run and show it; its JSON document and exit code."""
    from bench.report.live import shown

    with shown(title=title) as progress:
        asked = run_asked(data, arguments)
        check_address(asked, arguments.typed_keys)
        if asked.engine.kind != "none":
            forks.begin()
        from bench.run import execute

        run = execute(asked, known or catalogue(arguments.config_dirs), progress, run_id)
    from bench.derive import derive

    measurement = derive(run)
    if not arguments.as_json:
        from bench.report.terminal import print_run

        print_run(run, measurement)
    from bench.cli.summaries import keep
    from bench.report.document import run_document, summary

    keep(Path(run.path), summary(run, measurement))
    code, why = judged(run, measurement, strict="--strict" in arguments.flags)
    if why:
        print(f"bench: {why}", file=sys.stderr)
    return run_document(run, measurement), code


def judged(run: Run, measurement: Measurement, *, strict: bool) -> tuple[int, str | None]:
    """The exit code of a run that came to its end, and what is to be said of it."""
    errors = [point.metrics["error_rate"].value for point in measurement.points]
    if errors and all(share == 1 for share in errors):
        return 1, f"every request failed: nothing was measured. See {run.path}"
    if run.quality is not None and run.quality.status == "failed":
        return 1, f"quality was not scored: {run.quality.failure}"
    return NOT_VALID if strict and not measurement.valid else 0, None


def _hydra(arguments: Arguments) -> int:
    """Hydra's own flags and sweeps; one failed job stops no other.

    What became of a sweep is read from the store: a launcher may have run its jobs elsewhere.
    """
    composed = check_sweep(arguments.overrides, arguments.config_dirs)
    refuse_no_sweep(len(composed), arguments)
    if len(composed) < 2 or not any(f in _MULTIRUN for f in arguments.hydra_flags):
        return _one_job(arguments)
    combinations = [words for words, _ in composed]
    runs = [data for _, data in composed]
    known = catalogue(arguments.config_dirs)
    specs = look_before(combinations, [run_asked(data, arguments) for data in runs], known)
    sweep = asked_sweep(
        specs, combinations, specs[0].results_dir, resume="--resume" in arguments.flags
    )
    printed: set[str] = set()  # of those that ran in this process; other launchers leave it empty

    def job(number: int, data: dict[str, Any]) -> None:
        element = sweep.elements[number]
        title = f"run {number + 1} of {len(sweep.elements)}"
        try:
            document, _ = by_id(
                element.run,
                sweep.results_dir,
                lambda: _one_run(data, arguments, title, element.run, known),
            )
            if document is not None and document["status"] == "complete":
                printed.add(element.run)
        except Exception as error:  # noqa: BLE001 -- its end is stored; the next one begins
            kind = "" if isinstance(error, BenchError) else f"{type(error).__name__}: "
            print(f"bench: {kind}{shown_error(error)}", file=sys.stderr)

    try:
        if _names_hydra(arguments):
            _launched(job, arguments, sweep)
        else:
            for number, data in enumerate(runs):
                job(number, data)
    except KeyboardInterrupt:
        print("bench: the same words with --resume do what is missing.", file=sys.stderr)
        raise
    except (SystemExit, Exception) as error:  # noqa: BLE001 -- the store says what became of each
        print(f"bench: the launcher gave up: {shown_error(error)}", file=sys.stderr)
    return ended(sweep, arguments, printed)


def _names_hydra(arguments: Arguments) -> bool:
    """Whether a word of Hydra's own is among them (a launcher, a folder, a callback).

    Without one its launcher would do the jobs one after the other in this process, and compose
    each twice more: 0.3 s a job.
    """
    own = any(o.lstrip("+~").startswith("hydra") for o in arguments.overrides)
    return own or not set(arguments.hydra_flags) <= set(_MULTIRUN)


def _launched(
    job: Callable[[int, dict[str, Any]], None], arguments: Arguments, sweep: Sweep
) -> None:
    """The jobs of a sweep by Hydra's launcher, which may take them elsewhere."""
    hidden = "hydra.sweep.dir="
    ours = [] if any(hidden in o for o in arguments.overrides) else [f"{hidden}{sweep.path}"]

    def one(config: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        try:
            job(int(HydraConfig.get().job.num), _plain(config))
        finally:
            _redact_sweep()

    _through_hydra(one, arguments, ours)


def _one_job(arguments: Arguments) -> int:
    """What Hydra's flags ask of a single run: --cfg, --info, or a sweep of one."""
    found: list[Shown] = []

    def job(config: DictConfig) -> None:
        data = _plain(config)
        try:
            found.append(_one_run(data, arguments))
        finally:
            _redact_sweep()

    _through_hydra(job, arguments)
    if arguments.as_json and found:
        print(json_text([document for document, _ in found]))
    return max((code for _, code in found), default=0)


def _plain(config: DictConfig) -> dict[str, Any]:
    from omegaconf import OmegaConf

    data = OmegaConf.to_container(config, resolve=True)
    assert isinstance(data, dict)
    return {str(k): v for k, v in data.items()}


def _through_hydra(
    job: Callable[[DictConfig], None], arguments: Arguments, more: Sequence[str] = ()
) -> None:
    import hydra

    ready = prepared(arguments.overrides, arguments.config_dirs)
    sys.argv = [sys.argv[0], *arguments.hydra_flags, *ready, *more]
    hydra.main(config_path=str(conf_dir().absolute()), config_name="config", version_base="1.3")(
        job
    )()


_MULTIRUN = ("-m", "--multirun")


def look_before(
    combinations: Sequence[Sequence[str]], specs: Sequence[RunSpec], known: Catalogue
) -> Sequence[RunSpec]:
    """Say which combinations of a sweep cannot run here, before the first one does; all of them.

    InputError when none can; else the sweep goes on, for a job that fails stops no other.
    """
    from bench.preflight import preflight

    refused: list[str] = []
    if any(_remote(words) for words in combinations):
        return specs  # they run elsewhere: what this machine lacks is no reason
    for words, spec in zip(combinations, specs, strict=True):
        try:
            preflight(spec, known)
        except InputError as error:
            refused.append(shown_error(InputError(f"{' '.join(words)}: {error}")))
    for line in refused:
        print(f"bench: will not run: {line}", file=sys.stderr)
    if len(refused) == len(combinations):
        raise InputError("no combination of this sweep can run here.")
    return specs


def _remote(words: Sequence[str]) -> bool:
    """Whether a launcher is named that may take the jobs to other machines."""
    named = [w.partition("=")[2] for w in words if w.startswith("hydra/launcher=")]
    return bool(named) and named[-1] not in ("basic", "joblib")


def _redact_sweep() -> None:
    """Hydra's own record of a sweep, its owner's alone and without keys."""
    from hydra.core.hydra_config import HydraConfig

    from bench.values.redact import redacted_text

    record = Path(HydraConfig.get().sweep.dir, "multirun.yaml")
    with contextlib.suppress(OSError):
        record.chmod(0o600)
        text = record.read_text()
        record.write_text(redacted_text(text))
