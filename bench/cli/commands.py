"""The verbs: what each takes from the command line, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cli.arguments import Arguments, number
from bench.cli.launch import asked, run
from bench.config.compose import (
    catalogue,
    claim_costs,
    compose,
    conf_dir,
    options,
    run_spec,
    split_results_dir,
)
from bench.values.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb: what it does in a line, how it is called, and its function."""

    summary: str
    usage: str
    call: Callable[[Arguments], int]
    flags: tuple[str, ...] = ()
    """Flags of this verb alone; those given are in `Arguments.flags`."""
    takes_words: bool = False
    """Whether plain words (runs, files, names) may follow."""
    options: tuple[str, ...] = ()
    """Flags of this verb that take a value, the next word or after `=`: `Arguments.options`."""


def _fit(arguments: Arguments) -> int:
    from bench.cli.verbs import fit

    spec = run_spec(compose(arguments.overrides, arguments.config_dirs), detect_gpus=False)
    return fit.run(
        spec,
        explicit=arguments.typed_keys,
        catalogue=catalogue(arguments.config_dirs),
        as_json=arguments.as_json,
    )


def _results_dir(arguments: Arguments) -> str:
    """`results_dir=…` for the verbs that only read; they take no other override."""
    chosen, others = split_results_dir(arguments.overrides)
    if others:
        key = others[0].partition("=")[0]
        raise InputError(f"{key!r}: this verb takes results_dir=FOLDER only.")
    return chosen


def _format(arguments: Arguments) -> str | None:
    """`--format csv`, md or parquet: rows for other programs instead of a table."""
    from bench.report.rows import known_format

    return known_format(arguments.option("--format"))


def _runs(arguments: Arguments) -> int:
    from bench.cli.verbs import runs

    return runs.list_all(
        _results_dir(arguments), as_json=arguments.as_json, form=_format(arguments)
    )


def _show(arguments: Arguments) -> int:
    from bench.cli.verbs import runs

    names = arguments.words or ("latest",)
    return runs.show(
        names, _results_dir(arguments), as_json=arguments.as_json, form=_format(arguments)
    )


def _tco(arguments: Arguments) -> int:
    from bench.cli.verbs import tco

    results_dir, overrides = split_results_dir(arguments.overrides)
    request = _question(overrides, arguments)
    return tco.run(request, tco.stored(arguments.words, results_dir), as_json=arguments.as_json)


def _question(overrides: Sequence[str], arguments: Arguments) -> Any:
    """The cost question that the overrides ask."""
    from bench.tco.spec import TcoRequest
    from bench.values.codec import decode

    data = compose(overrides, arguments.config_dirs, "cost")
    known = tuple(options("gpu", arguments.config_dirs))
    return decode(TcoRequest, {**data, "known_gpus": known})


def _prices(arguments: Arguments) -> int:
    from bench.cli.verbs import prices
    from bench.tco.prices.book import PricesSpec
    from bench.values.codec import decode

    own: dict[str, str | None] = {"provider": None, "as_of": None}
    overrides = []
    for override in arguments.overrides:
        key, _, value = override.partition("=")
        if key in own:
            own[key] = value
        else:
            overrides.append(override)
    path = None
    if arguments.words:
        if arguments.words[0] != "import" or len(arguments.words) != 2:
            raise InputError("bench prices takes nothing, or: import FILE.")
        path = arguments.words[1]
    spec = decode(PricesSpec, compose(overrides, arguments.config_dirs, "cost")["prices"], "prices")
    return prices.run(spec, import_path=path, as_json=arguments.as_json, **own)


def _split(arguments: Arguments) -> int:
    from bench.cli.verbs import split

    return split.run(arguments.words, _results_dir(arguments), as_json=arguments.as_json)


def _doctor(arguments: Arguments) -> int:
    from bench.cli.verbs import doctor

    spec = asked(compose(arguments.overrides, arguments.config_dirs), arguments)
    return doctor.run(spec, catalogue(arguments.config_dirs), as_json=arguments.as_json)


