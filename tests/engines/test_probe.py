"""What the probe finds out about servers of every temper, by asking them over real HTTP."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from bench.engines.endpoint import with_told
from bench.engines.exchange import Target, normalise_base_url, unreachable
from bench.engines.probe import probe, wait_ready
from bench.values.errors import EngineError, InputError
from bench.values.server import Server
from bench.values.spec import EndpointSpec
from bench.web.fetch import FetchError

Answer = tuple[int, str | list[Any] | dict[str, Any]]
Rule = Callable[[str, dict[str, Any], Mapping[str, str]], Answer]
Start = Callable[[Rule], str]
MODELS = {"data": [{"id": "m", "max_model_len": 512}]}


def model_server(
    *,
    token_ids: str = "taken",
    usage: str = "continuous",
    ignore_eos: str = "taken",
    models: Mapping[str, Any] = MODELS,
    asked: list[dict[str, Any]] | None = None,
) -> Rule:
    """A server with the given abilities: each `taken`, `refused` (400) or `ignored`."""

    def answer(path: str, body: dict[str, Any], _: Mapping[str, str]) -> Answer:
        if path == "/v1/models":
            return 200, dict(models)
        if path not in ("/v1/completions", "/v1/chat/completions"):
            return 404, "no such page"
        if asked is not None:
            asked.append(body)
        prompt = body.get("prompt", "a b c")
        options = body.get("stream_options", {})
        wants_continuous = options.get("continuous_usage_stats")
        refused = (
            (isinstance(prompt, list) and token_ids == "refused")
            or (options and usage == "none-refused")
            or (wants_continuous and usage == "final-refused")
            or ("ignore_eos" in body and ignore_eos == "refused")
        )
        if refused:
            return 400, {"error": {"message": "extra fields are not permitted"}}
        as_one_prompt = isinstance(prompt, list) and token_ids == "taken"
        prompt_tokens = len(prompt) if as_one_prompt else 40
        goes_on = body.get("ignore_eos") and ignore_eos == "taken"
        count = body["max_tokens"] if goes_on else 3
        chunks: list[dict[str, Any]] = []
        for n in range(1, count + 1):
            chunks.append({"choices": [{"index": 0, "text": "x"}]})
            if options and wants_continuous and usage == "continuous":
                chunks[-1]["usage"] = {"prompt_tokens": prompt_tokens, "completion_tokens": n}
        if options.get("include_usage") and not usage.startswith("none"):
            totals = {"prompt_tokens": prompt_tokens, "completion_tokens": count}
            chunks.append({"choices": [], "usage": totals})
        return 200, list(chunks)

    return answer


def test_a_server_that_takes_everything(serve_http: Start) -> None:
    found = probe(Target(base_url=serve_http(model_server())))
    assert found.served_model == "m"
    assert (found.api, found.prompt) == ("completions", "token_ids")
    assert found.usage == "continuous"
    assert found.ignore_eos is True
    assert found.max_model_len == 512
    assert (found.engine_version, found.metrics_url) == (None, None)


@pytest.mark.parametrize(
    ("abilities", "found"),
    [
        ({"token_ids": "refused"}, ("text", "continuous", True)),
        ({"token_ids": "ignored"}, ("text", "continuous", True)),  # counts 40 tokens for 6 ids
        ({"usage": "final"}, ("token_ids", "final", True)),
        ({"usage": "final-refused"}, ("token_ids", "final", True)),
        ({"usage": "none"}, ("token_ids", "none", True)),
        ({"usage": "none-refused"}, ("token_ids", "none", True)),
        ({"ignore_eos": "refused"}, ("token_ids", "continuous", False)),
        ({"ignore_eos": "ignored"}, ("token_ids", "continuous", False)),  # stops after 3 of 8
        (
            {"token_ids": "refused", "usage": "none-refused", "ignore_eos": "refused"},
            ("text", "none", False),
        ),
    ],
)
def test_what_a_server_refuses_or_ignores_is_left_out(
    serve_http: Start, abilities: dict[str, str], found: tuple[str, str, bool]
) -> None:
    seen = probe(Target(base_url=serve_http(model_server(**abilities))))  # type: ignore[arg-type]
    assert (seen.prompt, seen.usage, seen.ignore_eos) == found


def test_the_chat_api_takes_text(serve_http: Start) -> None:
    asked: list[dict[str, Any]] = []
    found = probe(Target(base_url=serve_http(model_server(asked=asked))), api="chat")
    assert (found.api, found.prompt) == ("chat", "text")
    assert all("messages" in body and "prompt" not in body for body in asked)


def test_version_and_metrics_are_found_beside_v1(serve_http: Start) -> None:
    inner = model_server()

    def rule(path: str, body: dict[str, Any], headers: Mapping[str, str]) -> Answer:
        if path == "/version":
            return 200, {"version": "9.8.7"}
        if path == "/metrics":
            return 200, "# TYPE a counter\na 1\n"
        return inner(path, body, headers)

    url = serve_http(rule)
    found = probe(Target(base_url=url))
    assert found.engine_version == "9.8.7"
    assert found.metrics_url == url.removesuffix("/v1") + "/metrics"


@pytest.mark.parametrize(
    ("owner", "answers", "serves", "version"),
    [
        ("sglang", {"/server_info": {"version": "0.5.9"}}, "sglang", "0.5.9"),
        ("sglang", {"/get_server_info": {"version": "0.4.6"}}, "sglang", "0.4.6"),
        ("llamacpp", {"/props": {"build_info": "b6500-abc"}}, "llama.cpp", "b6500-abc"),
        ("library", {"/api/version": {"version": "0.12.1"}}, "ollama", "0.12.1"),
        ("vllm", {"/version": {"version": " "}}, "vllm", None),
        ("vllm", {"/version": {"version": 3}}, "vllm", None),
        ("somebody", {"/props": {"build_info": "b1"}}, None, None),
    ],
)
def test_each_engine_is_asked_its_version_where_it_says_it(
    serve_http: Start,
    owner: str,
    answers: dict[str, Any],
    serves: str | None,
    version: str | None,
) -> None:
    inner = model_server(models={"data": [{"id": "m", "owned_by": owner}]})

    def rule(path: str, body: dict[str, Any], headers: Mapping[str, str]) -> Answer:
        return (200, answers[path]) if path in answers else inner(path, body, headers)

    found = probe(Target(base_url=serve_http(rule)))
    assert (found.serves, found.engine_version) == (serves, version)


@pytest.mark.parametrize(
    ("says", "typed", "kept"),
    [
        ((None, None), ("vllm", "0.8.5"), ("vllm", "0.8.5", ("serves", "engine_version"))),
        (("vllm", None), ("vLLM", "0.8.5"), ("vllm", "0.8.5", ("engine_version",))),
        (("vllm", "0.9.0"), ("vllm", "0.8.5"), ("vllm", "0.9.0", ())),
        (("sglang", None), ("vllm", "0.8.5"), ("sglang", None, ())),
        (("sglang", None), (None, "0.8.5"), ("sglang", "0.8.5", ("engine_version",))),
        ((None, None), (None, None), (None, None, ())),
    ],
)
def test_what_a_server_says_of_itself_stands_and_the_rest_is_told(
    says: tuple[str | None, str | None],
    typed: tuple[str | None, str | None],
    kept: tuple[str | None, str | None, tuple[str, ...]],
) -> None:
    found = Server(
        engine="endpoint",
        base_url="http://x/v1",
        served_model="m",
        serves=says[0],
        engine_version=says[1],
    )
    seen = with_told(found, EndpointSpec(serves=typed[0], version=typed[1]))
    assert (seen.serves, seen.engine_version, seen.told) == kept


def test_a_model_must_be_named_where_there_are_several(serve_http: Start) -> None:
    url = serve_http(model_server(models={"data": [{"id": "b"}, {"id": "a"}]}))
    with pytest.raises(InputError, match="choose one of a, b"):
        probe(Target(base_url=url))
    assert probe(Target(base_url=url), served_model="a").max_model_len is None


def test_a_model_must_be_named_where_none_is_listed(serve_http: Start) -> None:
    with pytest.raises(InputError, match="lists none"):
        probe(Target(base_url=serve_http(model_server(models={}))))


def error_of(url: str, **options: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        probe(Target(base_url=url, timeout_s=5, key_env="MY_KEY"), **options)
    assert "\n" not in str(caught.value)
    return caught.value


def test_nothing_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: refused, and nobody takes it
        error = error_of(f"http://127.0.0.1:{unused.getsockname()[1]}/v1")
    assert error.code == "unreachable"
    assert "Connection refused" in str(error)


def test_an_error_of_the_server(serve_http: Start) -> None:
    error = error_of(serve_http(lambda *_: (503, "all\nbusy " + "x" * 900)))
    assert error.code == "server_error"
    assert "503" in str(error)
    assert "all busy xxx" in str(error)
    assert len(str(error)) < 300


def test_an_error_at_the_completion_only(serve_http: Start) -> None:
    def rule(path: str, *_: object) -> Answer:
        return (200, dict(MODELS)) if path == "/v1/models" else (500, {"error": "kernel missing"})

    error = error_of(serve_http(rule))
    assert error.code == "server_error"
    assert "500" in str(error)
    assert "kernel missing" in str(error)


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_missing_or_wrong(serve_http: Start, status: int) -> None:
    url = serve_http(lambda *_: (status, "bad key sk-secret"))
    error = error_of(url)
    assert error.code == "unauthorised"
    assert "MY_KEY" in str(error)
    assert "sk-secret" not in str(error)


def test_an_unknown_model_names_those_served(serve_http: Start) -> None:
    def rule(path: str, *_: object) -> Answer:
        return (200, {"data": [{"id": "llama-8b"}]}) if path == "/v1/models" else (404, "?")

    error = error_of(serve_http(rule), served_model="llama-9b")
    assert error.code == "unknown_model"
    assert "Did you mean 'llama-8b'?" in str(error)


def test_an_answer_that_is_no_stream(serve_http: Start) -> None:
    def rule(path: str, *_: object) -> Answer:
        return (200, dict(MODELS)) if path == "/v1/models" else (200, "<html>hello</html>")

    error = error_of(serve_http(rule))
    assert error.code == "bad_response"
    assert "<html>hello" in str(error)


def test_an_error_in_mid_stream(serve_http: Start) -> None:
    def rule(path: str, *_: object) -> Answer:
        chunks = [{"choices": [{"text": "a"}]}, {"error": {"message": "engine died"}}]
        return (200, dict(MODELS)) if path == "/v1/models" else (200, list(chunks))

    error = error_of(serve_http(rule))
    assert error.code == "server_error"
    assert "engine died" in str(error)


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("https://host/openai/v1", "https://host/openai/v1"),
    ],
)
def test_addresses_are_normalised(given: str, normal: str) -> None:
    assert normalise_base_url(given) == normal


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "127.0.0.1:8000/v1",
        "ftp://host/v1",
        "http://",
        "http://host:port/v1",
        "http://host:99999/v1",
        "http://[::1/v1",
    ],
)
def test_a_malformed_address_is_refused(bad: str) -> None:
    with pytest.raises(InputError, match="is not an address such as"):
        normalise_base_url(bad)


def test_the_address_of_the_completions_is_taken_for_that_of_the_server() -> None:
    for end in ("completions", "chat/completions", "chat/completions/"):
        assert normalise_base_url(f"http://host/v1/{end}") == "http://host/v1"


def test_a_query_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="has a query") as caught:
        normalise_base_url("http://host/v1?api-key=hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("not an HTTP response: b'\\x15\\x03\\x03\\x00'", "https://"),
        ("no HTTP answer: '\\x15\\x03\\x03\\x00'", "https://"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "http://…"),
        ("no TLS within 3 s", "http://…"),
        ("the server closed the connection without a word", "https://…"),
        ("not an HTTP response: b'\\x00\\x00\\x12\\x04'", "HTTP/1.1"),
        ("no end within 30 s", "start_timeout_s"),
        ("it began to answer, and no end within 30 s", "left"),
    ],
)
def test_the_remedy_is_that_of_what_came_instead(said: str, remedy: str) -> None:
    remedy = "Neither [DONE]" if remedy == "left" else remedy
    assert remedy in str(unreachable("http://host/v1", FetchError(said)))


def test_a_secret_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match=r"engine\.api_key_env") as caught:
        normalise_base_url("http://me:hunter2@host/v1")
    assert "hunter2" not in str(caught.value)


def test_waiting_goes_on_while_unreachable_and_ticks() -> None:
    attempts: list[int] = []
    ticks: list[int] = []

    def attempt() -> str:
        attempts.append(1)
        if len(attempts) < 3:
            raise EngineError("not yet", code="unreachable")
        time.sleep(0.05)  # a slow first request: ticks go on beside it
        return "ready"

    assert wait_ready(attempt, lambda: ticks.append(1), tick_s=0.01) == "ready"
    assert len(attempts) == 3
    assert len(ticks) >= 3


def test_waiting_ends_with_any_other_error() -> None:
    def attempt() -> str:
        raise EngineError("broken", code="server_error")

    with pytest.raises(EngineError, match="broken"):
        wait_ready(attempt, lambda: None, tick_s=0.01)


def test_waiting_ends_when_the_tick_says_so() -> None:
    def attempt() -> str:
        raise EngineError("not yet", code="unreachable")

    def tick() -> None:
        raise EngineError("died", code="engine_failed")

    with pytest.raises(EngineError, match="died"):
        wait_ready(attempt, tick, tick_s=0.01)
