"""`bench predict`: say what a deployment would do, each figure with an 80 % band."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.unread import check_read
from bench.cli.verb import Flag, Verb
from bench.config.compose import catalogue, compose, run_spec
from bench.values.count_words import agreeing, count
from bench.values.errors import InputError, nearest
from bench.values.json_text import json_text

if TYPE_CHECKING:
    from bench.predict.evidence import Row
    from bench.predict.question import Question
    from bench.values.prediction import Prediction
    from bench.values.spec import RunSpec

VERB = Verb(
    usage=(
        "bench predict [model=NAME] [quant=NAME] [gpu=NAME] [gpus=N] [workload=NAME] [load=NAME]",
        "bench predict --refit RUN [RUN ...] [KEY=VALUE ...]    your own runs are evidence",
    ),
    more="Fitted on published measurements (docs/predict.md); nothing is started.",
    keys=(
        *keys.WHAT_IS_SERVED,
        ("workload=NAME", "how long prompts and answers are"),
        ("load.concurrency=[N,N]", "how many requests are in flight, a prediction each"),
        ("load.rate_per_s=[X]", "with load=open: how many arrive a second"),
        keys.RESULTS_DIR,
    ),
    flags=(
        Flag(name="--refit", what="the runs named become evidence, now and later"),
        Flag(
            name="--engine",
            value="NAME",
            what="whose published rows count, where it is not vLLM",
            choices=("vllm", "tensorrt-llm"),
        ),
    ),
    words="runs",
)


def call(arguments: Arguments) -> int:
    """Predict what was typed; with --refit, of the last run named where no model is."""
    if arguments.words and "--refit" not in arguments.flags:
        raise InputError(f"{arguments.words[0]!r}: runs are named behind --refit.")
    spec = asked_spec(arguments)
    engine = arguments.option("--engine")
    from bench.predict import own
    from bench.predict.question import ENGINES

    if engine is not None and engine not in ENGINES:
        raise InputError(f"--engine: no published rows of {engine!r}.{nearest(engine, ENGINES)}")
    before = own.kept(spec.results_dir)
    after = before
    if "--refit" in arguments.flags:
        rows, dropped = refitted(arguments.words, spec.results_dir)
        after = own.keep(rows, spec.results_dir)
        for text in dropped:
            print(f"bench: {text}", file=sys.stderr)
        said_only(after, spec)
        if not arguments.typed_keys & {"model", "model.path", "model.repo"}:
            spec = last_run(arguments.words, spec, rows)
            return _after_refit(arguments, spec, before, after)
    return _answer(arguments, spec, before, after)


def _after_refit(
    arguments: Arguments, spec: RunSpec, before: tuple[Row, ...], after: tuple[Row, ...]
) -> int:
    """What the last run named would show again, where that can be said yet: it is kept anyway."""
    try:
        return _answer(arguments, spec, before, after)
    except InputError as error:
        print(f"bench: {error}", file=sys.stderr)
        if arguments.as_json:
            print(json_text({"own_rows": len(after), "predicted": None, "why": str(error)}))
        return 0


def _answer(
    arguments: Arguments, spec: RunSpec, before: tuple[Row, ...], after: tuple[Row, ...]
) -> int:
    from bench.predict.question import question

    asked = question(spec, arguments.option("--engine"))
    found = predicted(asked, spec, after)
    narrowed = narrowing(asked, spec, before, after) if after != before else None
    show(found, spec, asked.engine, narrowed, as_json=arguments.as_json)
    return 0


def asked_spec(arguments: Arguments) -> RunSpec:
    """The run that was typed, on a GPU that is planned for where none is here."""
    from bench.preflight import for_planning, resolve, with_cores

    spec = run_spec(compose(arguments.overrides, arguments.config_dirs), detect_gpus=False)
    check_read("predict", spec, arguments.typed_keys)
    known = catalogue(arguments.config_dirs)
    planned = for_planning(spec, arguments.typed_keys, known)
    return with_cores(resolve(planned, arguments.typed_keys, known))


def refitted(names: tuple[str, ...], results_dir: str) -> tuple[list[Row], list[str]]:
    """The rows of the runs named, and what of them was left out; InputError without any."""
    from bench.derive import derive
    from bench.predict.own import left_out, rows_of
    from bench.store import find_run, load_run

    if not names:
        raise InputError("--refit needs runs: bench predict --refit RUN [RUN ...].")
    found: list[Row] = []
    dropped: list[str] = []
    for name in names:
        run = load_run(find_run(name, results_dir))
        measured = derive(run)
        rows = rows_of(run, measured)
        found += rows
        if gone := left_out(measured, rows):
            dropped.append(f"{run.path}: not trusted, so not taken: {', '.join(gone)}")
    return found, dropped


def predicted(asked: Question, spec: RunSpec, own: tuple[Row, ...]) -> tuple[Prediction, ...]:
    """The predictions; InputError for a load that has none."""
    from bench.predict.answer import predictions
    from bench.sizing.fit import fit

    report = fit(spec)
    if not report.fits and not spec.fit.force:
        raise InputError(
            f"{spec.model.name} {spec.quant.name} does not fit: {'; '.join(report.reasons)}. "
            "bench fit with the same words says what would; fit.force=true predicts all the same."
        )
    found = predictions(asked, spec.load, own)
    if not found:
        raise InputError(
            f"load.mode={spec.load.mode}: a search or ramp has no load point to predict. "
            "Use load=closed with load.concurrency=[N], or load=open with load.rate_per_s=[X]."
        )
    return found


def narrowing(
    asked: Question, spec: RunSpec, before: tuple[Row, ...], after: tuple[Row, ...]
) -> str:
    """How much narrower the band of the first load point's rate became."""
    now = predicted(asked, spec, after)[0].figures["output_tokens_per_s"]
    try:
        old = predicted(asked, spec, before)[0].figures["output_tokens_per_s"]
    except InputError:
        return f"band of tokens/s: high ÷ low {now.width:.2f}; before the refit: no prediction"
    return f"band of tokens/s: high ÷ low {old.width:.2f} before the refit, {now.width:.2f} after"


