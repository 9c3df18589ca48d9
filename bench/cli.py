"""The command line: words taken apart, verbs and their flags; `bench.compose` makes values.

`--help` answers without importing Hydra. Exit codes: 0 done, 1 failed at run time, 2 bad input,
130 interrupted; `bench compare` has its own for its gate.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from bench import __version__
from bench.compose import (
    catalogue,
    check_sweep,
    claim_costs,
    compose,
    conf_dir,
    options,
    prepared,
    run_spec,
    split_results_dir,
)
from bench.errors import BenchError, InputError, nearest

GROUPS = ("model", "quant", "gpu", "engine", "workload", "load", "meter", "quality")
_HYDRA_FLAGS = ("-m", "--multirun", "--cfg", "-c", "--info", "-i")


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb: what it does in a line, how it is called, and its function."""

    summary: str
    usage: str
    call: Callable[[Arguments], int]
    flags: tuple[str, ...] = ()
    """Flags of this verb alone; those given are in `Arguments.flags`."""
    options: tuple[str, ...] = ()
    """Flags of this verb that take a value, the next word or after `=`: `Arguments.options`."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """A command line taken apart: Hydra overrides, plain words, and this program's own flags."""

    overrides: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    hydra_flags: tuple[str, ...] = ()
    config_dirs: tuple[str, ...] = ()
    as_json: bool = False
    flags: frozenset[str] = frozenset()
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def option(self, name: str) -> str | None:
        """The last value given for an option; None when it was not given."""
        values = self.options.get(name)
        return values[-1] if values else None


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of `bench`."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = _dispatch(list(sys.argv[1:] if argv is None else argv))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("bench: interrupted; what was measured is kept.", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _terminated(*_: object) -> None:
    """SIGTERM unwinds like Ctrl-C, so that engines are taken down."""
    raise KeyboardInterrupt


def _dispatch(words: list[str]) -> int:
    name, rest = _verb(words)
    if "--version" in rest:
        print(f"bench {__version__}")
        return 0
    if "-h" in rest or "--help" in rest:
        print(_help(name if words and words[0] in VERBS else None))
        return 0
    return VERBS[name].call(_arguments(rest, VERBS[name].flags, VERBS[name].options))


def _verb(words: list[str]) -> tuple[str, list[str]]:
    """The verb and what follows it; overrides and flags alone mean `run`."""
    if not words or words[0].startswith("-") or "=" in words[0]:
        return "run", words
    if words[0] not in VERBS:
        raise InputError(f"{words[0]!r} is no verb of bench.{nearest(words[0], VERBS)}")
    return words[0], words[1:]


def _arguments(
    rest: list[str], own_flags: Sequence[str] = (), own_options: Sequence[str] = ()
) -> Arguments:
    overrides: list[str] = []
    plain: list[str] = []
    hydra: list[str] = []
    dirs: list[str] = []
    as_json = False
    own: set[str] = set()
    valued: dict[str, tuple[str, ...]] = {}
    queue = list(rest)
    while queue:
        word = queue.pop(0)
        if word == "--json":
            as_json = True
        elif word in own_flags:
            own.add(word)
        elif (name := word.partition("=")[0]) in own_options:
            value = word.partition("=")[2] or (queue.pop(0) if queue else "")
            if not value:
                raise InputError(f"{name} needs a value.")
            valued[name] = (*valued.get(name, ()), value)
        elif word.startswith(("--config-dir", "-cd")):
            name = word.partition("=")[2] or (queue.pop(0) if queue else "")
            if not Path(name).is_dir():
                raise InputError(f"--config-dir: {name!r} is not a folder.")
            dirs.append(str(Path(name).absolute()))
        elif word in ("--cfg", "-c", "--info", "-i"):
            hydra += [word, queue.pop(0) if queue else "job"]
        elif word in _HYDRA_FLAGS:
            hydra.append(word)
        elif word.startswith("-"):
            flags = ("--json", "--help", "--version", "--config-dir", *_HYDRA_FLAGS, *own_flags,
                     *own_options)  # fmt: skip
            raise InputError(f"{word!r} is no flag of bench.{nearest(word, flags)}")
        else:
            (overrides if "=" in word or word.startswith("~") else plain).append(word)
    return Arguments(
        overrides=tuple(overrides),
        words=tuple(plain),
        hydra_flags=tuple(hydra),
        config_dirs=tuple(dirs),
        as_json=as_json,
        flags=frozenset(own),
        options=valued,
    )


