"""Every reader of what comes from outside, with a sound sample each: what the fuzzing starts from.

A reader takes bytes and returns, or raises one of its own errors. Anything else that escapes is a
traceback that a user would see.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from misbehaving import END, HEAD, event
from point_support import even, point

from bench.claims.load import claims_of
from bench.config.compose import compose, conf_dir, run_spec
from bench.config.yaml_file import load
from bench.derive import derive
from bench.engines.failures import classify
from bench.engines.log import parse_engine_log
from bench.meters.engine_stats import parse as parse_metrics
from bench.models.model_config import read_config
from bench.money.demand import trace_demand
from bench.money.prices.tables import read_prices
from bench.report.document import summary
from bench.report.terminal import print_run
from bench.store import create_run_dir, load_run, save_point, save_run
from bench.traffic.workload_file import check
from bench.values.codec import decode
from bench.values.errors import BenchError
from bench.values.outside import plain, text_file
from bench.values.record import Anchor, Run
from bench.values.redact import redacted_text
from bench.values.spec import ModelSpec, SloSpec, WorkloadSpec
from bench.web import http
from bench.web.sse import read_body
from bench.web.tokens import tokens_of

Read = Callable[[bytes, Path], object]


@dataclass(frozen=True)
class Reader:
    """A reader by name, its samples, and what it may raise."""

    name: str
    read: Read
    samples: tuple[bytes, ...]
    raises: tuple[type[Exception], ...] = (BenchError,)


def answer(data: bytes, _: Path) -> object:
    """A response as the load generator reads it, from the head to the tokens."""
    found = http.frame(data, closed=True)
    return None if found is None else tokens_of(read_body(found.body(data), ended=True))


def stored(data: bytes, folder: Path) -> object:
    """run.json replaced; read, derived and summed up as `bench runs` does."""
    (folder / "run.json").write_bytes(data)
    run = load_run(folder)
    return shown(run)


def shown(run: Run) -> object:
    """Derived, summed up as `bench runs` does, and printed as `bench show` does."""
    measurement = derive(run)
    with contextlib.redirect_stdout(io.StringIO()):
        print_run(run, measurement)
    return summary(run, measurement)


def stored_point(data: bytes, folder: Path) -> object:
    """A load point's point.json replaced."""
    next(folder.glob("points/*/point.json")).write_bytes(data)
    run = load_run(folder)
    return shown(run)


def telemetry(data: bytes, folder: Path) -> object:
    """The meters' trace of a run replaced."""
    (folder / "telemetry").mkdir(exist_ok=True)
    (folder / "telemetry" / "power.jsonl").write_bytes(data)
    run = load_run(folder)
    return shown(run)


def _file(data: bytes, folder: Path, name: str) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def claims(data: bytes, folder: Path) -> object:
    """A claim file."""
    path = _file(data, folder, "claim.yaml")
    return claims_of("claim", load(path), str(path))


def model_yaml(data: bytes, folder: Path) -> object:
    """A model of a --config-dir."""
    return decode(ModelSpec, load(_file(data, folder, "model.yaml")), "model.yaml")


def workload(data: bytes, folder: Path) -> object:
    """A workload or trace, format guessed."""
    file = str(_file(data, folder, "workload.jsonl"))
    slo = SloSpec(ttft_ms=1000, tpot_ms=100)
    check(WorkloadSpec(name="w", input_tokens=8, output_tokens=8, slo=slo, file=file))
    return None


def prices(data: bytes, folder: Path) -> object:
    """A price table of any kind."""
    path = str(_file(data, folder, "prices.csv"))
    return read_prices(text_file(path, "prices"), path, as_of="2026", provider="x")


def demand(data: bytes, folder: Path) -> object:
    """A week of demand."""
    path = str(_file(data, folder, "demand.csv"))
    return trace_demand(text_file(path, "tco").splitlines(), path)


def config(data: bytes, folder: Path) -> object:
    """A checkpoint's config.json."""
    return read_config(_file(data, folder, "config.json"))


def log(data: bytes, _: Path) -> object:
    """An engine's log: its facts, and why it ended."""
    text = data.decode(errors="replace")
    return parse_engine_log(text), classify(text, 1)


def metrics(data: bytes, _: Path) -> object:
    """A Prometheus page."""
    return parse_metrics(data.decode("utf-8", "replace"))


def text(data: bytes, _: Path) -> object:
    """Text to be shown: nothing in it moves a cursor."""
    shown = plain(redacted_text(data.decode(errors="replace")))
    assert not any(c < " " and c not in "\t\n" for c in shown)
    return shown


