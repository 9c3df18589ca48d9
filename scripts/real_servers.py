"""Real servers through `engine=endpoint`, on completions and chat, beside their own counters.

    python scripts/real_servers.py                      # each of OWN with the bundled model
    python scripts/real_servers.py NAME=URL[#MODEL] …   # servers that run already

Prints a Markdown table: tokens that the client saw, that the answers' usage says and that the
server's /metrics counted, for the same requests; docs/servers.md has the commands of the others.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asked_help import answer_help

from bench.cli.arguments import parse
from bench.cli.composed import run_asked
from bench.config.compose import catalogue, compose
from bench.derive import derive
from bench.engines import load_engine
from bench.run import execute
from bench.values.errors import BenchError
from bench.values.finding import Finding
from bench.values.record import OK

OWN = ("vllm", "llamacpp", "transformers")
"""Engines that start on a processor."""

HEAD = (
    "| server | api | requests | client, tokens | usage | /metrics | tok/s | TTFT p50 | ITL p50 | |"
)
LOAD = (
    "workload.input_tokens=64 workload.output_tokens=50 load.concurrency=[4] load.requests=32 "
    "load.repeats=1 load.calibrate=false engine=endpoint engine.start_timeout_s=300 "
    "load.request_timeout_s=300"
).split()


def main() -> int:
    """Every server on both interfaces."""
    print(HEAD, "|---" * 10 + "|", sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 1:
            for word in sys.argv[1:]:
                name, _, url = word.partition("=")
                show(name, url, folder)
        else:
            for kind in OWN:
                try:
                    with own(kind, Path(folder)) as url:
                        show(kind, url, folder)
                except BenchError as error:
                    print(f"| {kind} | – | {error} |", flush=True)
    return 0


@contextmanager
def own(kind: str, folder: Path) -> Iterator[str]:
    """An engine with the bundled model, on a log of its own."""
    arguments = parse(["run", f"engine={kind}", "model=tiny", f"checkpoints_dir={folder}"])
    spec = run_asked(compose(arguments.overrides), arguments)
    logs = folder / kind
    logs.mkdir()
    with load_engine(kind).serve(spec, logs, lambda _: None) as server:
        yield server.base_url


def show(name: str, url: str, folder: str) -> None:
    """A row for each interface."""
    url, _, model = url.partition("#")
    named = [f"engine.served_model={model}"] if model else []
    for api in ("completions", "chat"):
        words = [*LOAD, *named, f"engine.base_url={url}", f"engine.api={api}"]
        words.append(f"results_dir={folder}")
        arguments = parse(["run", *words])
        spec = run_asked(compose(arguments.overrides), arguments)
        try:
            run = execute(spec, catalogue(), lambda _: None)
        except BenchError as error:
            print(f"| {name} | {api} | {error} |")
            continue
        point, data = derive(run).points[0], run.points[0]
        good = data.requests["outcome"] == OK
        usage = data.requests["usage_completion_tokens"][good]
        counted = data.counted("generation_tokens_total")
        cells = [
            f"{int(good.sum())} of {data.count}",
            f"{int(data.chunk_tokens.sum()):,}",
            f"{int(usage.sum()):,}" if (usage >= 0).all() else "–",
            "–" if counted is None else f"{counted:,.0f}",
            *(
                "withheld" if m.value is None and m.withheld_value is not None else _plain(m.value)
                for m in map(point.metrics.get, FIGURES)
                if m is not None
            ),
            _words(run.server or {}, point.findings),
        ]
        print(f"| {name} | {api} | {' | '.join(cells)} |", flush=True)


def _words(server: Mapping[str, Any], findings: Sequence[Finding]) -> str:
    """What was left out, and what was withheld for which reason."""
    failed = sorted({_failure(f) for f in findings if f.severity == "fail"})
    left_out = [f"without {str(what).partition(' (')[0]}" for what in server.get("left_out") or ()]
    return "; ".join([*left_out, *(f"withheld: {what}" for what in failed)])


def _failure(found: Finding) -> str:
    share = found.figure is not None and found.unit == "1"
    return f"{found.code} ({found.figure:+.1%})" if share else found.code


FIGURES = ("output_tokens_per_s", "ttft_p50_ms", "itl_p50_ms")


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    answer_help(__doc__)
    sys.exit(main())