def _help(verb: str | None) -> str:
    if verb is not None:
        return f"{VERBS[verb].summary}\n\nusage: {VERBS[verb].usage}"
    width = max(map(len, VERBS))
    lines = [
        "bench: a measuring instrument for self-hosted LLM inference.",
        "",
        "usage: bench [VERB] [KEY=VALUE ...] [--json]",
        "       bench model=tiny                       launch vLLM, load it, print what it does",
        "       bench model=deepseek-r1 gpus=8 quant=awq",
        "       bench -m engine=vllm,truth seed=1,2    a sweep, as in Hydra",
        "",
        "verbs (the default is run; bench VERB --help says more):",
        *(f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()),
        "",
        "choices (bench KEY=?? for a wrong name lists the valid ones):",
        *(f"  {group:<10}{', '.join(options(group))}" for group in GROUPS),
        "",
        "flags: --json (one JSON document on stdout), --config-dir DIR (your own groups),",
        "       --cfg job (print the composed configuration), --version",
    ]
    return "\n".join(lines)


# ------------------------------------------------------------------------ verbs


def _run(arguments: Arguments) -> int:
    _no_words(arguments)
    if arguments.hydra_flags:
        return _hydra(arguments)
    data = compose(arguments.overrides, arguments.config_dirs)
    document, code = _one_run(data, arguments)
    if arguments.as_json and document is not None:
        print(json.dumps(document))
    return code


def _one_run(data: dict[str, Any], arguments: Arguments) -> tuple[dict[str, Any] | None, int]:
    """Execute one composed run and show it; its JSON document and exit code."""
    from bench.derive import derive
    from bench.report.live import shown
    from bench.run import execute

    with shown() as progress:
        run = execute(_asked(data, arguments), catalogue(arguments.config_dirs), progress)
    measurement = derive(run)
    if not arguments.as_json:
        from bench.report.terminal import print_run

        print_run(run, measurement)
    from bench.report.document import run_document

    return run_document(run, measurement), 0


def _asked(data: dict[str, Any], arguments: Arguments) -> Any:
    """The run of composed data, its model replaced by what a typed model.path or model.repo is."""
    from dataclasses import replace

    from bench.preflight import resolve_model

    spec = run_spec(data)
    return replace(spec, model=resolve_model(spec.model, _typed(arguments)))


def _typed(arguments: Arguments) -> frozenset[str]:
    """The keys of the overrides that were typed."""
    return frozenset(o.partition("=")[0].lstrip("+") for o in arguments.overrides)


def _hydra(arguments: Arguments) -> int:
    """Sweeps and Hydra's own flags, through Hydra's main; one failed job does not stop the rest."""
    import hydra
    from omegaconf import DictConfig, OmegaConf

    check_sweep(arguments.overrides, arguments.config_dirs)
    documents: list[dict[str, Any]] = []
    codes: list[int] = []

    def job(config: DictConfig) -> None:
        data = OmegaConf.to_container(config, resolve=True)
        assert isinstance(data, dict)
        plain = {str(k): v for k, v in data.items()}
        try:
            document, code = _one_run(plain, arguments)
        except BenchError as error:
            print(f"bench: {error}", file=sys.stderr)
            document, code = {"valid": False, "error": str(error)}, error.exit_code
        documents.append(document or {})
        codes.append(code)

    ready = prepared(arguments.overrides, arguments.config_dirs)
    sys.argv = [sys.argv[0], *arguments.hydra_flags, *ready]
    hydra.main(config_path=str(conf_dir().absolute()), config_name="config", version_base="1.3")(
        job
    )()
    if arguments.as_json and documents:
        print(json.dumps(documents))
    elif len(documents) > 1:
        _compare_sweep(documents)
    failed = sum(code != 0 for code in codes)
    if failed:
        print(f"bench: {failed} of {len(codes)} runs of the sweep failed.", file=sys.stderr)
    return 1 if failed else 0


