"""The load generator against a server of known timing, beside vLLM's own two benchmarks.

    python scripts/instrument_table.py [--rust PATH | --fetch] [ROW ...]

vLLM's client in Rust, `vllm-rs`, lies in its CUDA wheel: --rust names the binary (an installed one
is found), --fetch takes it out of the wheel of PyPI and keeps it in ~/.cache/bench.
The built-in truth server has the first core, the client the second, as on a machine that has no
more. Each row: what each client says it saw, in brackets what the server says it did. CPU counts
the client's process alone, its start-up taken off. The last row starves the client (other processes
keep its core busy): it has to be found out. Exit code 1 when a promise is not kept (they stand in
ROWS) or the client in Rust is ahead.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from asked_help import answer_help

from bench.engines.truth import serve_truth
from bench.measure.checks.client import client_bound
from bench.measure.client_error import cpu_us_per_token
from bench.measure.metrics import measure_all, steady_parts, whole_parts
from bench.traffic import vllm_generator
from bench.traffic.workers import send_load
from bench.traffic.workload import generate
from bench.values.record import LoadPoint, PointData
from bench.values.server import Server
from bench.values.spec import SloSpec, TruthSpec, WorkloadSpec

TINY = Path(__file__).parents[1] / "bench" / "assets" / "models" / "tiny"
CORES = sorted(os.sched_getaffinity(0))
RUST_VERSION = "0.33.0"
SLO = SloSpec(ttft_ms=1e9, tpot_ms=1e9)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One load, and what is promised of it (None: nothing)."""

    name: str
    streams: int
    requests: int
    ttft_ms: float
    itl_ms: float
    ttft_p50_within_ms: float | None = None
    ttft_p99_within_ms: float | None = None
    itl_p50_within_ms: float | None = None
    cpu_us_per_token: float | None = None
    tokens_per_s: float | None = None
    starved: bool = False


ROWS = (
    Row(
        name="100 streams",
        streams=100,
        requests=400,
        ttft_ms=50,
        itl_ms=10,
        ttft_p50_within_ms=1,
        ttft_p99_within_ms=5,
        itl_p50_within_ms=0.2,
        cpu_us_per_token=20,
    ),
    Row(
        name="500 streams", streams=500, requests=1500, ttft_ms=50, itl_ms=10, ttft_p50_within_ms=6
    ),
    Row(
        name="64 streams, no pace",
        streams=64,
        requests=2000,
        ttft_ms=0,
        itl_ms=0,
        tokens_per_s=150_000,
    ),
    Row(
        name="100 streams, starved", streams=100, requests=400, ttft_ms=50, itl_ms=10, starved=True
    ),
)
OUTPUT_TOKENS = 200
HOGS = 4
MOST_CPU = 1.2
"""How many times the processor time of the client in Rust this one may take."""
WORKLOAD = WorkloadSpec(name="table", input_tokens=64, output_tokens=OUTPUT_TOKENS, slo=SLO)


def main() -> int:
    """Run the rows that are named (all by default) with both clients, count broken promises."""
    if len(CORES) < 2:
        print("two cores are needed: one for the server, one for the client", file=sys.stderr)
        return 2
    print(
        f"{'':22}{'client':>16}{'TTFT p50 ms':>18}{'p99':>16}{'ITL p50 ms':>18}"
        f"{'tokens/s':>20}{'requests/s':>18}{'CPU µs/token':>14}"
    )
    words = sys.argv[1:]
    rust = rust_client(words)
    wanted = [row for row in ROWS if not words or row.name in words]
    broken = [text for row in wanted for text in compare(row, rust)]
    for text in broken:
        print(f"PROMISE BROKEN: {text}")
    return 1 if broken else 0


def rust_client(words: list[str]) -> Path | None:
    """vLLM's client in Rust, where it is named, installed, or asked to be fetched; else None."""
    if "--rust" in words:
        at = words.index("--rust")
        path = Path(words[at + 1]).absolute()
        del words[at : at + 2]
        return path
    kept = Path.home() / ".cache" / "bench" / f"vllm-rs-{RUST_VERSION}"
    if "--fetch" in words:
        words.remove("--fetch")
        if not kept.exists():
            fetch_rust(kept)
    found = [Path(p) / "vllm" / "vllm-rs" for p in sys.path] + [kept]
    return next((path for path in found if path.is_file()), None)


