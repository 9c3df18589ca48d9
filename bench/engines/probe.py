"""Ask a server for real tokens, and find out by asking which shape of request it takes.

A 200 from /health proves nothing: an engine whose kernel is missing answers it and dies at the
first request. Every probe here is a streamed completion of a few tokens. Feature by feature, what
a server refuses (400, 422) or silently ignores is left out of later requests. Standard library.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from bench.engines.exchange import Reply, Target, json_of, optional, request
from bench.values.errors import BenchError, EngineError, InputError, nearest

T = TypeVar("T")

_TOKENS = 8
_PROMPT_IDS = (7, 11, 13, 17, 19, 23)
_PROMPT_TEXT = "one two three four five six"


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a server was seen to do; fields of `bench.values.server.Server` of the same names."""

    served_model: str
    api: Literal["completions", "chat"]
    prompt: Literal["token_ids", "text"]
    usage: Literal["continuous", "final", "none"]
    ignore_eos: bool
    max_model_len: int | None
    engine_version: str | None
    metrics_url: str | None


def probe(
    target: Target,
    *,
    served_model: str | None = None,
    api: Literal["completions", "chat"] = "completions",
    prompt: Literal["token_ids", "text"] | None = None,
) -> Capabilities:
    """What the server takes, each point shown by a real generation; EngineError if none works."""
    models = _models(target)
    model = served_model or _only_model(target, models)
    shape = "text" if api == "chat" else prompt
    ask = _Asker(target=target, model=model, api=api, models=tuple(models))
    if shape is None:
        shape = "token_ids" if ask.takes_token_ids() else "text"
    ask.prompt = shape
    ask.must({})
    usage = ask.usage()
    ignore_eos = ask.takes_ignore_eos(usage)
    return Capabilities(
        served_model=model,
        api=api,
        prompt=shape,
        usage=usage,
        ignore_eos=ignore_eos,
        max_model_len=_whole(models.get(model, {}).get("max_model_len")),
        engine_version=_version(target),
        metrics_url=_metrics_url(target),
    )


