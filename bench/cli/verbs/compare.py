"""`bench compare`: variants of a model in one table, each with a test behind its verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.composed import (
    allowed,
    check_address,
    row_format,
    run_asked,
)
from bench.cli.verb import Flag, Verb
from bench.config.compose import catalogue, choices, compose, split_results_dir
from bench.values.errors import BenchError, InputError
from bench.values.json_text import json_text

if TYPE_CHECKING:
    from bench.compare.compare import Comparison
    from bench.compare.gate import Gate
    from bench.compare.variant import Measured, Variant
    from bench.config.catalogue import Catalogue
    from bench.values.record import Run
    from bench.values.spec import RunSpec

VERB = Verb(
    usage=(
        "bench compare RUN RUN ... [KEY=VALUE ...] [--json | --format md|csv|parquet]",
        "bench compare --interleave N quant=A,B [KEY=VALUE ...]   measure in turn",
        "bench compare --baseline RUN [RUN ... | latest] --fail-if 'CONDITION' ...   a gate",
    ),
    more="The first run is the baseline unless --baseline names it. Conditions of a gate:\n"
    "  'output_tokens_per_s < -3%'    a change, relative to the baseline\n"
    "  'ttft_p99_ms@c16 > +20'        a change in the metric's unit, at one load point\n"
    "  'error_rate > 0.01'            the run's own figure\n"
    "  'quality.TASK < -1%'           a task's score\n"
    "It exits 3 when the change is real and beyond the limit, 0 when it is not, 4 when the\n"
    "evidence is not enough to say (too few launches, a run that is not valid).\n\n"
    "A verdict needs three launches of each variant, that is three starts of the engine: repeats\n"
    'of one launch share its start and do not count. With fewer, what differs is told "in this\n'
    'run" and a gate exits 4. --interleave 3 makes them, in turn.',
    keys=(
        keys.RESULTS_DIR,
        ("quant=A,B", "with --interleave: the variants, and any key of a run"),
        ("engine.args=[],[…]", "the same, for speculative decoding off and on"),
    ),
    flags=(
        Flag(name="--baseline", value="RUN", what="what the others are held against"),
        Flag(name="--rounds", what="runs of one variant are repeats of it"),
        Flag(name="--interleave", value="N", what="measure the variants in turn, N times over"),
        Flag(name="--load", value="LABEL", what="compare at this load point, as c16"),
        Flag(name="--margin", value="0.99", what="share of the score that a variant must keep"),
        Flag(name="--usd-per-hour", value="X", what="what a server costs: adds a cost column"),
        Flag(name="--fail-if", value="CONDITION", what="make a gate of it"),
        Flag(name="--junit", value="FILE", what="where the gate is written for a CI system"),
        keys.ALLOW,
        keys.ROWS,
    ),
    words="runs",
)


def call(arguments: Arguments) -> int:
    """Compare stored runs, or with --interleave measure and compare."""
    results_dir, more = split_results_dir(arguments.overrides)
    request = Request(
        names=arguments.words,
        baselines=arguments.options.get("--baseline", ()),
        fail_if=arguments.options.get("--fail-if", ()),
        junit=arguments.option("--junit"),
        allow=allowed(arguments),
        margin=arguments.number("--margin"),
        load=arguments.option("--load"),
        usd_per_hour=arguments.number("--usd-per-hour"),
        rounds="--rounds" in arguments.flags,
        results_dir=results_dir,
        as_json=arguments.as_json,
        form=row_format(arguments),
    )
    rounds = arguments.number("--interleave")
    if rounds is not None:
        return _in_turn(arguments, more, _whole(rounds, request), request)
    if more:
        key = more[0].partition("=")[0]
        raise InputError(
            f"{key!r}: bench compare reads stored runs and takes results_dir=FOLDER; with "
            "--interleave N it measures, and takes what bench run takes."
        )
    return run(request)


def _whole(rounds: float, request: Request) -> int:
    """The number of rounds to measure; InputError for half a one, or for stored runs beside it."""
    if not rounds.is_integer():  # nor are nan and inf
        raise InputError(f"--interleave: {rounds:g} is not a whole number: write 3.")
    for word in (*request.names, *request.baselines):
        raise InputError(
            f"--interleave measures new runs, and {word!r} names a stored one: leave one of the "
            f"two out; stored runs are compared by bench compare {word} RUN."
        )
    return int(rounds)


def _in_turn(arguments: Arguments, overrides: Sequence[str], rounds: int, request: Request) -> int:
    """Run the variants of one key (quant=A,B) in turn, `rounds` times over; quality is scored in
    the last round alone. All of them are composed and looked at before the first one starts."""
    from bench.report.live import shown
    from bench.run import execute

    offered = {o: choices(o) for o in overrides if o.startswith(_VARIED)}
    swept = [o for o, found in offered.items() if len(found) > 1]
    if len(swept) > 1:
        raise InputError(f"--interleave varies one key at a time, here {' and '.join(swept)}.")
    rest = [o for o in overrides if o not in swept]
    variants = offered[swept[0]] if swept else ()
    specs = [run_asked(compose([*rest, v], arguments.config_dirs), arguments) for v in variants]
    told_apart(specs)
    for variant, spec in zip(variants, specs, strict=True):
        check_address(spec, arguments.typed_keys)
        _check_runs(variant, spec, catalogue(arguments.config_dirs))

    done: list[str] = []

    def one(variant: str, number: int) -> Run:
        scored = [] if number == rounds - 1 else ["quality=none"]
        words = [*rest, *scored, variant, f"results_dir={request.results_dir}"]
        if scored:
            words = [w for w in words if not w.startswith("quality") or w == "quality=none"]
        spec = run_asked(compose(words, arguments.config_dirs), arguments)
        done.append(variant)
        with shown(title=f"run {len(done)} of {rounds * len(variants)}") as progress:
            return execute(spec, catalogue(arguments.config_dirs), progress)

    return interleave(variants, rounds, one, replace(request, rounds=True))


def _check_runs(variant: str, spec: RunSpec, known: Catalogue) -> None:
    """InputError where a variant cannot run here: without it there is nothing to compare, and the
    other's rounds would have been measured first."""
    from bench.preflight import preflight

    try:
        preflight(spec, known)
    except InputError as error:
        raise InputError(f"{variant}: {error}") from error


