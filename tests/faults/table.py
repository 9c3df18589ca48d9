"""The fault table as code: what is done to bench, and what it promises then.

Each fault is a function that does it for real (a socket that is reset, a file that is damaged, a
server that dies) and asserts the promise. `point` is the number of the kind: 1 connections,
2 engine death, 3 stored runs, 4 metrics and probes, 5 names, 6 secrets, 7 escape sequences,
8 streams and signals, 9 inputs, 10 messages. The tests run them all, scripts/fault_table.py prints
them.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from misbehaving import END, HEAD, Misbehave, Serve, event, outcomes, request, shoot
from point_support import even, point
from said import bench, refused

from bench.cli.summaries import summaries
from bench.cli.verbs.runs import derived
from bench.config.compose import compose, run_spec
from bench.meters import engine_stats
from bench.store import create_run_dir, load_run, save_point, save_run
from bench.values.errors import StoreError
from bench.values.outside import plain
from bench.values.record import Anchor, Run


@dataclass(frozen=True)
class Place:
    """What a fault may use: an empty folder, and servers that misbehave."""

    folder: Path
    misbehave: Misbehave


@dataclass(frozen=True)
class Fault:
    """One fault, and the promise that is kept."""

    point: int
    name: str
    promise: str
    do: Callable[[Place], None]


FAULTS: list[Fault] = []
RESET = struct.pack("ii", 1, 0)
TRUTH = ("engine=truth", "gpus=0", "meter=none", "load.calibrate=false", "load.repeats=1")
FIT = ("fit", "model=tiny", "gpu=h100-sxm", "gpus=1")
TWO = "one line, exit 2"


def fault(number: int, name: str, promise: str) -> Callable[[Callable[[Place], None]], None]:
    """Put a function into the table."""

    def add(do: Callable[[Place], None]) -> None:
        FAULTS.append(Fault(number, name, promise, do))

    return add


# ------------------------------------------------------------------- 1 connections


def ends_as(serve: Serve, outcome: str, timeout_s: float = 20.0) -> Callable[[Place], None]:
    """Six requests to such a server all end as `outcome`, long before the deadline."""

    def do(place: Place) -> None:
        began_s = time.monotonic()
        data = shoot(place.misbehave(serve), count=6, slots=2, timeout_s=timeout_s)
        assert outcomes(data) == [outcome] * 6, outcomes(data)
        if outcome != "timeout":
            assert time.monotonic() - began_s < timeout_s, "only the deadline ended it"

    return do


def answering(*parts: bytes, reset: bool = False, wait_s: float = 0.0) -> Serve:
    """Answers every request with these parts, then closes or resets."""

    def serve(c: socket.socket, _: int) -> None:
        request(c)
        for part in parts:
            c.sendall(part)
            time.sleep(wait_s)
        if reset:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    return serve


WHOLE = event("a") + event("b") + event("c") + event("d")
FAILS = b'data: {"error": {"message": "no", "code": 500}}\n\n'
CONNECTIONS: dict[str, tuple[Serve, str]] = {
    "reset right behind data": (answering(HEAD + event("a"), reset=True), "connection"),
    "reset behind the head": (answering(HEAD, reset=True), "connection"),
    "reset behind many chunks": (answering(HEAD + event("a") * 500, reset=True), "connection"),
    "reset a moment after data": (
        answering(HEAD + event("a"), reset=True, wait_s=0.02),
        "connection",
    ),
    "reset before any byte": (answering(reset=True), "connection"),
    "reset behind a whole answer": (answering(HEAD + WHOLE + END, reset=True), "ok"),
    "closed in mid-stream": (answering(HEAD + event("a")), "connection"),
    "closed in the middle of a chunk": (answering(HEAD + event("a")[:-9]), "connection"),
    "closed in the head": (answering(HEAD[:40]), "connection"),
    "no HTTP at all": (answering(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "malformed"),
    "a chunk of negative size": (answering(HEAD + b"-5\r\nabc\r\n"), "malformed"),
    "a chunk of 2^64 bytes": (answering(HEAD + b"1" + b"0" * 17 + b"\r\n"), "malformed"),
    "an error in the stream": (
        answering(HEAD + b"%x\r\n%s\r\n0\r\n\r\n" % (len(FAILS), FAILS)),
        "server_error",
    ),
}
for _name, (_serve, _outcome) in CONNECTIONS.items():
    fault(1, _name, f"ends as {_outcome} at once, its slot is free")(ends_as(_serve, _outcome))


@fault(1, "silence", "ends at the deadline")
def _(place: Place) -> None:
    def serve(c: socket.socket, _: int) -> None:
        request(c)
        time.sleep(9)

    ends_as(serve, "timeout", 0.4)(place)


@fault(1, "one byte at a time", "ends at the deadline, however alive it looks")
def _(place: Place) -> None:
    def serve(c: socket.socket, _: int) -> None:
        request(c)
        c.sendall(HEAD)
        for byte in event("a") * 50:
            c.sendall(bytes([byte]))
            time.sleep(0.01)

    ends_as(serve, "timeout", 0.4)(place)


# ------------------------------------------------------------------- 3 stored runs


def stored(folder: Path, **changes: object) -> Path:
    """A complete run of one load point."""
    spec = run_spec(compose(["engine=truth", "gpus=0", f"results_dir={folder}"]))
    path = create_run_dir(spec)
    save_point(path, point(even(12)))
    given: dict[str, object] = {"status": "complete", **changes}
    save_run(path, Run(spec=spec, anchor=Anchor(monotonic_ns=0, wall_iso="2026"), **given))  # type: ignore[arg-type]
    return path


def damaged_run(name: str, content: bytes) -> Callable[[Place], None]:
    """One file of one run replaced: that run is listed with why, the other as ever."""

    def do(place: Place) -> None:
        good, bad = stored(place.folder), stored(place.folder)
        target = next(bad.glob(name), bad / name)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
        rows = {r["run"]: r for r in summaries(str(place.folder), derived)}
        assert rows[str(good)]["status"] == "complete"
        assert "unreadable" in rows[str(bad)], "the damage is not told"
        listed = bench("runs", f"results_dir={place.folder}")
        assert listed.code == 0
        assert "unreadable" in listed.out
        refused(bench("show", str(bad), f"results_dir={place.folder}"), 1, bad.name)

    return do


RECORDS = {
    "empty": b"",
    "half of it": b'{"schema_version": 1, "spec": {"mod',
    "a list": b"[]",
    "null": b"null",
    "a newer schema": b'{"schema_version": 99}',
    "no schema": b"{}",
    "another shape": b'{"schema_version": 1, "spec": 7}',
    "no text": b"\x00\xff\xfe",
    "a hundred thousand brackets": b"[" * 100_000,
    "a number of 5,000 digits": b'{"schema_version": ' + b"9" * 5000 + b"}",
}
for _name, _content in RECORDS.items():
    fault(3, f"run.json is {_name}", "listed with why, hides no other run")(
        damaged_run("run.json", _content)
    )
for _name, _file, _content in (
    ("point.json is empty", "points/*/point.json", b""),
    ("point.json lacks its errors", "points/*/point.json", b'{"point": {}}'),
    ("requests.parquet is cut off", "points/*/requests.parquet", b"PAR1"),
    ("chunks.parquet is empty", "points/*/chunks.parquet", b""),
    ("telemetry is no text", "telemetry/power.jsonl", b"\xff\xfe\n"),
    ("telemetry is of another shape", "telemetry/power.jsonl", b'{"k": 7}\n[]\n'),
):
    fault(3, _name, "listed with why, hides no other run")(damaged_run(_file, _content))


@fault(3, "summary.json is damaged", "derived anew")
def _(place: Place) -> None:
    path = stored(place.folder)
    for content in ("", "[]", '{"of": 1}', "[" * 100_000):
        (path / "summary.json").write_text(content)
        assert summaries(str(place.folder), derived)[0]["status"] == "complete"


@fault(3, "a run's folder lost its points", "said, not raised")
def _(place: Place) -> None:
    import shutil

    path = stored(place.folder)
    shutil.rmtree(path / "points")
    assert bench("runs", f"results_dir={place.folder}").code == 0
    assert "Traceback" not in bench("show", str(path)).err


# ------------------------------------------------------------------- 4 metrics


def metrics_served(body: Callable[[socket.socket], None]) -> Callable[[Place], None]:
    """The engine's metrics are not measured then, within seconds and megabytes."""

    def do(place: Place) -> None:
        def serve(c: socket.socket, _: int) -> None:
            c.recv(4096)
            body(c)

        url = place.misbehave(serve).base_url.removesuffix("/v1") + "/metrics"
        began_s = time.monotonic()
        assert engine_stats.read(url) is None
        assert time.monotonic() - began_s < 30

    return do


OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


def _drip(c: socket.socket) -> None:
    c.sendall(OK)
    for _ in range(100):
        c.sendall(b"#")
        time.sleep(0.1)


def _endless(c: socket.socket) -> None:
    c.sendall(OK)
    while True:
        c.sendall(b"# a comment that goes on\n" * 4000)


METRICS: dict[str, Callable[[socket.socket], None]] = {
    "garbage": lambda c: c.sendall(OK + b"vllm:x{ 1 2 3 {{\n"),
    "no HTTP": lambda c: c.sendall(b"\x16\x03\x01\x00\xff garbage\r\n\r\n"),
    "a head without an end": lambda c: c.sendall(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 5000),
    "a line of a megabyte": lambda c: c.sendall(OK + b"vllm:x " * 150_000),
    "cut short": lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nvllm:x 1\n"),
    "closed at once": lambda c: None,
    "HTTP 500": lambda c: c.sendall(b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n"),
    "another encoding": lambda c: c.sendall(OK + "vllm:x 1".encode("utf-16")),
    "dripping": _drip,
    "endless": _endless,
}
for _name, _body in METRICS.items():
    fault(4, f"metrics: {_name}", "not measured, no traceback, in bounded time")(
        metrics_served(_body)
    )


# ------------------------------------------------------------------- 5 names


def named(key: str, name: str) -> Callable[[Place], None]:
    """A run of such a name lies below results_dir and is listed."""

    def do(place: Place) -> None:
        root = place.folder / "results"
        word = json.dumps(name, ensure_ascii=False)
        spec = run_spec(compose(["engine=truth", "gpus=0", f"results_dir={root}", f"{key}={word}"]))
        path = create_run_dir(spec)
        save_run(path, Run(spec=spec, anchor=Anchor(monotonic_ns=0, wall_iso="2026")))
        assert path.parents[1] == root, path
        assert [p.name for p in place.folder.iterdir()] == ["results"], "written elsewhere"
        rows = summaries(str(root), derived)
        assert [r["run"] for r in rows] == [str(path)]
        assert not any(c < " " for c in str(path))

    return do


for _key in ("model.name", "quant.name"):
    for _word in ("../../x", "/etc/x", "org/model", "a b", "x" * 200, "Ümlaut", "-rf", "a\tb"):
        fault(5, f"{_key}={_word[:12]!r}", "one folder below results_dir, and listed")(
            named(_key, _word)
        )


@fault(5, "a name of dots alone", TWO)
def _(place: Place) -> None:
    said = bench(*TRUTH, "model.name=..", f"results_dir={place.folder}")
    refused(said, 2, "model.name")
    assert not list(place.folder.iterdir())


# ------------------------------------------------------------------- 7 escape sequences

ESCAPES = {
    "a cleared screen": "a\x1b[2Jb",
    "a title": "a\x1b]0;owned\x07b",
    "a string without an end": "a\x1bPqb",
    "C1 controls": "a\x9b2Jb",
    "text turned around": "a\u202eb",
    "no width": "a\u200bb",
    "half a surrogate": "a\ud800b",
    "a carriage return": "a\rb",
}


def harmless(text: str) -> Callable[[Place], None]:
    """Such a text leaves neither the terminal nor the page with a control character."""

    def do(place: Place) -> None:
        assert not set(plain(text)) & set("\x1b\x9b\x07\r\u202e\u200b\ud800")
        path = stored(place.folder, status="failed", failure=plain(f"the server said {text}"))
        shown = bench("show", str(path))
        page = place.folder / "page.html"
        made = bench("report", str(path), f"--out={page}")
        for said in (shown.out, shown.err, made.out, made.err, page.read_text()):
            assert not set(said) & set("\x1b\x9b\x07\r\u202e\u200b"), said[:300]

    return do


for _name, _text in ESCAPES.items():
    fault(7, f"{_name} in an error", "taken out before it is stored")(harmless(_text))


@fault(7, "escapes in what is typed", TWO)
def _(place: Place) -> None:
    for word in ("\x1b]0;x\x07", "model=\x1b[2Jtiny", "show\x9b"):
        refused(bench(word), 2)


# ------------------------------------------------------------------- 8 files and permissions


@fault(8, "results_dir is a file", "one line, exit 1")
def _(place: Place) -> None:
    (place.folder / "file").write_text("")
    refused(bench(*TRUTH, f"results_dir={place.folder / 'file'}"), 1, "results_dir")


@fault(8, "a FIFO where a file is expected", TWO)
def _(place: Place) -> None:
    fifo = place.folder / "fifo.yaml"
    os.mkfifo(fifo)
    (place.folder / "config.json").symlink_to(fifo)
    refused(bench("claim", str(fifo)), 2)
    refused(bench(*TRUTH, f"workload.file={fifo}"), 2)
    refused(bench("prices", "import", str(fifo)), 2)
    refused(bench("fit", f"model.path={place.folder}", "gpu=h100-sxm", "gpus=1"), 2)


@fault(8, "a FIFO in place of a stored file", "nobody waits for it; listed with why")
def _(place: Place) -> None:
    good = stored(place.folder)
    names = ("run.json", "ending.json", "summary.json", "points/*/point.json")
    for name in (*names, "points/*/*.parquet", "telemetry/power.jsonl"):
        bad = stored(place.folder)
        target = next(bad.glob(name), bad / name)
        target.parent.mkdir(exist_ok=True)
        target.unlink(missing_ok=True)
        os.mkfifo(target)
        rows = {r["run"]: r for r in summaries(str(place.folder), derived)}
        assert rows[str(good)]["status"] == "complete"
        harmless = name in ("ending.json", "summary.json")
        assert ("unreadable" in rows[str(bad)]) is not harmless, f"{name}: {rows[str(bad)]}"
        said = bench("show", str(bad), f"results_dir={place.folder}")
        assert said.code == (0 if harmless else 1), said.err


@fault(8, "a FIFO for a case file, an answer or a snapshot", TWO)
def _(place: Place) -> None:
    fifo = str(place.folder / "fifo")
    os.mkfifo(fifo)
    refused(bench("case", "compare", fifo, fifo), 2, "is no file")
    refused(bench("tco", f"--since={fifo}"), 2)
    refused(bench("snapshot", "import", fifo), 2)


@fault(8, "a device without an end for a file", TWO)
def _(place: Place) -> None:
    refused(bench(*TRUTH, "workload.file=/dev/zero"), 2)
    refused(bench("prices", "import", "/dev/zero"), 2)


@fault(8, "the working folder was deleted", TWO)
def _(place: Place) -> None:
    gone = place.folder / "gone"
    gone.mkdir()
    before = Path.cwd()
    os.chdir(gone)
    try:
        gone.rmdir()
        said = bench(*FIT)
        listed = bench("runs")
    finally:
        os.chdir(before)
    refused(said, 2, "is gone")
    refused(listed, 2, "is gone")


# ------------------------------------------------------------------- 9 inputs

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
YAML = {
    "a list": b"[1, 2]",
    "a scalar": b"7",
    "empty": b"",
    "a tab": b"\tx: 1",
    "no text": b"\x00\xff\xfe",
    "UTF-16": "name: x".encode("utf-16"),
    "3,000 brackets": b"[" * 3000,
    "an alias bomb": BOMB.encode(),
    "an alias of nothing": b"a: *b",
    "an alias of itself": b"a: &a [*a]",
    "a Python object": b"!!python/object:os.system x",
    "an unknown key": b"foo: 1",
}


def bad_yaml(group: str, content: bytes, *chosen: str) -> Callable[[Place], None]:
    """A file of a --config-dir."""

    def do(place: Place) -> None:
        (place.folder / group).mkdir()
        (place.folder / group / "mine.yaml").write_bytes(content)
        said = bench(*FIT, f"--config-dir={place.folder}", *chosen)
        refused(said, 2)
        assert said.took_s < 30

    return do


for _name, _content in YAML.items():
    fault(9, f"model YAML: {_name}", TWO)(bad_yaml("model", _content, "model=mine"))
    fault(9, f"GPU YAML that nobody chose: {_name}", TWO)(bad_yaml("gpu", _content))
for _name, _content in YAML.items():

    @fault(9, f"claim: {_name}", TWO)
    def _(place: Place, content: bytes = _content) -> None:
        (place.folder / "c.yaml").write_bytes(content)
        refused(bench("claim", str(place.folder / "c.yaml")), 2)


def row(arrival: str, output: str = "5") -> str:
    """A line of a trace."""
    return f'{{"arrival_s": {arrival}, "input_tokens": 5, "output_tokens": {output}}}'


TRACES = {
    "NaN": row("NaN"),
    "infinite": row("Infinity"),
    "1e300 s": "\n".join((row("0"), row("1e300"))),
    "400 digits": row("9" * 400),
    "10^20 tokens": row("0", "1" + "0" * 20),
    "5,000 digits": row("0", "9" * 5000),
    "100,000 brackets": '{"a":' * 100_000,
    "a role that is a list": '{"messages": [{"role": [1], "content": "x"}]}',
    "a role that is an object": '{"messages": [{"role": {"a": 1}, "content": "x"}]}',
    "empty": "",
    "an array": "[1, 2]",
}
for _name, _text in TRACES.items():

    @fault(9, f"trace: {_name}", TWO)
    def _(place: Place, text: str = _text) -> None:
        file = place.folder / "t.jsonl"
        file.write_text(text)
        load = "trace" if "arrival_s" in text else "closed"
        words = (f"workload.file={file}", f"load={load}", f"results_dir={place.folder / 'r'}")
        refused(bench(*TRUTH, *words), 2)


HUGE = (
    *("load.requests=100000000", "load.requests=100000000000000000000", "load.repeats=1000000000"),
    *("workload.output_tokens=1e20", "workload.output_tokens=100000000000000000000"),
    *("workload.input_tokens=99999999999", "load.duration_s=1e300", "load.workers=100000"),
    *("load.request_timeout_s=1e300", "load.request_timeout_s=-1", "seed=1e400"),
    *("seed=99999999999999999999999999", "gpus=1000000000", "engine.ttft_ms=1e300"),
    *("engine.itl_ms=nan", "engine.slots=0", "engine.start_timeout_s=1e300", "load.budget_s=nan"),
    *("load.precision=1e300", f"model.name={'x' * 10_000}", f"quant.name={'y' * 4000}"),
    *(f"workload.name={'n' * 100_000}", "load.max_in_flight=100000000000"),
)
for _word in HUGE:

    @fault(9, _word[:46], TWO)
    def _(place: Place, word: str = _word) -> None:
        refused(bench(*TRUTH, word, f"results_dir={place.folder / 'r'}"), 2)
        assert not (place.folder / "r").exists()


CONFIGS = {
    "100,000 brackets": '{"a":' * 100_000,
    "a list": "[]",
    "NaN": '{"model_type": "llama", "hidden_size": NaN}',
    "1e300 layers": '{"model_type": "llama", "num_hidden_layers": 1e300}',
    "10^9 layers": '{"model_type": "llama", "num_hidden_layers": 1000000000}',
    "-5 layers": '{"model_type": "llama", "num_hidden_layers": -5}',
    "text for numbers": '{"model_type": "llama", "hidden_size": "4096"}',
    "4,000 digits": f'{{"model_type": "llama", "hidden_size": {"9" * 4000}}}',
    "no text": "\x00",
}
for _name, _text in CONFIGS.items():

    @fault(9, f"config.json: {_name}", TWO)
    def _(place: Place, text: str = _text) -> None:
        (place.folder / "config.json").write_text(text)
        refused(bench("fit", f"model.path={place.folder}", "gpu=h100-sxm", "gpus=1"), 2)


for _name, _text in {
    "cut": "provider,model\nx",
    "no number": "provider,model,kind,usd,as_of,source\np,m,input,x,2026,y\n",
    "NaN": "provider,model,kind,usd,as_of,source\np,m,input,nan,2026,y\n",
    "no date": "provider,model,kind,usd,as_of,source\np,m,input,1,²²²²,y\n",
    "brackets": "{" * 50_000,
}.items():

    @fault(9, f"prices: {_name}", TWO)
    def _(place: Place, text: str = _text) -> None:
        (place.folder / "p.csv").write_text(text)
        refused(bench("prices", "import", str(place.folder / "p.csv")), 2)


# ------------------------------------------------------------------- 10 messages


def says(words: tuple[str, ...], *parts: str, code: int = 2) -> Callable[[Place], None]:
    """The line names these."""

    def do(place: Place) -> None:
        refused(bench(*words, f"results_dir={place.folder}"), code, *parts)

    return do


ENDPOINT = ("engine=endpoint", "gpus=0", "engine.start_timeout_s=1")
for _name, _words, _parts in (
    ("unquoted umlauts", (*TRUTH, "workload.name=Größe"), ("quote its value", '"Größe"')),
    (
        "an unquoted IPv6 address",
        (*ENDPOINT, "engine.base_url=http://[::1]:1/v1"),
        ("quote its value", "[::1]"),
    ),
    ("an open bracket", ("engine.args=[",), ("close every bracket",)),
    ("an address without a scheme", (*ENDPOINT, "engine.base_url=x:1"), ("engine.base_url",)),
    ("a file for an address", (*ENDPOINT, "engine.base_url=file:/etc/passwd"), ("http://",)),
    ("a missing --config-dir", ("--config-dir=/nonexistent",), ("--config-dir", "/nonexistent")),
):
    fault(10, _name, "says what to change")(says(_words, *_parts))


@fault(10, "a disk that is full at the start", "says so, and claims to keep nothing")
def _(place: Place) -> None:
    run = stored(place.folder)
    (run / "run.json.part").symlink_to("/dev/full")
    with pytest.raises(StoreError, match=r"No space left on device\. Free space") as full:
        save_run(run, load_run(run))
    assert full.value.full
    assert "kept" not in str(full.value)
