"""`bench workload`: say what a file of requests holds: lengths, arrivals, sharing."""

from __future__ import annotations

from pathlib import Path

from bench.cli.arguments import Arguments
from bench.cli.verb import Verb
from bench.config.compose import options
from bench.values.errors import InputError
from bench.values.json_text import json_text

VERB = Verb(
    usage=("bench workload FILE ... [file_format=SHAPE] [time_unit=s|ms|us|ns] [--json]",),
    more="Found by shape, plain or in .gz or .zst: ShareGPT, OpenAI messages and batches, prompts\n"
    "(vLLM custom, plain text), turns (MT-bench, AIPerf), recorded sessions with tool calls, and\n"
    "traces of Azure, BurstGPT, Mooncake and Bailian. workload.file=FILE sends what it holds.",
    keys=(
        ("file_format=SHAPE", "do not guess: sharegpt, messages, trace, azure, text, …"),
        ("time_unit=s|ms|us|ns", "of a trace's stamps, where its format does not say"),
        ("hash_block_tokens=N", "tokens that a hash id stands for (512 Mooncake, 16 Bailian)"),
    ),
    words="files",
)


def call(arguments: Arguments) -> int:
    """Summarise every file named."""
    from bench.report.console import console
    from bench.report.workload_table import print_workload
    from bench.traffic.workload_summary import summarise
    from bench.values.codec import decode, encode
    from bench.values.spec import WorkloadSpec

    keys: dict[str, object] = {}
    for override in arguments.overrides:
        key, _, value = override.removeprefix("workload.").partition("=")
        if key not in ("file_format", "time_unit", "hash_block_tokens"):
            raise InputError(f"{key!r} is no key of bench workload; see bench workload --help.")
        keys[key] = int(value) if key == "hash_block_tokens" and value.isdigit() else value
    if not arguments.words:
        raise InputError("bench workload takes the name of a file.")
    documents = []
    for name in arguments.words:
        if name in options("workload") and not Path(name).exists():
            raise InputError(
                f"{name} is a workload by its name, workload={name} of a run: bench workload reads "
                "files of requests."
            )
        # The lengths and the SLO of a workload say nothing of its file.
        spec = decode(
            WorkloadSpec,
            {
                "name": "file",
                "input_tokens": 1,
                "output_tokens": 1,
                "slo": {"ttft_ms": 1, "tpot_ms": 1},
                "file": name,
                **keys,
            },
            "workload",
        )
        found = summarise(spec)
        for key in ("time_unit", "hash_block_tokens"):
            if key in keys and found.reading is None:
                raise InputError(
                    f"{key} would have no effect: it is of a trace's lines, and {name} is "
                    f"{found.title}; leave it out."
                )
        documents.append(encode(found))
        if not arguments.as_json:
            print_workload(documents[-1], console())
    if arguments.as_json:
        print(json_text(documents[0] if len(documents) == 1 else documents, indent=2))
    return 0
