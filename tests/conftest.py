"""What tests share: one real vLLM for the session, and small HTTP servers of every temper."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from misbehaving import Misbehave, Serve
from omegaconf import OmegaConf
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from bench.engines import load_engine
from bench.values import redact
from bench.values.codec import decode
from bench.values.server import Server
from bench.values.spec import RunSpec

# No test asserts how long something took: a busy machine is no failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

CONF = Path(__file__).parents[1] / "conf"


@cache
def _needs_vllm(path: Path) -> bool:
    return "def vllm_server" not in (text := path.read_text()) and "vllm_server" in text


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """A file stays with one worker, its fixtures are made once; the files that use the real vLLM
    are one worker's, so that it starts once."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "vllm" if _needs_vllm(self.config.rootpath / file) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _ByFile:
    """How `make test` spreads the tests over its workers."""
    return _ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts engines comes first: the longest work must not begin last."""
    slow = {i.path for i in items if i.get_closest_marker("vllm")}
    items.sort(key=lambda item: item.path not in slow)  # stable: within files nothing moves


@pytest.fixture(autouse=True)
def _keys_of_one_test() -> Iterator[None]:
    """A key that a test gives is hidden for the life of its process: not for the next test's."""
    before = set(redact._remembered)
    yield
    redact._remembered.clear()
    redact._remembered.update(before)


# (path, body, headers) -> status and the body of the answer; a list is streamed as SSE chunks.
Answer = tuple[int, str | list[Any] | dict[str, Any]]
Rule = Callable[[str, dict[str, Any], Mapping[str, str]], Answer]


@pytest.fixture
def serve_http() -> Iterator[Callable[[Rule], str]]:
    """Starts a server that answers by a rule; returns its base URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(rule: Rule) -> str:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = json.loads(raw) if raw else {}
                status, content = rule(self.path, body, dict(self.headers))
                if isinstance(content, list):
                    kind = "text/event-stream"
                    lines = [json.dumps(chunk) for chunk in content] + ["[DONE]"]
                    text = "".join(f"data: {line}\n\n" for line in lines)
                elif isinstance(content, dict):
                    kind, text = "application/json", json.dumps(content)
                else:
                    kind, text = "text/plain", content
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = answer  # noqa: N815 -- names that http.server looks for

            def log_message(self, *_: object) -> None:
                """Keep the tests' output to the tests."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/v1"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def misbehave() -> Iterator[Misbehave]:
    """Starts a TCP server whose connections are handed to a function, one thread each."""
    with serving() as start:
        yield start


@contextlib.contextmanager
def serving() -> Iterator[Misbehave]:
    """The same for a script."""
    listeners: list[socket.socket] = []

    def start(serve: Serve) -> Server:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        listeners.append(listener)

        def handle(connection: socket.socket, number: int) -> None:
            with contextlib.suppress(OSError), connection:
                serve(connection, number)

        def accept() -> None:
            number = 0
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=handle, args=(connection, number), daemon=True).start()
                    number += 1

        threading.Thread(target=accept, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        return Server(engine="endpoint", base_url=url, served_model="m")

    yield start
    for listener in listeners:
        listener.close()


def _conf(group: str, name: str) -> Any:
    return OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))


@pytest.fixture(scope="session")
def run_spec() -> Callable[..., RunSpec]:
    """Builds the RunSpec of the tiny model on a CPU; keywords replace keys of its groups."""

    def build(*, engine: str = "vllm", quant: str = "none", **groups: Any) -> RunSpec:
        data = {
            "model": {**_conf("model", "tiny"), **groups.pop("model", {})},
            "quant": _conf("quant", quant),
            "gpu": _conf("gpu", "cpu"),
            "gpus": groups.pop("gpus", 0),
            "engine": {**_conf("engine", engine), **groups.pop("engine_keys", {})},
            "workload": {
                "name": "test",
                "input_tokens": 16,
                "output_tokens": 16,
                "slo": {"ttft_ms": 1000.0, "tpot_ms": 100.0},
            },
            "load": {"concurrency": [1], "repeats": 1},
            **groups,
        }
        return decode(RunSpec, data)

    return build


@pytest.fixture(scope="session")
def vllm_server(
    run_spec: Callable[..., RunSpec], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The bundled tiny model on a real vLLM, started once; tests that use it are marked vllm."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here (make demo installs it)")
    with load_engine("vllm").serve(
        run_spec(), tmp_path_factory.mktemp("vllm"), lambda _: None
    ) as server:
        yield server