def _calibrate(arguments: Arguments) -> int:
    from bench.cli.verbs import calibrate

    spec = run_spec(
        compose(["engine=truth", *arguments.overrides], arguments.config_dirs), detect_gpus=False
    )
    return calibrate.run(spec, as_json=arguments.as_json)


def _claim(arguments: Arguments) -> int:
    from bench.cli.verbs import claim

    flags = arguments.flags
    if "--new" in flags:
        name = arguments.words[0] if arguments.words else "new-claim"
        here = [Path(d) / "claims" for d in arguments.config_dirs] or [Path()]
        return claim.write_new(name, here[0])
    results_dir, more = split_results_dir(arguments.overrides)
    for key in (override.partition("=")[0] for override in more):
        if "--measure" not in flags or key not in claim.MEASURE_KEYS:
            names = ", ".join(claim.MEASURE_KEYS)
            raise InputError(
                f"{key!r}: a claim sets its own conditions; results_dir=FOLDER may be "
                f"given, and with --measure {names}."
            )
    request = claim.Request(
        names=arguments.words,
        everything="--all" in flags,
        folders=_claim_folders(arguments),
        results_dir=results_dir,
        as_json=arguments.as_json,
        endpoint=any(word.startswith("engine.base_url=") for word in more),
    )

    def measure(overrides: Sequence[str]) -> Any:
        from bench.report.live import shown
        from bench.run import execute

        place = f"results_dir={request.results_dir}"
        spec = run_spec(compose([*overrides, *more, place], arguments.config_dirs))
        with shown() as progress:
            return execute(spec, catalogue(arguments.config_dirs), progress)

    book, cost_model = claim_costs(arguments.config_dirs)
    return claim.run(
        request,
        catalogue(arguments.config_dirs),
        book,
        cost_model,
        measure if "--measure" in flags else None,
    )


def _claim_folders(arguments: Arguments) -> tuple[Path, ...]:
    roots = [conf_dir(), *map(Path, arguments.config_dirs)]
    return tuple(root / "claims" for root in roots)


def _report(arguments: Arguments) -> int:
    from bench.cli.verbs import claim, report

    results_dir, overrides = split_results_dir(arguments.overrides)
    given, flags = arguments.options, arguments.flags
    names = given.get("--claim", ())
    judge = None
    if names or "--claims" in flags:
        asked_for = claim.Request(
            names=names,
            everything="--claims" in flags,
            folders=_claim_folders(arguments),
            results_dir=results_dir,
        )
        book, cost_model = claim_costs(arguments.config_dirs)

        def judge() -> Any:
            return claim.assessed(asked_for, catalogue(arguments.config_dirs), book, cost_model)

    request = report.Request(
        names=arguments.words,
        question=_question(overrides, arguments) if overrides else None,
        question_name=next(
            (o.partition("=")[2] for o in overrides if o.startswith("tco=")), "cost"
        ),
        judge=judge,
        allow=tuple(k for value in given.get("--allow", ()) for k in value.split(",")),
        format=arguments.option("--format") or "html",
        out=arguments.option("--out"),
        show="--open" in flags,
        results_dir=results_dir,
        as_json=arguments.as_json,
    )
    return report.run(request)


def _quantize(arguments: Arguments) -> int:
    from bench.cli.verbs import quantize
    from bench.models.quantize.spec import QuantizeSpec
    from bench.report.live import shown
    from bench.values.codec import decode

    data = compose(arguments.overrides, arguments.config_dirs, "quantize")
    spec = decode(QuantizeSpec, data)
    with shown() as progress:
        return quantize.run(spec, progress, as_json=arguments.as_json)