def fetch_rust(to: Path) -> None:
    """Take the binary out of vLLM's wheel (336 MB) as pip finds it."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*pip, f"vllm=={RUST_VERSION}", "-d", folder], check=True)
        wheel = next(Path(folder).glob("vllm-*.whl"))
        to.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as packed:
            to.write_bytes(packed.read("vllm/vllm-rs"))
        to.chmod(0o755)


def with_rust(rust: Path, server: Server, row: Row, requests: int) -> tuple[PointData, float]:
    """(what vLLM's client in Rust saw of so many requests, its processor time in seconds)."""
    with tempfile.TemporaryDirectory() as folder:
        words = [str(rust), "bench", "serve", "--backend", "openai", "--model", "truth"]
        words += ["--base-url", server.base_url.removesuffix("/v1"), "--tokenizer", str(TINY)]
        words += ["--dataset-name", "random", "--random-input-len", str(WORKLOAD.input_tokens)]
        words += ["--random-output-len", str(OUTPUT_TOKENS), "--num-prompts", str(requests)]
        words += ["--max-concurrency", str(row.streams), "--prompt-token-ids", "--ignore-eos"]
        words += ["--save-result", "--save-detailed", "--disable-tqdm", "--no-steady-state"]
        words += ["--result-dir", folder, "--result-filename", "r.json"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(words, check=True, capture_output=True, timeout=300)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = json.loads(Path(folder, "r.json").read_text())
    point = LoadPoint(index=0, repeat=0, mode="closed", concurrency=row.streams)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return vllm_generator.observed(result, point, 0), cpu_s


def compare_rust(rust: Path, row: Row) -> dict[str, float]:
    """Print the line of vLLM's client in Rust; its errors."""
    with truth(row) as server:
        _, start_s = with_rust(rust, server, row, 1)
    with truth(row) as server, busy(row.starved):
        data, cpu_s = with_rust(rust, server, row, row.requests)
        log = what_it_did(server)[-row.requests :]
    cpu_us = (cpu_s - start_s) / float(data.chunk_tokens.sum()) * 1e6
    show(row, "vllm-rs", data, log, cpu_us)
    return errors(data, log) | {"cpu_us_per_token": cpu_us}


def compare(row: Row, rust: Path | None) -> list[str]:
    """Print the row's lines; the promises that bench's client did not keep.

    Requests before the load's own are left out: trials whether the server is there.
    """
    with truth(row) as server, busy(row.starved):
        ours = with_bench(server, row)
        log = what_it_did(server)[-row.requests :]
    show(row, "bench", ours, log, cpu_us_per_token(ours))
    broken = kept(row, ours, log)
    if rust is not None and not row.starved:
        broken += behind(row, errors(ours, log), cpu_us_per_token(ours), compare_rust(rust, row))
    with truth(row) as server, busy(row.starved):
        point = LoadPoint(index=0, repeat=0, mode="closed", concurrency=row.streams)
        asked = replace(server, model_path=str(TINY))
        theirs = vllm_generator.run_benchmark(
            asked, point, WORKLOAD, row.requests, seed=0, timeout_s=300
        )
        log = what_it_did(server)[-row.requests :]
    show(row, "vllm benchmark", theirs, log, None)
    return broken


@contextlib.contextmanager
def truth(row: Row) -> Iterator[Server]:
    """The truth server on the first core; what follows in this process has the second."""
    spec = TruthSpec(ttft_ms=row.ttft_ms, itl_ms=row.itl_ms)
    os.sched_setaffinity(0, {CORES[0]})
    with (
        tempfile.TemporaryDirectory() as folder,
        serve_truth(spec, Path(folder), lambda _: None) as server,
    ):
        os.sched_setaffinity(0, {CORES[1]})
        yield server


@contextlib.contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """Other processes that want the client's core all the time."""
    if not wanted:
        yield
        return
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(HOGS)]
    try:
        yield
    finally:
        for process in hogs:
            process.kill()
            process.wait()


def with_bench(server: Server, row: Row) -> PointData:
    """The row's load with bench's own client, one worker."""
    requests = tuple(generate(WORKLOAD, row.requests, seed=(0,), vocab_size=None))
    point = LoadPoint(index=0, repeat=0, mode="closed", concurrency=row.streams)
    return send_load(server, point, requests, timeout_s=300, workers=1)


def what_it_did(server: Server) -> list[dict[str, Any]]:
    """The server's own account of every request, oldest first."""
    url = server.base_url.removesuffix("/v1") + "/truth/log"
    with urllib.request.urlopen(url, timeout=60) as reply:
        log: list[dict[str, Any]] = json.load(reply)
    return sorted(log, key=lambda entry: entry["received_ns"])


def seen(data: PointData) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """TTFT of each request and every gap, in ms, as the client saw them."""
    r = data.requests
    some = r["chunks"] > 0
    ttft = (data.chunk_ns[r["first_chunk"][some]] - r["sent_ns"][some]) / 1e6
    pairs = zip(r["first_chunk"], r["chunks"], strict=True)
    gaps = [np.diff(data.chunk_ns[a : a + n]) / 1e6 for a, n in pairs if n > 1]
    return ttft, np.concatenate(gaps) if gaps else np.zeros(1)


def did(log: list[dict[str, Any]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The same as the server did it."""
    ttft = np.array([(e["stamps_ns"][0] - e["received_ns"]) / 1e6 for e in log if e["stamps_ns"]])
    gaps = np.concatenate([np.diff(e["stamps_ns"]) / 1e6 for e in log])
    return ttft, gaps


def rate(data: PointData) -> float:
    """Tokens per second from the first request sent to the last byte."""
    span_ns = int(data.requests["end_ns"].max() - data.requests["sent_ns"].min())
    return float(data.chunk_tokens.sum()) / span_ns * 1e9


def requests_rate(data: PointData) -> float:
    """Requests per second, over the same time."""
    span_ns = int(data.requests["end_ns"].max() - data.requests["sent_ns"].min())
    return data.count / span_ns * 1e9


def true_rates(log: list[dict[str, Any]]) -> tuple[float, float]:
    """(tokens, requests) per second as the server did them, first receipt to last write."""
    began_ns = min(e["received_ns"] for e in log)
    span_s = (max(e["stamps_ns"][-1] for e in log if e["stamps_ns"]) - began_ns) / 1e9
    return sum(len(e["stamps_ns"]) for e in log) / span_s, len(log) / span_s


def show(
    row: Row, client: str, data: PointData, log: list[dict[str, Any]], cpu: float | None
) -> None:
    """One line: what the client saw, and in brackets what the server did."""
    (ttft, gaps), (true_ttft, true_gaps) = seen(data), did(log)
    p = np.percentile
    true_tokens, true_requests = true_rates(log)
    print(
        f"{row.name:22}{client:>16}"
        f"{p(ttft, 50):>9.2f} ({p(true_ttft, 50):>6.2f})"
        f"{p(ttft, 99):>8.2f} ({p(true_ttft, 99):>5.1f})"
        f"{p(gaps, 50):>9.3f} ({p(true_gaps, 50):>6.3f})"
        f"{rate(data):>10,.0f} ({true_tokens:>7,.0f})"
        f"{requests_rate(data):>9,.1f} ({true_requests:>6,.1f})"
        + (f"{cpu:>14.1f}" if cpu is not None else f"{'–':>14}"),
        flush=True,
    )


def errors(data: PointData, log: list[dict[str, Any]]) -> dict[str, float]:
    """By how much a client's percentiles are off, in ms."""
    (ttft, gaps), (true_ttft, true_gaps) = seen(data), did(log)
    p = np.percentile
    return {
        "ttft_p50_within_ms": float(abs(p(ttft, 50) - p(true_ttft, 50))),
        "ttft_p99_within_ms": float(abs(p(ttft, 99) - p(true_ttft, 99))),
        "itl_p50_within_ms": float(abs(p(gaps, 50) - p(true_gaps, 50))),
    }


def behind(
    row: Row, ours: dict[str, float], cpu: float | None, rust: dict[str, float]
) -> list[str]:
    """Where this client is behind the one in Rust: errors of TTFT (20 µs decide nothing), CPU."""
    found = [
        f"{row.name}: {name.removesuffix('_within_ms')} is {ours[name]:.2f} ms off, "
        f"{rust[name]:.2f} in Rust"
        for name in ("ttft_p50_within_ms", "ttft_p99_within_ms")
        if ours[name] > rust[name] + 0.02
    ]
    if cpu is not None and cpu > MOST_CPU * rust["cpu_us_per_token"]:
        found.append(f"{row.name}: {cpu:.1f} µs/token, {rust['cpu_us_per_token']:.1f} in Rust")
    return found


def kept(row: Row, data: PointData, log: list[dict[str, Any]]) -> list[str]:
    """What was promised of this row and not kept."""
    found = errors(data, log) | {"cpu_us_per_token": cpu_us_per_token(data) or 0.0}
    broken = [
        f"{row.name}: {name} is {value:.2f}, promised {getattr(row, name)}"
        for name, value in found.items()
        if getattr(row, name) is not None and value > getattr(row, name)
    ]
    if row.tokens_per_s is not None and rate(data) < row.tokens_per_s:
        broken.append(f"{row.name}: {rate(data):,.0f} tokens/s, promised {row.tokens_per_s:,.0f}")
    if row.starved and not found_out(data):
        broken.append(f"{row.name}: not marked client-bound")
    return broken


def found_out(data: PointData) -> bool:
    """Whether the certificate withholds this load point's headline as client-bound."""
    parts = steady_parts([data], SLO, 0)
    metrics = measure_all(parts, whole_parts([data], SLO, 0))
    findings = list(client_bound([data], parts, metrics, None, wanted=True))
    for finding in findings:
        if finding.severity in ("fail", "warn"):
            print(f"{'':22}{finding.severity}: {finding.text}")
    return any(finding.severity == "fail" for finding in findings)


if __name__ == "__main__":
    answer_help(__doc__)
    sys.exit(main())
