"""What every engine owes the run: a server that answers, and none left behind.

vLLM's part starts the real thing, with dummy weights and so with a tokenizer and a quantisation
made from conf alone, and is marked; the others take a second.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bench.engines import ENGINES, load_engine
from bench.engines.log import parse_engine_log
from bench.values.errors import InputError
from bench.values.server import Progress, ProgressCallback, Server
from bench.values.spec import RunSpec

Spec = Callable[..., RunSpec]
# `none` serves nothing: it stands for quality scored in-process.
KINDS = [
    pytest.param(kind, marks=pytest.mark.vllm if kind == "vllm" else ())
    for kind in ENGINES
    if kind != "none"
]
_TOKENS = 12
STAND_INS = ("transformers", "llamacpp", "sglang", "trtllm")
"""Their adapters start a stand-in here, which says what the engine's log says and then serves;
scripts/real_servers.py starts the real ones."""
STAND_IN = Path(__file__).parents[1] / "stand_in.py"


@contextlib.contextmanager
def served(
    kind: str, run_spec: Spec, run_dir: Path, progress: ProgressCallback
) -> Iterator[Server]:
    """A server of that kind; an endpoint is the truth engine's, reached as a stranger would."""
    if kind in STAND_INS:
        keys: dict[str, Any] = {"command": [sys.executable, str(STAND_IN), kind]}
        model = {"model": {"weights": str(run_dir / "m.gguf")}} if kind == "llamacpp" else {}
        spec = run_spec(engine=kind, engine_keys=keys, **model)
        with load_engine(kind).serve(spec, run_dir, progress) as server:
            yield server
        return
    if kind != "endpoint":
        dummy = {"quant": "int8", "model": {"weights": "dummy"}} if kind == "vllm" else {}
        with load_engine(kind).serve(run_spec(engine=kind, **dummy), run_dir, progress) as server:
            yield server
        return
    with load_engine("truth").serve(run_spec(engine="truth"), run_dir, lambda _: None) as behind:
        spec = run_spec(engine="endpoint", engine_keys={"base_url": behind.base_url})
        with load_engine("endpoint").serve(spec, run_dir, progress) as server:
            yield server


def exchange(server: Server, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The chunks of one streamed answer to a body of the shape that the server says it takes."""
    parts = urlsplit(server.base_url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=120)
    headers = {"Content-Type": "application/json", **server.headers}
    connection.request("POST", f"{parts.path}/completions", json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200, text
    payloads = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert payloads[-1] == "[DONE]"
    return [json.loads(payload) for payload in payloads[:-1]]


def gone(server: Server) -> bool:
    """Whether nothing listens at the server's address any more."""
    parts = urlsplit(server.base_url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=5)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return True
    finally:
        connection.close()
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_serves_and_is_gone(kind: str, run_spec: Spec, tmp_path: Path) -> None:
    seen: list[Progress] = []
    with served(kind, run_spec, tmp_path, seen.append) as server:
        assert server.engine == kind
        assert server.base_url.endswith("/v1")
        assert server.startup_s is not None
        assert server.startup_s > 0
        body: dict[str, Any] = {
            "model": server.served_model,
            "prompt": [5, 6, 7, 8] if server.prompt == "token_ids" else "a b c d",
            "max_tokens": _TOKENS,
            "stream": True,
            **({"ignore_eos": True} if server.ignore_eos else {}),
        }
        if server.usage != "none":
            options = {"include_usage": True}
            if server.usage == "continuous":
                options["continuous_usage_stats"] = True
            body["stream_options"] = options
        chunks = exchange(server, body)
        counted = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
        if server.usage != "none":
            assert counted[-1]["completion_tokens"] == _TOKENS
        if server.usage == "continuous":
            assert len(counted) >= len(chunks) - 1
        if server.prompt == "token_ids" and counted:
            assert counted[-1]["prompt_tokens"] == 4
    assert all(progress.elapsed_s >= 0 for progress in seen)
    assert gone(server)
    if server.pid is not None:
        assert server.pid == os.getpid() or not Path(f"/proc/{server.pid}").exists()
    if kind == "vllm":
        assert len(seen) > 5  # about two a second while it starts
        facts = parse_engine_log((tmp_path / "engine.log").read_text())
        assert facts.quantisation_kernels == ("CPUInt8ScaledMMLinearKernel",)


@pytest.mark.parametrize("kind", [kind for kind in ENGINES if kind not in ("vllm", "none")])
def test_an_engine_is_gone_after_an_interrupt(kind: str, run_spec: Spec, tmp_path: Path) -> None:
    servers: list[Server] = []

    def interrupted() -> None:
        with served(kind, run_spec, tmp_path, lambda _: None) as server:
            servers.append(server)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert gone(servers[0])


def test_an_unknown_engine_names_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'vllm'"):
        load_engine("vlm")


@pytest.mark.parametrize("kind", ENGINES)
def test_an_engine_is_loaded_by_name(kind: str) -> None:
    assert callable(load_engine(kind).serve)