def _compare(arguments: Arguments) -> int:
    from bench.cli.verbs import compare

    results_dir, more = split_results_dir(arguments.overrides)
    allow = [key for value in arguments.options.get("--allow", ()) for key in value.split(",")]
    request = compare.Request(
        names=arguments.words,
        baselines=arguments.options.get("--baseline", ()),
        fail_if=arguments.options.get("--fail-if", ()),
        junit=arguments.option("--junit"),
        allow=tuple(allow),
        margin=number(arguments, "--margin"),
        load=arguments.option("--load"),
        usd_per_hour=number(arguments, "--usd-per-hour"),
        rounds="--rounds" in arguments.flags,
        results_dir=results_dir,
        as_json=arguments.as_json,
        form=_format(arguments),
    )
    rounds = number(arguments, "--interleave")
    if rounds is not None:
        return _interleave(arguments, more, round(rounds), request)
    if more:
        key = more[0].partition("=")[0]
        raise InputError(
            f"{key!r}: bench compare reads stored runs and takes results_dir=FOLDER; with "
            "--interleave N it measures, and takes what bench run takes."
        )
    return compare.run(request)


def _interleave(arguments: Arguments, overrides: Sequence[str], rounds: int, request: Any) -> int:
    """Run quant=A,B in turn, `rounds` times over; quality is scored in the last round alone."""
    from dataclasses import replace

    from bench.cli.verbs import compare
    from bench.report.live import shown
    from bench.run import execute

    swept = [o for o in overrides if o.startswith("quant=")]
    rest = [o for o in overrides if o not in swept]
    variants = swept[-1].partition("=")[2].split(",") if swept else []

    def one(quant: str, number: int) -> Any:
        scored = [] if number == rounds - 1 else ["quality=none"]
        words = [*rest, *scored, f"quant={quant}", f"results_dir={request.results_dir}"]
        if scored:
            words = [w for w in words if not w.startswith("quality") or w == "quality=none"]
        spec = asked(compose(words, arguments.config_dirs), arguments)
        with shown() as progress:
            return execute(spec, catalogue(arguments.config_dirs), progress)

    allowed = (*request.allow, "quality")  # the last round alone scores it
    request = replace(request, rounds=True, allow=allowed)
    return compare.interleave(variants, rounds, one, request)


