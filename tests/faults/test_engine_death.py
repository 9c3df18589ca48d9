"""An engine that dies in the last load point fails the run, and its death is named."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench.config.compose import catalogue, compose, run_spec
from bench.engines.exchange import Target
from bench.engines.still_serves import answers, why_not
from bench.run import execute
from bench.store import list_runs, load_run
from bench.values.errors import EngineError
from bench.values.server import Progress, Server


def truth_server() -> int:
    """The process id of the truth server that this process started."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1] if words else "0"
            if b"bench.engines.truth_server" in words and b"guard.py" not in b" ".join(words):
                found.append((int(entry.name), int(parent)))
    ours = [pid for pid, guard in found if parent_of(guard) == os.getpid()]
    return ours[-1]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("kept", [1, 0], ids=["while it runs", "as it begins"])
def test_a_server_that_dies_in_the_last_load_point(tmp_path: Path, kept: int) -> None:
    """Killed in its only load point: not complete, not exit 0, and said why."""
    words = ["engine=truth", "gpus=0", "meter=none", "load.calibrate=false", "load.repeats=1"]
    words += ["load.concurrency=[2]", "load.duration_s=1", f"results_dir={tmp_path}"]
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        begun = progress.phase.startswith("load c2") and bool(progress.elapsed_s) == bool(kept)
        if begun and not killed:
            killed.append(truth_server())
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(EngineError, match="the truth server died during the run"):
        execute(run_spec(compose(words)), catalogue(()), kill)
    assert killed
    run = load_run(list_runs(str(tmp_path))[0])
    assert (run.status, run.ended_by) == ("failed", "engine_died")
    assert len(run.points) == kept  # what was measured until then is kept


@pytest.mark.parametrize(
    ("status", "body", "alive"),
    [
        (200, {"choices": [{"text": "a"}]}, True),
        (400, {"error": "stream is required"}, True),
        (500, {"error": {"message": "EngineCore encountered an issue."}}, False),
        (503, "", False),
    ],
)
def test_an_api_server_that_outlives_its_core(
    serve_http: Callable[..., str], status: int, body: Any, alive: bool
) -> None:
    """It answers /health for seconds more; a token it has none."""
    url = serve_http(lambda path, *_: (200, "") if path == "/health" else (status, body))
    server = Server(engine="vllm", base_url=url, served_model="m")
    found = why_not(Target(base_url=url), server)
    assert (found is None) == alive
    if not alive:
        assert str(status) in str(found)


def test_a_chat_server_is_asked_in_the_shape_of_the_load(serve_http: Callable[..., str]) -> None:
    """It was asked with a text for messages and without a stream, broke the connection, and a good
    run of it was called dead."""
    asked: list[dict[str, Any]] = []

    def rule(path: str, body: dict[str, Any], _: Any) -> Any:
        asked.append(body)
        return 200, [{"choices": [{"delta": {"content": "a"}}]}]

    url = serve_http(rule)
    server = Server(engine="endpoint", base_url=url, served_model="m", api="chat")
    assert why_not(Target(base_url=url), server) is None
    (body,) = asked
    assert body["stream"] is True
    assert [m["role"] for m in body["messages"]] == ["user"]


def test_a_core_that_dies_within_a_stream_is_dead(serve_http: Callable[..., str]) -> None:
    url = serve_http(lambda *_: (200, [{"error": {"message": "EngineCore died"}}]))
    server = Server(engine="vllm", base_url=url, served_model="m")
    assert "EngineCore died" in str(why_not(Target(base_url=url), server))


def test_a_generation_that_is_dropped_is_no_death_of_the_server() -> None:
    """An endpoint that still speaks HTTP lives; that its requests fail is the certificate's."""

    class Drops(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()

        def do_POST(self) -> None:
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Drops) as there:
        threading.Thread(target=there.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{there.server_address[1]}/v1"
        target = Target(base_url=url)
        assert why_not(target, Server(engine="endpoint", base_url=url, served_model="m"))
        assert answers(target)
        there.shutdown()
    assert not answers(target)


def test_nobody_there() -> None:
    server = Server(engine="endpoint", base_url="http://127.0.0.1:1/v1", served_model="m")
    assert why_not(Target(base_url=server.base_url), server) == "Connection refused"
