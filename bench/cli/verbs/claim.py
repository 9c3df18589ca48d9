"""`bench claim`: say whether a published number is true, with the evidence."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.claim_files import check_names, read_or, write_new
from bench.cli.claim_runs import Measure, measured, points
from bench.cli.composed import claim_folders, expecting
from bench.cli.conflicts import refuse_never_full
from bench.cli.verb import Flag, Verb
from bench.config.compose import catalogue, claim_costs, compose, run_spec, split_results_dir
from bench.values.errors import InputError, StoreError, nearest
from bench.values.json_text import json_text
from bench.values.outside import regular

if TYPE_CHECKING:
    from bench.claims.sources import CostModel, Point
    from bench.claims.spec import Claim
    from bench.claims.verdict import Assessment
    from bench.config.catalogue import Catalogue
    from bench.money.prices.book import PriceRow
    from bench.values.record import Run

VERB = Verb(
    usage=(
        "bench claim NAME ... | --all [--measure] [results_dir=FOLDER] [--json]",
        "bench claim FILE.yaml      claims of your own; FILE.yaml/KEY is one of several",
        "bench claim --new NAME     write its skeleton, every field explained",
        "bench claim --predict aiconfigurator model=NAME gpu=NAME load.concurrency=[N]",
    ),
    keys=(
        keys.RESULTS_DIR,
        ("load.repeats=N", "with --measure: how often the run is repeated (6)"),
        ("load.duration_s=X", "with --measure: how long a load point lasts"),
        ("engine.base_url=URL", "with --measure: where the claimed engine already serves"),
    ),
    flags=(
        Flag(name="--all", what="every claim of the catalogue"),
        Flag(name="--measure", what="make the run that would settle it, under its conditions"),
        Flag(name="--new", what="write a skeleton to fill in"),
        Flag(
            name="--predict",
            value="NAME",
            what="what another program predicts, as a claim",
            choices=("aiconfigurator",),
        ),
        Flag(name="--command", value="FILE", what="where that program is installed"),
    ),
    words="claims",
)


def call(arguments: Arguments) -> int:
    """Judge the claims named, or write a new one's skeleton."""
    if "--new" in arguments.flags:
        name = arguments.words[0] if arguments.words else "new-claim"
        if not name.removesuffix(".yaml") or Path(name).name != name:
            raise InputError(f"--new {name!r} is no name of a claim: write --new my-claim.")
        beside = (*arguments.words[1:], *arguments.overrides, *(arguments.flags - {"--new"}))
        if beside:
            raise InputError(f"--new writes one file, {name}.yaml: leave {beside[0]!r} out.")
        here = [Path(d) / "claims" for d in arguments.config_dirs] or [Path()]
        return write_new(name, here[0])
    predictor = arguments.option("--predict")
    if predictor is not None:
        from bench.cli.predicted_claim import predicted

        where = tuple(o for o in arguments.overrides if o.startswith("results_dir="))
        file = str(predicted(arguments, predictor))
        arguments = replace(arguments, overrides=where, words=(file,))
    elif arguments.option("--command") is not None:
        raise InputError("--command says where the program of --predict is: type --predict, too.")
    measuring = "--measure" in arguments.flags
    results_dir, more = split_results_dir(arguments.overrides)
    for key in (override.partition("=")[0] for override in more):
        if not measuring or key not in MEASURE_KEYS:
            raise InputError(
                f"{key!r}: a claim sets its own conditions; results_dir=FOLDER may be "
                f"given, and with --measure {', '.join(MEASURE_KEYS)}."
            )
    request = Request(
        names=arguments.words,
        everything="--all" in arguments.flags,
        folders=claim_folders(arguments.config_dirs),
        results_dir=results_dir,
        as_json=arguments.as_json,
        endpoint="engine.base_url" in arguments.typed_keys,
    )
    words = (*more, f"results_dir={results_dir}")
    if more:
        _check_values(more, arguments)
    known, costs = catalogue(arguments.config_dirs), claim_costs(arguments.config_dirs)
    return run(request, known, *costs, _measurer(words, arguments) if measuring else None)


def _check_values(more: Sequence[str], arguments: Arguments) -> None:
    """InputError for a value that no run takes: a claim judged without one would not say so."""
    from bench.engines.exchange import normalise_base_url

    served = "engine.base_url" in arguments.typed_keys
    words = ["engine=endpoint" if served else "engine=vllm", *more]
    spec = run_spec(compose(words, arguments.config_dirs), detect_gpus=False)
    if served:
        normalise_base_url(spec.engine.base_url)


def _measurer(words: Sequence[str], arguments: Arguments) -> Measure:
    """What makes a claim's run: its own overrides, and the words typed beside --measure."""
    from bench.report.live import shown
    from bench.run import execute

    def measure(overrides: tuple[str, ...]) -> Run:
        spec = run_spec(compose([*overrides, *words], arguments.config_dirs))
        spec = expecting(spec, frozenset({"model"}))  # a claim names its model
        refuse_never_full(spec)
        with shown() as progress:
            return execute(spec, catalogue(arguments.config_dirs), progress)

    return measure