VERBS: dict[str, Verb] = {
    "run": Verb(
        summary="launch the engine, drive it, print a measurement one can trust",
        usage="bench [run] [model=NAME] [quant=NAME] [gpus=N] [engine=…] [workload=…] [load=…] "
        "[KEY=VALUE ...] [-m] [--json]",
        call=run,
    ),
    "fit": Verb(
        summary="say what fits and how fast it could physically be, before anything is started",
        usage="bench fit [model=NAME] [quant=NAME] [gpu=NAME] [gpus=N] [--json]",
        call=_fit,
    ),
    "doctor": Verb(
        summary="what this machine can serve and measure, and what is wrong with it",
        usage="bench doctor [model=NAME] [quant=NAME] [gpus=N] [--json]\n\n"
        "Nothing is started and no setting is changed. Exit code 0: that run can start and its\n"
        "numbers will count (warnings say what is lost); 1: a FAIL line says what stops it.",
        call=_doctor,
    ),
    "calibrate": Verb(
        summary="measure the load generator's own error on this machine",
        usage="bench calibrate [load.concurrency=[N]] [engine.ttft_ms=X] [engine.itl_ms=X] "
        "[engine.tokens_per_chunk=N] [--json]",
        call=_calibrate,
    ),
    "tco": Verb(
        summary="what a token costs on your own servers, and whether buying is cheaper",
        usage="bench tco [RUN | latest ...] [tco=NAME] [prices=NAME] [power=NAME] [KEY=VALUE ...] "
        "[--json]",
        call=_tco,
        takes_words=True,
    ),
    "prices": Verb(
        summary="the price book of APIs and GPUs, and importing public price tables into it",
        usage="bench prices [import FILE] [provider=NAME] [as_of=DATE] [prices.book=FILE] [--json]",
        call=_prices,
        takes_words=True,
    ),
    "runs": Verb(
        summary="list the stored runs",
        usage="bench runs [results_dir=FOLDER] [--json | --format md|csv|parquet]",
        call=_runs,
        options=("--format",),
    ),
    "show": Verb(
        summary="derive a stored run's numbers again and print them",
        usage="bench show [RUN | latest ...] [results_dir=FOLDER] "
        "[--json | --format md|csv|parquet]",
        call=_show,
        options=("--format",),
        takes_words=True,
    ),
    "report": Verb(
        summary="one HTML page of runs, variants, costs and claims, or its pictures as files",
        usage="bench report [RUN ... | latest] [tco=NAME KEY=VALUE ...] [--claim NAME | --claims]\n"
        "                    [--format html|png|svg] [--out PATH] [--open] [--allow KEY[,KEY]]\n"
        "                    [results_dir=FOLDER] [--json]\n\n"
        "Several runs are compared, the first is the baseline (--allow: keys that may differ).\n"
        "Any key of bench tco adds its cost answer, --claim and --claims verdicts:\n"
        "  bench report latest                     the last run\n"
        "  bench report RUN RUN                    variants beside each other\n"
        "  bench report latest tco=cpu-host        the last run and what its tokens cost\n"
        "  bench report tco=worked-example         a cost answer alone\n"
        "  bench report --claims                   every claim, as bench claim --all\n"
        "  bench report latest --format png        the pictures alone, a file each\n"
        "The page is one file that needs no network: results/reports/NAME.html unless --out says.",
        call=_report,
        takes_words=True,
        flags=("--open", "--claims"),
        options=("--claim", "--format", "--out", "--allow"),
    ),
    "split": Verb(
        summary="what a prompt token and an output token cost in energy, from runs of unlike mixes",
        usage="bench split RUN RUN ... [results_dir=FOLDER] [--json]\n\n"
        "Six load points or more, valid in energy, of one deployment; e.g. from the sweep\n"
        "bench -m load=energy load.concurrency=[8] workload.input_tokens=64,512,2048 "
        "workload.output_tokens=64,256",
        call=_split,
        takes_words=True,
    ),
    "compare": Verb(
        summary="variants of a model in one table, each with a test behind its verdict",
        usage="bench compare RUN RUN ... [--baseline RUN] [--allow KEY[,KEY]] [--margin 0.99]\n"
        "                     [--load c16] [--usd-per-hour X] [--rounds] [results_dir=FOLDER] "
        "[--json | --format md|csv|parquet]\n"
        "       bench compare --interleave N quant=A,B [KEY=VALUE ...]   measure in turn\n\n"
        "The first run is the baseline. --rounds: runs of one variant are repeats of it.\n\n"
        "a gate: bench compare --baseline RUN [RUN ... | latest] --fail-if 'CONDITION' ... "
        "[--junit FILE]\n"
        "       'output_tokens_per_s < -3%'    a change, relative to the baseline\n"
        "       'ttft_p99_ms@c16 > +20'        a change in the metric's unit, at one load point\n"
        "       'error_rate > 0.01'            the run's own figure\n"
        "       'quality.TASK < -1%'           a task's score\n"
        "exits 3 when the change is real and beyond the limit, 0 when it is not, 4 when the\n"
        "evidence is not enough to say (too few repeats, a run that is not valid).",
        call=_compare,
        takes_words=True,
        flags=("--rounds",),
        options=(
            "--baseline",
            "--fail-if",
            "--junit",
            "--format",
            "--allow",
            "--margin",
            "--load",
            "--usd-per-hour",
            "--interleave",
        ),
    ),
    "quantize": Verb(
        summary="make a quantised checkpoint where none is published",
        usage="bench quantize model=NAME quant=awq|gptq|int8|fp8 [calibration=NAME] [seed=N] "
        "[force=true] [--json]",
        call=_quantize,
    ),
    "claim": Verb(
        summary="say whether a published number is true, with the evidence",
        usage="bench claim NAME ... | --all [--measure] [results_dir=FOLDER] [--json]\n"
        "       bench claim FILE.yaml      a claim of your own\n"
        "       bench claim --new NAME     write its skeleton, every field explained",
        call=_claim,
        takes_words=True,
        flags=("--all", "--new", "--measure"),
    ),
}
