"""Every mode of an odd server, on completions and chat, against what it is known to do.

    python scripts/odd_sweep.py ODD_SERVER.py [MODE …] [--api chat] [--calibrate]

`ODD_SERVER.py PORT` is a server that is not of this project and takes one behaviour per path prefix
(`mode("NAME", …)` in its text): by default the first of 50 tokens after 30 ms, one more each 5 ms.
64 requests of each mode, 8 in flight, a process of its own for each. Prints a row for each: the
figures shown, how it came out and why; at the end the sums, and exit 1 where one shown is wrong
or a good server is called bad. What it does otherwise than by default stands in TRUTHS and MAY.
"""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from bench.cli.arguments import parse
from bench.cli.composed import run_asked
from bench.config.compose import catalogue, compose
from bench.derive import derive
from bench.run import execute
from bench.values.errors import BenchError
from bench.values.finding import Finding

IN_FLIGHT, REQUESTS, TOKENS = 8, 64, 50
LOAD = (
    f"engine=endpoint engine.served_model=m workload.input_tokens=64 load.repeats=1 "
    f"workload.output_tokens={TOKENS} load.concurrency=[{IN_FLIGHT}] load.requests={REQUESTS}"
).split()
SHOWN = ("output_tokens_per_s", "ttft_p50_ms", "tpot_p50_ms", "itl_p50_ms", "requests_per_s")


def truth(
    ttft_ms: float = 30.0, last_ms: float = 275.0, tokens: float = TOKENS, slots: int = IN_FLIGHT
) -> dict[str, float]:
    """The right figures of a server that ends each answer `last_ms` after it began it."""
    return {
        "output_tokens_per_s": slots * tokens / last_ms * 1e3,
        "requests_per_s": slots / last_ms * 1e3,
        "ttft_p50_ms": ttft_ms,
        "tpot_p50_ms": 5.0,
        "itl_p50_ms": 5.0,
    }


STOPS = truth(last_ms=30 + 37.66 * 5, tokens=38.66)
"""Answers end by themselves after 20 to 60 tokens, 50 at most: 38.66 on average."""
TRUTHS = {
    "nousage_bundle3": truth(40),  # a bundle goes out with its last token
    "final_bundle3": truth(40),
    "cont_bundle3": truth(40),
    "spec": truth(37.5),  # 1 to 4 tokens together
    "prefix_big_field": truth(400, 645),
    "prefix_cache_field": truth(200, 445),
    "prefix_cache_metrics": truth(200, 445),
    "hidden20": truth(130),
    "usage_stall": truth(last_ms=475),
    "queue2": truth(3 * 275 + 30, 275, slots=2),
    "ignores_max": truth(last_ms=30 + 199 * 5, tokens=200),
    "ignore_eos400": STOPS,
    "harmony": STOPS,
}
SLOW = ("longline",)
"""Modes whose server is late by itself: of 200 kB a token it wrote the 50th after 363 ms by its own
clock, not after 275 (2026-11-27). Its schedule is a bound for them, no truth."""
_BUSY = {"client_bound", "client_cpu"}
_FAILS = "failed requests"
_REFUSED = "refused"
_PARTLY = "partly withheld"
MAY: Mapping[str, str] = {
    **dict.fromkeys(("err_mid", "err_mid_detail", "err_mid_detail_final", "err_mid_plain"), _FAILS),
    **dict.fromkeys(("err_first_flat", "rate429", "ping_then_error", "harmony"), _FAILS),
    **dict.fromkeys(("dies", "redirect", "auth", "content_list"), _REFUSED),
    **dict.fromkeys(("nousage_bundle3", "final_bundle3", "wordtok2_nousage"), _PARTLY),
    **dict.fromkeys(("nousage", "batch_ids", "stream_options400", "stream_options500"), _PARTLY),
    **dict.fromkeys(("buffered", "buffered_cont", "coalesce10", "nonstream"), _PARTLY),
    **dict.fromkeys(("hidden20", "lb_metrics", "ignore_eos400", "queue2", "spec"), _PARTLY),
}
"""What may come of a mode besides its right figures."""
OFF = 0.08
"""How far off the truth a figure may be: the server itself is late on a busy machine."""