ENDPOINT_KEYS = (
    *("engine.base_url", "engine.served_model", "engine.expects_model"),
    *("engine.api", "engine.prompt"),
)
MEASURE_KEYS = (
    *("load.repeats", "load.duration_s", "load.requests", "load.calibrate"),
    *ENDPOINT_KEYS,
)
"""What may be asked of a measuring run: how long, how often and where the claimed engine already
serves; never under which conditions."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `bench claim` was asked: names (or all), and where things are."""

    names: tuple[str, ...]
    everything: bool
    folders: tuple[Path, ...]
    results_dir: str
    as_json: bool = False
    endpoint: bool = False
    """Whether the claimed engine already serves, at the address given for the measuring run."""


def run(
    request: Request,
    catalogue: Catalogue,
    prices: tuple[PriceRow, ...],
    cost_model: CostModel,
    measure: Measure | None = None,
) -> int:
    """Print the verdicts and return 0: a refuted claim is an answer, not a failure."""
    bad: list[InputError] = []
    found = assessed(request, catalogue, prices, cost_model, measure, bad)
    if not found and bad:
        raise bad[0]
    if request.as_json:
        print(json_text([a.to_json() for a in found], indent=2))
    else:
        from bench.report.claim_table import print_claims

        print_claims(found, in_full=not request.everything)
    for error in bad:
        print(f"bench: {error}", file=sys.stderr)
    return 2 if bad else 0


def assessed(
    request: Request,
    catalogue: Catalogue,
    prices: tuple[PriceRow, ...],
    cost_model: CostModel,
    measure: Measure | None = None,
    bad: list[InputError] | None = None,
) -> list[Assessment]:
    """The verdicts on the claims asked for; `measure` makes the runs that would settle them.

    With `bad`, a claim that cannot be worked with is put there and the others go on; without it,
    the first one ends all.
    """
    from bench.claims.assess import assess
    from bench.claims.named import check_named
    from bench.claims.sources import Sources
    from bench.engines import ENGINES
    from bench.engines.installed import installed_versions

    claims = wanted(request, bad)
    if measure is not None:
        measure = functools.cache(measure)  # claims under the same conditions share one run
    sources = Sources(
        catalogue=catalogue,
        prices=prices,
        cost_model=cost_model,
        points=stored_points(claims, request.results_dir),
        engines=tuple(ENGINES),
        installed=installed_versions(),
    )
    found = []
    for claim in claims:
        try:
            check_named(claim, catalogue, ENGINES, measured_models(sources.points))
            assessment = assess(claim, sources)
            if measure is not None:
                assessment = measured(claim, assessment, sources, measure, request.endpoint)
        except InputError as error:
            if bad is None or len(claims) == 1:
                raise
            bad.append(error)
            continue
        found.append(assessment)
    return found


def measured_models(points: Sequence[Point]) -> frozenset[str]:
    """The models of stored runs: of one with a folder of its own the catalogue knows nothing."""
    return frozenset(str(p.conditions["model"]) for p in points if p.conditions.get("model"))


def wanted(request: Request, bad: list[InputError] | None = None) -> tuple[Claim, ...]:
    """The claims asked for; a name that is a file is read as one."""
    from bench.claims.load import chosen

    if not request.names and not request.everything:
        raise InputError("name a claim, or say --all; bench claim --new NAME writes a new one.")
    if request.names and request.everything:
        raise InputError(f"--all names every claim: leave {request.names[0]!r} or --all out.")
    files = {n: file for n in request.names if (file := _file_of(n)) is not None}
    found = [
        replace(claim, file=str(path))
        for path, key in files.values()
        for claim in _of_key(key, path, read_or(path, bad))
    ]
    names = [n for n in request.names if n not in files]
    check_names(names)
    if names or request.everything:
        every = [
            replace(c, file=str(path)) if own else c
            for own, folder in enumerate(request.folders)  # the first is the catalogue's
            for path in sorted(folder.glob("*.yaml"))
            for c in read_or(path, bad)
        ]
        found += every if request.everything else chosen(names, every)
    return tuple({c.name: c for c in found}.values())


def _file_of(word: str) -> tuple[Path, str | None] | None:
    """A claim file and the one of its claims that is asked for; None for a claim's name."""
    found = re.fullmatch(r"(.+\.ya?ml)(?:/(.+))?", word)
    return None if found is None else (Path(found[1]), found[2])


def _of_key(key: str | None, path: Path, claims: tuple[Claim, ...]) -> tuple[Claim, ...]:
    """All claims of a file, or the one under that key; none where the file itself was refused."""
    if key is None or not claims:
        return claims
    found = tuple(c for c in claims if c.name == f"{path.stem}/{key}")
    if not found:
        known = [c.name.partition("/")[2] for c in claims]
        if known == [""]:
            raise InputError(f"{path} holds one claim, without a key: bench claim {path}.")
        raise InputError(f"{path}: there is no claim {key!r}.{nearest(key, known)}")
    return found


def stored_points(claims: Sequence[Claim], results_dir: str) -> tuple[Point, ...]:
    """Load points of the stored runs that any of the claims could be about.

    run.json alone tells which those are: only their load points are read and derived.
    """
    from bench.claims.spec import Serving
    from bench.store import list_runs, load_run

    models = {c.says.conditions.model for c in claims if isinstance(c.says, Serving)}
    found: list[Point] = []
    for path in list_runs(results_dir):
        try:
            record = json.loads(regular(path / "run.json").read_text(encoding="utf-8"))
            if record["spec"]["model"]["name"] not in models or record["status"] != "complete":
                continue
            found += points(load_run(path))
        except (OSError, ValueError, KeyError, StoreError, InputError):
            continue  # a half-written or older run is no evidence either way
    return tuple(found)