RESPONSE = HEAD + event(" a") + event(" b") + END
METRICS = (
    b"# TYPE vllm:generation_tokens_total counter\n"
    b'vllm:generation_tokens_total{model_name="m"} 17.0\n'
    b'vllm:cache_config_info{block_size="16"} 1.0\nprocess_start_time_seconds 1.7e9\n'
)
LOG = (
    b"(EngineCore pid=7) INFO 01-02 03:04:05 [core.py:1] GPU KV cache size: 12,345 tokens\n"
    b"ERROR 01-02 03:04:05 [x.py:2] torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB\n"
)
TRACE = (
    b'{"arrival_s": 0, "input_tokens": 5, "output_tokens": 6}\n'
    b'{"arrival_s": 1.5, "input_tokens": 5, "output_tokens": 6}\n'
)
CHAT = (
    b'{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}\n'
    b'{"conversations": [{"from": "human", "value": "c"}], "output_tokens": 7}\n'
)
CSV = b"provider,model,kind,usd,as_of,source\np,m,input,1.5,2026-01-02,http://x\n"
LITELLM = json.dumps(
    {"gpt-x": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "mode": "chat"}}
).encode()
WEEK = b"hour,input_tokens,output_tokens\n" + b"".join(b"%d,5,6\n" % h for h in range(168))
CONFIG = json.dumps(
    {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 99}
).encode()


def _own(name: str) -> bytes:
    return (conf_dir() / name).read_bytes()


def readers(run: Path) -> tuple[Reader, ...]:
    """All of them; `run` is the folder of a stored run, whose files are samples too."""
    record = (run / "run.json").read_bytes()
    of_point = next(run.glob("points/*/point.json")).read_bytes()
    return (
        Reader("HTTP and SSE", answer, (RESPONSE,), (http.MalformedError,)),
        Reader("metrics", metrics, (METRICS,), ()),
        Reader("run.json", stored, (record,)),
        Reader("point.json", stored_point, (of_point,)),
        Reader("telemetry", telemetry, (POWER,)),
        Reader("claims", claims, (_own("claims/tiny.yaml"),)),
        Reader("model YAML", model_yaml, (_own("model/tiny.yaml"),)),
        Reader("workload", workload, (TRACE, CHAT)),
        Reader("prices", prices, (CSV, LITELLM)),
        Reader("demand", demand, (WEEK,)),
        Reader("config.json", config, (CONFIG,)),
        Reader("engine log", log, (LOG,), ()),
        Reader("text", text, (b"a \x1b[31mred\x1b]0;t\x07 sk-abcdefghijklmnop\n",), ()),
    )


POWER = b"""{"k": "header", "source": "synthetic"}
{"k": "power_mw", "d": 0, "t": 1000, "v": 250000}
"""


ERRORS = {f"{what}_error_{q}_ms": 0.01 for what in ("ttft", "itl") for q in ("p50", "p99")}
TRIED = (
    {"rung": 3, "load": 4.0, "repeats": 2, "verdict": "holds", "requests": 20},
    {"rung": 4, "load": 5.0, "repeats": 2, "verdict": "fails", "requests": 20},
)
SEEN = {"criterion": "queue growth", "margin": 0.1, "low": None, "high": None}
SEEN |= {"seen": {"queue_growth_per_s": 0.5, "completed_per_s": 4.0}}
FREE = {
    "server": {
        **{"served_model": "m", "models": ["m"], "left_out": ["a seed"], "answers_as": "n"},
        **{"pid": 7, "client_cores": [1], "argv": ["a"], "listener_pids": [8], "node_pids": [9]},
    },
    "engine_facts": {"device": "cpu", "quantisation_kernels": ["a"], "lines": ["a"]},
    "calibration": {**ERRORS, "by_load": {"0": ERRORS}},
    "writer": {"pid": 7, "boot": "b"},
    "load_search": {
        **{"objective": "saturate", "over": "rate", "criteria": "it keeps up", "resolution": 0.2},
        **{"repeats": 2, "complete": True, "found": 4.0, "found_index": 0, "not_holding": 5.0},
        **{"monotone": True, "tried": [t | SEEN for t in TRIED], "order": [4, 3]},
        **{"requests": 40, "grid_requests": 80, "grid_share": 0.5},
    },
}
"""What a run stores as free mappings."""


@contextmanager
def place() -> Iterator[Path]:
    """The folder of a stored run with one load point, to be damaged."""
    root = Path(tempfile.mkdtemp(prefix="bench-fuzz-"))
    try:
        spec = run_spec(compose(["engine=truth", "gpus=0", f"results_dir={root}"]))
        path = create_run_dir(spec)
        save_point(path, point(even(12)))
        anchor = Anchor(monotonic_ns=0, wall_iso="2026")
        save_run(path, Run(spec=spec, anchor=anchor, status="complete", **FREE))  # type: ignore[arg-type]
        yield path
    finally:
        shutil.rmtree(root, ignore_errors=True)


def once(reader: Reader, data: bytes, run: Path) -> bool:
    """Read it once; whether it was refused. Whatever else escapes goes through."""
    record = run / "run.json"
    of_point = next(run.glob("points/*/point.json"))
    sound = record.read_bytes(), of_point.read_bytes()
    try:
        reader.read(data, run)
    except reader.raises:
        return True
    finally:
        record.write_bytes(sound[0])
        of_point.write_bytes(sound[1])
        shutil.rmtree(run / "telemetry", ignore_errors=True)
    return False