class _Asker:
    """Sends completions of a few tokens with one feature more or less."""

    def __init__(self, *, target: Target, model: str, api: str, models: tuple[str, ...]) -> None:
        self.target = target
        self.model = model
        self.api = api
        self.models = models
        self.prompt: Literal["token_ids", "text"] = "text"

    def send(self, extra: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """The chunks of the answer, or None when the server refuses this shape of request."""
        body: dict[str, Any] = {"model": self.model, "stream": True, "max_tokens": _TOKENS}
        if self.api == "chat":
            path, body["messages"] = "chat/completions", [{"role": "user", "content": _PROMPT_TEXT}]
        else:
            path = "completions"
            body["prompt"] = list(_PROMPT_IDS) if self.prompt == "token_ids" else _PROMPT_TEXT
        reply = request(self.target, f"{self.target.base_url}/{path}", {**body, **extra})
        if reply.status in (400, 422):
            self.refusal = reply
            return None
        if reply.status != 200:
            raise _refused(self.target, reply, self.model, self.models)
        return _chunks(self.target, reply)

    def must(self, extra: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Like `send`, but a refusal is an EngineError."""
        chunks = self.send(extra)
        if chunks is None:
            raise _refused(self.target, self.refusal, self.model, self.models)
        return chunks

    def takes_token_ids(self) -> bool:
        """Whether a list of ids is one prompt of that many tokens (not six prompts, not text)."""
        self.prompt = "token_ids"
        with_usage = {"stream_options": {"include_usage": True}}
        chunks = self.send(with_usage)
        if chunks is None:
            chunks = self.send({})
        if chunks is None:
            return False
        prompt_tokens = [u["prompt_tokens"] for c in chunks if (u := _usage_of(c))]
        return not prompt_tokens or prompt_tokens[-1] in (len(_PROMPT_IDS), len(_PROMPT_IDS) + 1)

    def usage(self) -> Literal["continuous", "final", "none"]:
        """How it counts tokens: with every chunk, once at the end, or not at all."""
        options = {"include_usage": True, "continuous_usage_stats": True}
        chunks = self.send({"stream_options": options})
        if chunks is None:
            chunks = self.send({"stream_options": {"include_usage": True}})
        if chunks is None:
            return "none"
        counted = [_usage_of(chunk) is not None for chunk in chunks]
        if len(counted) > 1 and all(counted[:-1]):
            return "continuous"
        return "final" if any(counted) else "none"

    def takes_ignore_eos(self, usage: str) -> bool:
        """Whether it can be told to go on to max_tokens (and, where it counts, does)."""
        extra: dict[str, Any] = {"ignore_eos": True}
        if usage != "none":
            extra["stream_options"] = {"include_usage": True}
        chunks = self.send(extra)
        if chunks is None:
            return False
        counts = [u["completion_tokens"] for c in chunks if (u := _usage_of(c))]
        return not counts or counts[-1] == _TOKENS


def wait_ready(attempt: Callable[[], T], tick: Callable[[], None], *, tick_s: float = 0.5) -> T:
    """The result of `attempt` once it no longer fails with `unreachable`.

    `tick` is called about every `tick_s` seconds, also while an attempt takes long (a first
    request may compile for minutes); it shows progress and raises when waiting is pointless.
    """
    while True:
        outcome = _in_thread(attempt, tick, tick_s)
        if not isinstance(outcome, EngineError):
            return outcome
        began = time.monotonic()
        tick()
        time.sleep(max(0.0, tick_s - (time.monotonic() - began)))


def _in_thread(
    attempt: Callable[[], T], tick: Callable[[], None], tick_s: float
) -> T | EngineError:
    """Run `attempt` beside `tick`; an EngineError `unreachable` is returned, others raised."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(attempt())
        except BaseException as error:  # noqa: BLE001 -- handed to the waiting thread
            errors.append(error)

    # A daemon: when `tick` raises, the attempt is left to its own timeout.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(tick_s)
        if thread.is_alive():
            tick()
    if errors:
        if isinstance(errors[0], EngineError) and errors[0].code == "unreachable":
            return errors[0]
        raise errors[0]
    return results[0]


def _refused(target: Target, reply: Reply, model: str, models: tuple[str, ...]) -> BenchError:
    """The error that a status other than 200 stands for."""
    said = " ".join(reply.body.split())[:200]
    if reply.status in (401, 403):
        name = target.key_env or "the API key"
        return EngineError(
            f"the server refused the request ({reply.status}): set the environment variable "
            f"{name} to a valid API key.",
            code="unauthorised",
        )
    if reply.status == 404 and models and model not in models:
        return EngineError(
            f"engine.served_model: the server has no {model!r}.{nearest(model, models)} "
            f"It serves: {', '.join(models)}.",
            code="unknown_model",
        )
    if reply.status == 404:
        return EngineError(
            f"the server answered 404 to a completion for {model!r}: {said!r}. Check "
            "engine.served_model, engine.api and that engine.base_url ends in /v1.",
            code="not_found",
        )
    code = "server_error" if reply.status >= 500 else "refused"
    return EngineError(f"the server answered {reply.status}: {said!r}.", code=code)


def _chunks(target: Target, reply: Reply) -> list[dict[str, Any]]:
    """The JSON chunks of a streamed answer; EngineError when it is not one or holds an error."""
    chunks = []
    for line in reply.body.splitlines():
        payload = line.removeprefix("data:").strip()
        if not line.startswith("data:") or payload == "[DONE]":
            continue
        try:
            chunk = json.loads(payload)
        except ValueError:
            chunk = None
        if not isinstance(chunk, dict):
            break
        if "error" in chunk:
            said = json.dumps(chunk["error"])[:200]
            raise EngineError(f"the server failed in mid-answer: {said}.", code="server_error")
        chunks.append(chunk)
    if not any(chunk.get("choices") for chunk in chunks):
        raise EngineError(
            f"{target.base_url} answered 200 but streamed no token "
            f"({reply.content_type or 'no content type'}: {reply.body[:80]!r}).",
            code="bad_response",
        )
    return chunks


def _usage_of(chunk: Mapping[str, Any]) -> dict[str, int] | None:
    usage = chunk.get("usage")
    keys = ("prompt_tokens", "completion_tokens")
    if isinstance(usage, dict) and all(isinstance(usage.get(key), int) for key in keys):
        return usage
    return None


def _models(target: Target) -> dict[str, dict[str, Any]]:
    """What /v1/models lists by id; empty where the server has no such list."""
    reply = request(target, f"{target.base_url}/models")
    if reply.status in (401, 403) or reply.status >= 500:
        raise _refused(target, reply, "", ())
    listed = json_of(reply)
    data = listed.get("data") if reply.status == 200 else None
    if not isinstance(data, list):
        return {}
    return {m["id"]: m for m in data if isinstance(m, dict) and isinstance(m.get("id"), str)}


def _only_model(target: Target, models: Mapping[str, object]) -> str:
    if len(models) == 1:
        return next(iter(models))
    if not models:
        raise InputError(
            f"engine.served_model: {target.base_url}/models lists none; say which model to ask for."
        )
    raise InputError(f"engine.served_model: choose one of {', '.join(sorted(models))}.")


def _version(target: Target) -> str | None:
    version = json_of(optional(target, f"{target.root_url}/version")).get("version")
    return version if isinstance(version, str) else None


def _metrics_url(target: Target) -> str | None:
    url = f"{target.root_url}/metrics"
    reply = optional(target, url)
    answers = reply is not None and reply.status == 200 and "# TYPE" in reply.body
    return url if answers else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