def main() -> int:
    """The table, and whether anything in it is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("server", type=Path)
    parser.add_argument("modes", nargs="*")
    parser.add_argument("--api", choices=("completions", "chat"))
    parser.add_argument("--calibrate", action="store_true")
    asked = parser.parse_args()
    modes = asked.modes or re.findall(r'^mode\("(\w+)"', asked.server.read_text(), re.M)
    apis = (asked.api,) if asked.api else ("completions", "chat")
    counts: Counter[tuple[str, str]] = Counter()
    print("| mode | api |", " | ".join(SHOWN), "| came out | why |", sep=" ")
    print("|---" * (len(SHOWN) + 4) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for mode in modes:
            for api in apis:
                row, kind = tried(asked.server, mode, api, folder, asked.calibrate)
                counts[api, kind] += 1
                print(f"| {mode} | {api} | {row} |", flush=True)
    for (api, kind), times in sorted(counts.items()):
        print(f"{api}: {kind}: {times}")
    return int(any(kind in ("WRONG", "FALSE ALARM") for _, kind in counts))


@contextmanager
def running(path: Path, mode: str) -> Iterator[str]:
    """The server in a process of its own, and the address of the mode."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(path), str(port)])
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(100):
            try:
                urlopen(f"{url}/plain/stats", timeout=5).close()
                break
            except HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        yield f"{url}/{mode}/v1"
    finally:
        process.kill()
        process.wait()


def tried(path: Path, mode: str, api: str, folder: str, calibrate: bool) -> tuple[str, str]:
    """A mode's row and how it came out; a wrong figure is measured once more, for the server, too,
    may have been late."""
    for attempt in (1, 2):
        with running(path, mode) as url:
            row, kind = outcome(mode, measured(url, api, folder, calibrate))
        if kind not in ("WRONG", "FALSE ALARM", "machine too busy"):
            break
        print(f"(try {attempt}: {mode}, {api}: {row})", file=sys.stderr)
    return row, kind


Result = tuple[Mapping[str, float | None], tuple[Finding, ...]]


def measured(url: str, api: str, folder: str, calibrate: bool) -> Result | BenchError:
    """The figures that are shown and the failures, or the refusal."""
    words = [*LOAD, f"engine.base_url={url}", f"engine.api={api}", f"results_dir={folder}"]
    words += [f"load.calibrate={str(calibrate).lower()}", "engine.start_timeout_s=20"]
    arguments = parse(["run", *words])
    spec = run_asked(compose(arguments.overrides), arguments)
    try:
        run = execute(spec, catalogue(), lambda _: None)
    except BenchError as error:
        return error
    point = derive(run).points[0]
    figures = {n: point.metrics[n].value for n in SHOWN if n in point.metrics}
    return figures, tuple(f for f in point.findings if f.severity == "fail")


def outcome(mode: str, found: Result | BenchError) -> tuple[str, str]:
    """The row's cells and in one word how it came out."""
    if isinstance(found, BenchError):
        kind = _REFUSED if MAY.get(mode) == _REFUSED or "api" in str(found) else "FALSE ALARM"
        return f"{' | '.join('–' for _ in SHOWN)} | {kind} | {str(found)[:160]}", kind
    figures, failures = found
    right = TRUTHS.get(mode, truth())
    off = [n for n, v in figures.items() if v is not None and not _near(v, right[n])]
    hidden = [n for n in SHOWN if figures.get(n) is None]
    codes = {f.code for f in failures}
    if off and mode in SLOW and all(_slower(n, figures[n], right[n]) for n in off):
        kind = "server late"
    elif off:
        kind = "WRONG"
    elif "errors" in codes or (MAY.get(mode) == _FAILS and hidden):
        kind = _FAILS if MAY.get(mode) in (_FAILS, _REFUSED) else "FALSE ALARM"
    elif not hidden:
        kind = "right"
    else:
        kind = _PARTLY if mode in MAY else "FALSE ALARM"
    if kind in ("WRONG", "FALSE ALARM") and codes & _BUSY:
        kind = "machine too busy"  # a server that shares it was late as well
    why = "; ".join(f"{f.code}: {f.text[:90]}" for f in failures)
    cells = " | ".join(_cell(figures.get(n), n in off) for n in SHOWN)
    return f"{cells} | {kind} | {why}", kind


def _slower(name: str, value: float | None, right: float) -> bool:
    """Whether a figure is that of a server slower than its schedule."""
    return value is not None and (value < right if name.endswith("per_s") else value > right)


def _near(value: float, right: float) -> bool:
    return abs(value - right) <= OFF * right + 1.0


def _cell(value: float | None, off: bool) -> str:
    return "withheld" if value is None else f"{'**' * off}{value:.4g}{'**' * off}"


if __name__ == "__main__":
    sys.exit(main())