def said_only(rows: tuple[Row, ...], spec: RunSpec) -> None:
    """What a refit kept."""
    from bench.predict.own import NAME

    own = f"{count(len(rows), 'load point')} of your own {agreeing(len(rows), 'are')}"
    text = f"{own} kept in {spec.results_dir}/{NAME}"
    print(f"bench: {text}", file=sys.stderr)


def last_run(names: tuple[str, ...], spec: RunSpec, rows: list[Row]) -> RunSpec:
    """What the last run named asked, as another launch of it would; of a search the loads that it
    tried."""
    from bench.predict.answer import loads
    from bench.predict.noise import launch
    from bench.store import find_run, load_run

    asked = load_run(find_run(names[-1], spec.results_dir)).spec
    if not loads(asked.load):
        tried = {round(r.concurrency or 1) for r in rows if launch(r) == launch(rows[-1])}
        load = replace(asked.load, mode="closed", concurrency=tuple(sorted(tried)), rate_per_s=())
        asked = replace(asked, load=load)
    return replace(asked, results_dir=spec.results_dir)


def show(
    found: tuple[Prediction, ...],
    spec: RunSpec,
    engine: str,
    narrowed: str | None,
    *,
    as_json: bool,
) -> None:
    """Print them."""
    from bench.report.console import console
    from bench.report.predict_table import print_predictions
    from bench.values.codec import encode

    if as_json:
        document: dict[str, Any] = {
            "model": spec.model.name,
            "quant": spec.quant.name,
            "gpu": spec.gpu.name,
            "gpus": spec.gpus,
            "engine": engine,
            "workload": spec.workload.name,
            "predicted": encode(found),
            "refit": narrowed,
        }
        print(json_text(document))
        return
    where = f"{spec.gpus}×{spec.gpu.name}" if spec.gpus else "the CPU of this machine"
    title = f"{spec.model.name} {spec.quant.name} on {where}, {engine}, {spec.workload.name}"
    print_predictions(found, console(), title)
    if narrowed:
        console().print(narrowed, highlight=False)
