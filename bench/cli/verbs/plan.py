"""`bench plan`: say which deployments serve a demand at least cost, and what to measure first."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.ask.costs import book_rows, cost_question, full_keys, trace_of
from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.unread import check_read
from bench.cli.verb import Verb
from bench.config.compose import catalogue, compose, run_spec, split_results_dir
from bench.values.errors import InputError, nearest
from bench.values.json_text import json_text

if TYPE_CHECKING:
    from bench.config.catalogue import Catalogue
    from bench.money.spec import TcoRequest
    from bench.predict.question import Question

LISTED = ("model", "quant", "gpu", "gpus")
COSTS = ("tco", "prices", "power")
MOST = 60

VERB = Verb(
    usage=("bench plan model=A,B [quant=A,B] gpu=A,B [gpus=1,2] [tco.demand.…=…] [workload=NAME]",),
    more="Every combination that fits is predicted (docs/predict.md) and costed as bench tco does.",
    keys=(
        ("model=A,B", "candidate models; so quant=, gpu= and gpus= (of one replica)"),
        ("tco.demand.mtok_per_month=N", "M tokens a month, prompts and answers together"),
        ("tco.demand.trace=FILE", "or a typical week, hour by hour"),
        ("workload=NAME", "how long prompts and answers are, and the SLO that must hold"),
        ("workload.slo.ttft_ms=X", "the SLO's limits; workload.slo.tpot_ms=X"),
        ("prices=NAME", "the price book; so tco= and power= as in bench tco"),
        keys.RESULTS_DIR,
    ),
)


def call(arguments: Arguments) -> int:
    """Cost every candidate that fits and print the plan."""
    from bench.money.prices.book import select
    from bench.predict.own import kept
    from bench.predict.plan import plan

    if not any(key.partition(".")[0] == "model" for key in arguments.typed_keys):
        raise InputError("name the candidate models: model=NAME, or model=NAME,NAME.")
    results_dir, overrides = split_results_dir(arguments.overrides)
    costs = [o for o in overrides if _group(o) in COSTS]
    _check_question(arguments.typed_keys)
    _check_whole(arguments)
    request = cost_question(costs, arguments.config_dirs)
    if request.tco.basis == "api":
        raise InputError(
            f"tco={request.tco.name} asks about APIs alone (basis: api), and a plan is of servers: "
            "bench tco answers it."
        )
    left_out: list[str] = []
    asked = list(candidates(arguments, overrides, left_out))
    if not asked:
        more = "" if "gpus" in arguments.typed_keys else " Name GPUs of a replica: gpus=2,4,8,16."
        raise InputError(f"no candidate fits: {'; '.join(left_out[:3])}.{more}")
    held = select(book_rows(request.prices), request.prices.as_of)
    found = plan(asked, request, held, trace_of(request), kept(results_dir), left_out)
    typed = list(costs)
    if not any(o.startswith(("tco=", "tco.server")) for o in typed):
        server = request.tco.server  # a throughput is taken with its server's name alone
        typed += [f"tco.server.gpu={server.gpu}", f"tco.server.gpus={server.gpus}"]
    folders = [word for folder in arguments.config_dirs for word in ("--config-dir", folder)]
    show(found, asked[0][0], request, [*typed, *folders], as_json=arguments.as_json)
    return 0


def _check_question(typed: frozenset[str]) -> None:
    """InputError for a key of a cost question that a plan answers itself: it would be dropped."""
    for key in sorted(typed):
        if key.startswith("tco.throughput"):
            raise InputError(f"{key}: bench plan predicts the throughput: leave {key} out.")
        if key == "tco.basis":
            raise InputError(
                "tco.basis: a plan sets renting on demand, owning and the APIs beside each other: "
                "leave tco.basis out; bench tco answers for one of them."
            )


def _check_whole(arguments: Arguments) -> None:
    """InputError for a key of the cost question that was typed without its groups."""
    alone = [k for k in sorted(arguments.typed_keys) if "." not in k and k not in (*LISTED, *COSTS)]
    known = compose((), arguments.config_dirs) if alone else {}
    for key in (k for k in alone if k not in known):
        if whole := full_keys(key, compose((), arguments.config_dirs, "cost")):
            raise InputError(f"Unknown key {key!r}. Did you mean {' or '.join(whole)}?")


def _group(override: str) -> str:
    return override.partition("=")[0].lstrip("+~").partition(".")[0]


def _chosen(key: str, name: str, known: Catalogue) -> Any:
    """What a candidate's word stands for; InputError with the nearest valid name."""
    if key == "gpus":
        if not name.isdigit() or int(name) < 1:
            raise InputError(f"gpus={name}: a candidate's GPUs are a whole number from 1.")
        return int(name)
    options: Mapping[str, Any] = getattr(known, f"{key}s")
    if name not in options:
        raise InputError(f"{key}={name}: there is no such {key}.{nearest(name, options)}")
    return options[name]


def candidates(
    arguments: Arguments, overrides: tuple[str, ...] | list[str], left_out: list[str]
) -> Iterator[tuple[Question, tuple[str, ...]]]:
    """Every combination of the listed keys that fits, as a question with the words to type."""
    from bench.predict.question import question
    from bench.preflight import for_planning, resolve
    from bench.sizing.fit import fit

    plain = [o for o in overrides if _group(o) not in COSTS]
    lists = {k: v.split(",") for k, _, v in (o.partition("=") for o in plain) if k in LISTED}
    rest = [o for o in plain if o.partition("=")[0] not in LISTED]
    lists.setdefault("gpus", ["1"])
    every = list(itertools.product(*lists.values()))
    if len(every) > MOST:
        raise InputError(f"{len(every)} combinations are too many: name at most {MOST}.")
    known = catalogue(arguments.config_dirs)
    # Composed once, with the first of each list: composing takes longer than predicting.
    first = [f"{k}={v}" for k, v in zip(lists, every[0], strict=True)]
    base = run_spec(compose([*first, *rest], arguments.config_dirs), detect_gpus=False)
    check_read("plan", base, arguments.typed_keys)
    typed = arguments.typed_keys | {"gpus"}
    base = resolve(for_planning(base, typed, known), typed, known)
    for values in every:
        words = [f"{k}={v}" for k, v in zip(lists, values, strict=True)]
        chosen = {k: _chosen(k, v, known) for k, v in zip(lists, values, strict=True)}
        spec = replace(base, **chosen)
        one = replace(spec.load, mode="closed", concurrency=(1,), rate_per_s=())
        report = fit(replace(spec, load=one))
        if report.fits:
            yield question(spec), (*words, *rest)
        else:
            left_out.append(f"{' '.join(words)}: {report.reasons[0]}")


def show(
    found: object, asked: Question, request: TcoRequest, costs: Sequence[str], *, as_json: bool
) -> None:
    """Print the plan; `costs` are the words for the question of costs."""
    from bench.predict.plan import Plan
    from bench.report.console import console
    from bench.report.plan_table import print_plan
    from bench.values.figure import figure

    assert isinstance(found, Plan)
    if as_json:
        print(json_text(found))
        return
    w, demand = asked.spec.workload, request.tco.demand
    volume = "trace" if demand.trace else f"{figure(demand.mtok_per_month or 0.0).value:,.0f} M"
    title = (
        f"{volume} tokens a month, {w.name} ({asked.input_tokens:,.0f} in, "
        f"{asked.output_tokens:,.0f} out), TTFT ≤ {w.slo.ttft_ms:g} ms, TPOT ≤ {w.slo.tpot_ms:g} ms"
    )
    print_plan(found, console(), title, costs)