def _compare_sweep(documents: Sequence[Mapping[str, Any]]) -> None:
    """After a sweep over quant: its runs beside each other, unless they differ in more."""
    from bench.verbs import compare

    done = [d for d in documents if d.get("status") == "complete"]
    if len({d["spec"]["quant"]["name"] for d in done}) < 2:
        return
    try:
        compare.show(compare.compared([Path(d["run"]) for d in done], compare.Request()),
                     as_json=False)  # fmt: skip
    except InputError as error:
        print(f"no comparison of the sweep: {error}", file=sys.stderr)


def _fit(arguments: Arguments) -> int:
    from bench.verbs import fit

    _no_words(arguments)
    spec = run_spec(compose(arguments.overrides, arguments.config_dirs), detect_gpus=False)
    return fit.run(
        spec,
        explicit=_typed(arguments),
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


def _runs(arguments: Arguments) -> int:
    from bench.verbs import runs

    _no_words(arguments)
    return runs.list_all(_results_dir(arguments), as_json=arguments.as_json)


def _show(arguments: Arguments) -> int:
    from bench.verbs import runs

    names = arguments.words or ("latest",)
    return runs.show(names, _results_dir(arguments), as_json=arguments.as_json)


def _tco(arguments: Arguments) -> int:
    from bench.codec import decode
    from bench.tco_spec import TcoRequest
    from bench.verbs import tco

    results_dir, overrides = split_results_dir(arguments.overrides)
    data = compose(overrides, arguments.config_dirs, "cost")
    known = tuple(options("gpu", arguments.config_dirs))
    request = decode(TcoRequest, {**data, "known_gpus": known})
    return tco.run(request, tco.stored(arguments.words, results_dir), as_json=arguments.as_json)


def _prices(arguments: Arguments) -> int:
    from bench.codec import decode
    from bench.price_book import PricesSpec
    from bench.verbs import prices

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
    return prices.run(spec, import_path=path, **own)


def _calibrate(arguments: Arguments) -> int:
    from bench.verbs import calibrate

    _no_words(arguments)
    spec = run_spec(
        compose(["engine=truth", *arguments.overrides], arguments.config_dirs), detect_gpus=False
    )
    return calibrate.run(spec, as_json=arguments.as_json)


def _claim(arguments: Arguments) -> int:
    from bench.verbs import claim

    flags = arguments.flags
    if "--new" in flags:
        name = arguments.words[0] if arguments.words else "new-claim"
        here = [Path(d) / "claims" for d in arguments.config_dirs] or [Path()]
        return claim.write_new(name, here[0])
    results_dir, more = split_results_dir(arguments.overrides)
    for key in (override.partition("=")[0] for override in more):
        if "--measure" not in flags or key not in claim.MEASURE_KEYS:
            names = ", ".join(claim.MEASURE_KEYS)
            raise InputError(f"{key!r}: a claim sets its own conditions; results_dir=FOLDER may be "
                             f"given, and with --measure {names}.")  # fmt: skip
    roots = [conf_dir(), *map(Path, arguments.config_dirs)]
    request = claim.Request(
        names=arguments.words,
        everything="--all" in flags,
        folders=tuple(root / "claims" for root in roots),
        results_dir=results_dir,
        as_json=arguments.as_json,
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


def _quantize(arguments: Arguments) -> int:
    from bench.codec import decode
    from bench.quantizers.spec import QuantizeSpec
    from bench.report.live import shown
    from bench.verbs import quantize

    _no_words(arguments)
    data = compose(arguments.overrides, arguments.config_dirs, "quantize")
    spec = decode(QuantizeSpec, data)
    with shown() as progress:
        return quantize.run(spec, progress, as_json=arguments.as_json)


def _compare(arguments: Arguments) -> int:
    from bench.verbs import compare

    results_dir, more = split_results_dir(arguments.overrides)
    allow = [key for value in arguments.options.get("--allow", ()) for key in value.split(",")]
    request = compare.Request(
        names=arguments.words,
        baseline=arguments.option("--baseline"),
        allow=tuple(allow),
        margin=_number(arguments, "--margin"),
        load=arguments.option("--load"),
        usd_per_hour=_number(arguments, "--usd-per-hour"),
        rounds="--rounds" in arguments.flags,
        results_dir=results_dir,
        as_json=arguments.as_json,
    )
    rounds = _number(arguments, "--interleave")
    if rounds is not None:
        return _interleave(arguments, more, round(rounds), request)
    if more:
        key = more[0].partition("=")[0]
        raise InputError(
            f"{key!r}: bench compare reads stored runs and takes results_dir=FOLDER; with "
            "--interleave N it measures, and takes what bench run takes."
        )
    return compare.run(request)


def _number(arguments: Arguments, name: str) -> float | None:
    value = arguments.option(name)
    try:
        return None if value is None else float(value)
    except ValueError as error:
        raise InputError(f"{name}: {value!r} is not a number.") from error


def _interleave(arguments: Arguments, overrides: Sequence[str], rounds: int, request: Any) -> int:
    """Run quant=A,B in turn, `rounds` times over; quality is scored in the last round alone."""
    from dataclasses import replace

    from bench.report.live import shown
    from bench.run import execute
    from bench.verbs import compare

    swept = [o for o in overrides if o.startswith("quant=")]
    rest = [o for o in overrides if o not in swept]
    variants = swept[-1].partition("=")[2].split(",") if swept else []

    def one(quant: str, number: int) -> Any:
        scored = [] if number == rounds - 1 else ["quality=none"]
        words = [*rest, *scored, f"quant={quant}", f"results_dir={request.results_dir}"]
        if scored:
            words = [w for w in words if not w.startswith("quality") or w == "quality=none"]
        spec = _asked(compose(words, arguments.config_dirs), arguments)
        with shown() as progress:
            return execute(spec, catalogue(arguments.config_dirs), progress)

    allowed = (*request.allow, "quality")  # the last round alone scores it
    request = replace(request, rounds=True, allow=allowed)
    return compare.interleave(variants, rounds, one, request)


def _no_words(arguments: Arguments) -> None:
    if arguments.words:
        word = arguments.words[0]
        raise InputError(f"{word!r} is no KEY=VALUE.{nearest(word, (*VERBS, *GROUPS))}")


VERBS: dict[str, Verb] = {
    "run": Verb(
        summary="launch the engine, drive it, print a measurement one can trust",
        usage="bench [run] [model=NAME] [quant=NAME] [gpus=N] [engine=…] [workload=…] [load=…] "
        "[KEY=VALUE ...] [-m] [--json]",
        call=_run,
    ),
    "fit": Verb(
        summary="say what fits and how fast it could physically be, before anything is started",
        usage="bench fit [model=NAME] [quant=NAME] [gpu=NAME] [gpus=N] [--json]",
        call=_fit,
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
    ),
    "prices": Verb(
        summary="the price book of APIs and GPUs, and importing public price tables into it",
        usage="bench prices [import FILE] [provider=NAME] [as_of=DATE] [prices.book=FILE]",
        call=_prices,
    ),
    "runs": Verb(
        summary="list the stored runs",
        usage="bench runs [results_dir=FOLDER] [--json]",
        call=_runs,
    ),
    "show": Verb(
        summary="derive a stored run's numbers again and print them",
        usage="bench show [RUN | latest ...] [results_dir=FOLDER] [--json]",
        call=_show,
    ),
    "compare": Verb(
        summary="variants of a model in one table, each with a test behind its verdict",
        usage="bench compare RUN RUN ... [--baseline RUN] [--allow KEY[,KEY]] [--margin 0.99]\n"
        "                     [--load c16] [--usd-per-hour X] [--rounds] [results_dir=FOLDER] "
        "[--json]\n"
        "       bench compare --interleave N quant=A,B [KEY=VALUE ...]   measure in turn\n\n"
        "The first run is the baseline. --rounds: runs of one variant are repeats of it.",
        call=_compare,
        flags=("--rounds",),
        options=(
            "--baseline",
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
        flags=("--all", "--new", "--measure"),
    ),
}


if __name__ == "__main__":
    main()
