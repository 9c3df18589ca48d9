"""An endpoint that somebody else runs: the key is sent, never kept where it could be shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.engines import load_engine
from bench.values.errors import EngineError, InputError
from bench.values.server import Progress
from bench.values.spec import RunSpec

Spec = Callable[..., RunSpec]


def test_the_key_is_sent_and_not_shown(
    run_spec: Spec, serve_http: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    def rule(path: str, body: dict[str, Any], headers: Mapping[str, str]) -> tuple[int, Any]:
        seen.append(headers.get("Authorization"))
        if path == "/v1/models":
            return 200, {"data": [{"id": "m"}]}
        return 200, [{"choices": [{"text": "a"}]}]

    monkeypatch.setenv("OWN_KEY", "sk-secret")
    url = serve_http(rule)
    keys = {"base_url": url, "api_key_env": "OWN_KEY", "vocab_size": 99}
    progress: list[Progress] = []
    spec = run_spec(engine="endpoint", engine_keys=keys)
    with load_engine("endpoint").serve(spec, tmp_path, progress.append) as server:
        assert server.headers == {"Authorization": "Bearer sk-secret"}
        assert "sk-secret" not in repr(server)
        assert (server.vocab_size, server.served_model, server.usage) == (99, "m", "none")
        assert server.pid is None
        assert server.listener_pids == (os.getpid(),)  # the server of this test is a thread
    assert set(seen) == {"Bearer sk-secret"}
    assert [line.detail for line in progress] == [url]
    assert list(tmp_path.iterdir()) == []


def test_without_a_key_no_header_is_sent(
    run_spec: Spec, serve_http: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    url = serve_http(lambda *_: (401, "no"))
    spec = run_spec(engine="endpoint", engine_keys={"base_url": url})
    with (
        pytest.raises(EngineError, match="OPENAI_API_KEY") as caught,
        load_engine("endpoint").serve(spec, tmp_path, lambda _: None),
    ):
        pytest.fail("it was served")
    assert caught.value.code == "unauthorised"


def test_a_malformed_address_is_the_users_error(run_spec: Spec, tmp_path: Path) -> None:
    spec = run_spec(engine="endpoint", engine_keys={"base_url": "localhost:8000"})
    with (
        pytest.raises(InputError, match=r"engine\.base_url"),
        load_engine("endpoint").serve(spec, tmp_path, lambda _: None),
    ):
        pytest.fail("it was served")
