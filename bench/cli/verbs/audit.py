"""`bench audit`: put another tool's result to the checks of a run; say what can be trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.verb import Flag, Verb
from bench.values.errors import InputError, nearest
from bench.values.json_text import json_text

if TYPE_CHECKING:
    from bench.config.catalogue import Catalogue
    from bench.foreign.result import Result
    from bench.values.finding import Finding
    from bench.values.record import Run

IMPORTED = ("vllm", "sglang", "guidellm", "aiperf")

VERB = Verb(
    usage=("bench audit FILE ... [--import] [model=NAME gpu=NAME gpus=N] [--json]",),
    more="Reads results of vLLM's (Python and Rust) and SGLang's benchmarks (--save-detailed),\n"
    "GuideLLM (benchmarks.json), AIPerf (its folder), inference-perf, InferenceX and MLPerf\n"
    "(mlperf_log_summary.txt, summary_results.json). Where raw data is there, every figure is\n"
    "computed again and passes the checks of a run; figures alone are held to each other.",
    keys=(
        ("model=NAME", "what was served; with gpu= and gpus= the physical bound is checked, too"),
        ("gpu=NAME gpus=N", "what it was served on"),
        keys.RESULTS_DIR,
    ),
    flags=(Flag(name="--import", what="keep them as runs, under their tool's name"),),
    words="files",
)


def call(arguments: Arguments) -> int:
    """Audit every file named; each of its load points by itself."""
    from bench.derive import measure_point
    from bench.foreign.audit import audit, for_measuring
    from bench.foreign.read import results
    from bench.report.audit_table import audit_document, print_audit
    from bench.report.console import console

    if not arguments.words:
        raise InputError("bench audit takes a result of another tool: bench audit FILE.")
    documents: list[dict[str, Any]] = []
    for name in arguments.words:
        for found in results(name):
            run = _run_of(found, arguments)
            data = for_measuring(found)
            measured = None if run is None or data is None else measure_point(run, [data])
            if data is None:  # measuring looks at the bound itself
                found = replace(found, found=(*found.found, *_bound(found, arguments)))
            document = audit_document(audit(found, measured))
            if "--import" in arguments.flags:
                document["stored"] = _stored(found, run)
            documents.append(document)
            if not arguments.as_json:
                print_audit(document, console())
    if arguments.as_json:
        print(json_text(documents, indent=2))
    return 0


def _bound(found: Result, arguments: Arguments) -> Iterator[Finding]:
    """Its rates against the hardware, by the words that were typed or else by its own."""
    from bench.claims.of_summary import bound_findings, conditions_of
    from bench.config.compose import catalogue

    own = found.conditions
    nodes, each = own.get("nodes") or 1, own.get("gpus_per_node") or own.get("tp")
    said = {
        "model": own.get("model"),
        "gpu": own.get("accelerator") or own.get("hw"),
        "gpus": nodes * each if isinstance(each, int) and isinstance(nodes, int) else None,
        "quant": own.get("precision"),
        "engine": own.get("framework") or own.get("engine"),
        "speculative": own.get("spec_decoding"),
        "scenario": own.get("scenario") or own.get("Scenario"),
        "concurrency": found.point.concurrency,
    }
    every = catalogue(arguments.config_dirs)
    said |= _typed(arguments, every)
    known = {"input_tokens": own.get("isl"), "output_tokens": own.get("osl"), **found.known}
    lengths = {k: float(v) for k, v in known.items() if isinstance(v, (int, float))}
    yield from bound_findings(found.claims, conditions_of(said, lengths, every), every)


def _typed(arguments: Arguments, every: Catalogue) -> dict[str, str]:
    """What was typed of a summary; InputError for a name that the catalogue does not have."""
    names = {"model": every.models, "gpu": every.gpus, "quant": every.quants}
    said: dict[str, str] = {}
    for override in arguments.overrides:
        key, _, value = override.partition("=")
        if key == "results_dir":
            continue
        if key not in (*names, "gpus"):
            known = (*names, "gpus", "results_dir")
            raise InputError(f"{key!r} says nothing of a summary.{nearest(key, known)}")
        if key in names and value not in names[key]:
            raise InputError(f"{key}={value} is not known.{nearest(value, names[key])}")
        if key == "gpus" and not value.isdecimal():
            raise InputError(f"gpus={value} is no number of GPUs.")
        said[key] = value
    return said


def _run_of(found: Result, arguments: Arguments) -> Run | None:
    """The result as a run of an endpoint by another client; None where it has no raw data."""
    from bench.config.compose import compose, run_spec
    from bench.host.provenance import anchor
    from bench.values.record import Run

    if found.data is None or found.tool not in IMPORTED:
        return None
    point = found.point
    words = [*arguments.overrides, "engine=endpoint", f"load.generator={found.tool}"]
    words += _workload(found, arguments)
    typed = {o.partition("=")[0].partition(".")[0] for o in arguments.overrides}
    model = re.sub(r"[^\w./-]+", "-", str(found.conditions.get("model") or "unnamed"))
    if "model" not in typed:
        words.append(f"model.name='{found.tool}-{model}'")
    if point.mode == "closed":
        words += ["load.mode=closed", f"load.concurrency=[{point.concurrency}]"]
    elif point.rate_per_s is not None:
        words += ["load.mode=open", f"load.rate_per_s=[{point.rate_per_s}]"]
    else:
        words += ["load.mode=open", "load.rate_per_s=[1]"]
    if not any(w.startswith("gpus=") for w in arguments.overrides):
        words.append("gpus=0")
    spec = run_spec(compose((*words, "load.repeats=1"), arguments.config_dirs))
    told = {"tool": found.tool, "version": found.version, "file": Path(found.file).name}
    said = sorted(typed & {"model", "quant", "gpu", "gpus"})
    return Run(
        spec=spec,
        anchor=anchor(),
        provenance={"imported": {**told, "said": said, "conditions": dict(found.conditions)}},
        server={
            "served_model": str(found.conditions.get("model") or "a model that is not named"),
            "base_url": f"a server measured by {found.tool} {found.version or ''}".rstrip(),
        },
        status="complete",
        points=(found.data,),
    )


def _workload(found: Result, arguments: Arguments) -> list[str]:
    """The lengths that the file shows, as the run's workload; the SLO is that of a short chat."""
    import numpy as np

    if found.data is None or any(w.startswith("workload") for w in arguments.overrides):
        return []
    r = found.data.requests
    asked = r["requested_tokens"][r["requested_tokens"] > 0]
    came = r["usage_completion_tokens"][r["usage_completion_tokens"] > 0]
    prompts = r["input_tokens"][r["input_tokens"] > 0]
    answers = asked if len(asked) else came
    middle = [int(np.median(n)) if len(n) else 1 for n in (prompts, answers)]
    said = "medians of the file" if len(asked) else "medians of what came: the file says no more"
    return [
        "workload=chat-short",
        f"workload.name=imported-{found.tool}",
        f"workload.input_tokens={middle[0]}",
        f"workload.output_tokens={middle[1]}",
        f"workload.source='{said}'",
    ]


def _stored(found: Result, run: Run | None) -> str | None:
    """Where the result was kept as a run; None, as a run is raw data and it has none."""
    from bench.store import create_run_dir, save_point, save_run

    if run is None or found.data is None:
        return None
    path = create_run_dir(run.spec)
    save_point(path, found.data)
    save_run(path, run)
    return str(path)