_VARIED = ("quant=", "engine.args=")
"""What makes a variant: the quantisation, and speculative decoding on or off."""


def told_apart(specs: Sequence[RunSpec]) -> None:
    """InputError when two of the runs to come would be the same variant."""
    from bench.compare.variant import label

    names = [label(spec) for spec in specs]
    if len(set(names)) < len(names):
        raise InputError(
            f"--interleave: {', '.join(names)} are not told apart: vary quant, or in engine.args "
            "the flags of speculative decoding."
        )


Execute = Callable[[str, int], "Run"]
"""From a variant and the number of the round to the Run it makes."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `bench compare` was asked. `names` are runs, the baseline first unless `baselines` names
    it; `rounds` says that runs of one variant belong together, and so do several baselines.
    `fail_if` makes a gate of it, `junit` is where that is written down for a CI system."""

    names: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    fail_if: tuple[str, ...] = ()
    junit: str | None = None
    allow: tuple[str, ...] = ()
    margin: float | None = None
    load: str | None = None
    usd_per_hour: float | None = None
    rounds: bool = False
    results_dir: str = "results"
    as_json: bool = False
    form: str | None = None


def run(request: Request) -> int:
    """Print the comparison of stored runs; 0 whatever it says, for a verdict is an answer. With
    `fail_if` the gate's exit code: 0 held, 3 failed, 4 not enough evidence."""
    _check(request)
    names = request.names or (("latest",) if request.baselines else ())
    if not request.baselines:
        request, names = replace(request, baselines=names[:1]), names[1:]
    bases, others = (_paths(given, request.results_dir) for given in (request.baselines, names))
    known = {path.resolve() for path in bases}
    others, named = [path for path in others if path.resolve() not in known], others
    if named and not others:
        raise InputError(f"{named[0]} is the baseline itself: name another run beside it.")
    return _answered(_variants([measured_run(p) for p in bases], others, request), request)


def _check(request: Request) -> None:
    """InputError for a gate that says nothing, or nothing sensible, before anything is read."""
    from bench.compare.condition import parse

    for condition in request.fail_if:
        parse(condition)
    margin, usd = request.margin, request.usd_per_hour
    if margin is not None and not 0 < margin < 1:
        raise InputError(f"--margin must be above 0 and below 1, as 0.99, not {margin:g}.")
    if usd is not None and not (usd > 0 and math.isfinite(usd)):
        raise InputError(f"--usd-per-hour must be above 0, not {usd:g}.")
    if request.junit is not None and not request.fail_if:
        raise InputError("--junit writes down a gate: say what fails with --fail-if CONDITION.")


def _answered(variants: Sequence[Variant], request: Request) -> int:
    """Compare the variants and judge the gate that was asked for; write or print both."""
    from bench.compare.condition import parse
    from bench.compare.gate import judge
    from bench.report.junit import junit
    from bench.report.rows import comparison_rows, write_rows
    from bench.store import write_file
    from bench.trend.licences import changes

    conditions = tuple(map(parse, request.fail_if))
    comparison = _compare(variants, request)
    gate = judge(variants, comparison, conditions, request.load) if conditions else None
    if gate is not None and request.junit is not None:
        write_file(Path(request.junit), junit(gate, comparison.model))
    if request.form is not None:
        write_rows(comparison_rows(comparison, gate), request.form)
        return 0 if gate is None else gate.exit_code
    models = {m.first.spec.model.name: m.first.spec.model for m in variants}
    terms = tuple(line for model in models.values() for line in changes(model))
    return show(comparison, gate, terms, as_json=request.as_json)


def _paths(names: Sequence[str], results_dir: str) -> list[Path]:
    from bench.store import find_runs

    return find_runs(names, results_dir)


def _variants(
    bases: Sequence[Measured], others: Sequence[Path], request: Request
) -> tuple[Variant, ...]:
    """The baseline and what is compared with it.

    With `rounds`, one baseline's variant takes in its other runs; several baselines are rounds of
    it by themselves, so that runs of the same variant can be set against them.
    """
    from bench.compare.variant import apart, beside, group

    measured = [measured_run(path) for path in others]
    if not request.rounds:
        if len(bases) > 1:
            raise InputError("several --baseline runs are rounds of one variant: add --rounds.")
        return apart([*bases, *measured])
    if len(bases) == 1:
        return group([*bases, *measured])
    (base,) = group(bases) if len(group(bases)) == 1 else (None,)
    if base is None:
        raise InputError("the --baseline runs are not of one variant.")
    return (base, *(beside(base, variant) for variant in group(measured)))


def compared(paths: Sequence[Path], request: Request) -> Comparison:
    """The comparison of the runs in those folders, the first one's variant as baseline."""
    from bench.compare.variant import apart, group

    measured = [measured_run(path) for path in paths]
    return _compare(group(measured) if request.rounds else apart(measured), request)


def _compare(variants: Sequence[Variant], request: Request) -> Comparison:
    from bench.compare.compare import compare

    return compare(
        variants,
        allow=request.allow,
        margin=request.margin,
        load=request.load,
        usd_per_hour=request.usd_per_hour,
    )


def measured_run(path: Path) -> Measured:
    """A stored run with its measurement and its scored items; its raw points are let go."""
    from bench.compare.variant import Measured
    from bench.derive import derive
    from bench.store import load_quality_items, load_run

    stored = load_run(path)
    measurement = derive(stored)
    return Measured(
        run=replace(stored, points=(), telemetry=None),
        measurement=measurement,
        items=load_quality_items(path),
    )


def show(
    comparison: Comparison,
    gate: Gate | None = None,
    terms: tuple[str, ...] = (),
    *,
    as_json: bool,
) -> int:
    """Print a comparison and its gate as tables or as JSON; the gate's exit code, 0 without one.
    `terms` are changes of the models' licences."""
    from bench.values.codec import encode

    if as_json:
        document = {**encode(comparison), "gate": encode(gate), "licence": list(terms)}
        print(json_text(document))
    else:
        from bench.report.compare_table import print_comparison

        print_comparison(comparison, gate)
        for line in terms:
            print(f"licence: {line}")
    return 0 if gate is None else gate.exit_code


def interleave(variants: Sequence[str], rounds: int, execute: Execute, request: Request) -> int:
    """Measure the variants in turn, `rounds` times over, then compare them launch by launch.

    A drift of the machine then touches all variants alike, and every round is a launch of each.
    Every other round goes backwards, so that none is always the first. A round that fails ends the
    series; what was measured stays stored.
    """
    from bench.compare.launches import ENOUGH_LAUNCHES
    from bench.compare.variant import group

    if len(variants) < 2 or rounds < 2:
        raise InputError(
            "--interleave needs two variants (quant=A,B) and two rounds or more; "
            f"{ENOUGH_LAUNCHES} for a verdict."
        )
    _check(request)
    paths: dict[tuple[int, str], Path] = {}
    for number in range(rounds):
        for name in variants if number % 2 == 0 else reversed(variants):
            made = execute(name, number)
            if made.status != "complete":
                raise BenchError(f"{made.path}: {made.failure or 'not complete'}; series ended.")
            paths[number, name] = Path(made.path)
    in_order = [paths[number, name] for number in range(rounds) for name in variants]
    return _answered(group([measured_run(path) for path in in_order]), request)
