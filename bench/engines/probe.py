"""Ask a server for real tokens, and find out by asking which shape of request it takes.

A 200 from /health proves nothing: an engine whose kernel is missing answers it and dies at the
first request. Every probe here is a streamed completion of a few tokens, read by the load's own
reader (`bench.web.sse`). Feature by feature, what a server refuses in whatever way (a status, an
error in the stream, a dropped connection) or silently ignores is left out of later requests.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from bench.engines.exchange import (
    Reply,
    Target,
    context,
    json_of,
    optional,
    request,
    unreachable,
)
from bench.values.errors import BenchError, EngineError, InputError, nearest
from bench.values.json_text import json_text
from bench.values.outside import plain
from bench.values.prompt_text import length_of, sample
from bench.values.server import Server
from bench.web.ask import request_body
from bench.web.fetch import FetchError
from bench.web.hear import Heard, SilentError, hear
from bench.web.http import MalformedError
from bench.web.sse import read_body
from bench.web.tokens import Tokens, tokens_of

T = TypeVar("T")

_TOKENS = 8
_LONG_TOKENS = 64
"""Long enough for a short answer to end by itself, and for a server to mind that it must not."""
_FEW_PIECES = 4
_PROMPT_IDS = [7, 11, 13, 17, 19, 23]
_PROMPT_TEXT = "one two three four five six"
_SAMPLES = (1, 2)
"""How often all common words stand in the two prompts that show a word's length."""
_BUSY_TRIES = 5
_LIST_S = 10.0
"""How long the list of models is waited for where the model is named."""
_MODELS_HINT = (
    "say which model to ask for or, if it is still loading, raise engine.start_timeout_s."
)


class LoadingError(EngineError):
    """The server answers, but not yet: its model is loading."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the user left open (None) or settled; see `bench.values.spec.EndpointSpec`.

    `endless`: what goes into every request should make answers go on; no field is tried for it."""

    served_model: str | None = None
    api: Literal["auto", "completions", "chat"] = "auto"
    prompt: Literal["token_ids", "text"] | None = None
    temperature: float | None = 0.0
    ignore_eos: bool | None = None
    endless: bool = False
    max_tokens_field: str | None = None
    metrics: bool = True
    extra_body: Mapping[str, Any] | None = None


Capabilities = Server
"""What a server was seen to do: a `Server` that nobody has started."""


def probe(target: Target, **wanted: Any) -> Capabilities:
    """What the server takes, each point shown by a real generation; EngineError if none works.

    Keywords are those of `Wanted`.
    """
    want = Wanted(**wanted)
    models, why_none = _models(target, needed=not want.served_model)
    model = want.served_model or _only_model(target, models, why_none)
    ask = _Asker(target, model, tuple(models), want)
    ask.find_shape()
    ask.find_usage()
    ask.find_temperature()
    ask.find_prompt()
    ask.find_text_length()
    ask.find_ignore_eos()
    tokens = ask.few if ask.server.ignore_eos else _LONG_TOKENS
    ask.note_end(ask.must(ask.server, tokens), tokens)
    listed = models.get(model, {})
    return replace(
        ask.server,
        max_model_len=_context_tokens(listed),
        vocab_size=_whole(listed, ("vocab_size", "n_vocab")),
        engine_version=_version(target, _serves(listed)),
        serves=_serves(listed),
        metrics_url=_metrics_url(target) if want.metrics else None,
        left_out=tuple(ask.left_out),
        models=tuple(models),
        model_path=None,
    )


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """One answer: its tokens as the load's reader sees them, and what its usage was like."""

    heard: Heard
    tokens: Tokens
    continuous: bool
    model: str | None = None

    @property
    def pieces(self) -> int:
        """Chunks that bore text."""
        return len(self.tokens.last_byte)


class _Asker:
    """Sends completions of a few tokens with one feature more or less."""

    def __init__(self, target: Target, model: str, models: tuple[str, ...], want: Wanted) -> None:
        self.target = target
        self.models = models
        self.want = want
        self.left_out: list[str] = []
        self.refusal: BenchError | None = None
        self.few = _TOKENS
        self.generates = False
        self.server = Server(
            engine="endpoint",
            base_url=target.base_url,
            served_model=model,
            prompt="text",
            usage="none",
            ignore_eos=False,
            temperature=None,
            extra_body=dict(want.extra_body or {}),
        )

    # --- what is found out ---

    def find_shape(self) -> None:
        """The interface and the name of the length limit under which any token comes at all."""
        apis: tuple[Literal["completions", "chat"], ...] = ("completions", "chat")
        if self.want.api != "auto":
            apis = (self.want.api,)
        own = self.want.max_tokens_field
        first: BenchError | None = None
        for api in apis:
            for limit in (own,) if own else ("max_tokens", "max_completion_tokens"):
                shape = replace(self.server, api=api, max_tokens_field=limit)
                answer = self.send(shape)
                if answer is None and getattr(self.refusal, "code", "") in ("no_token", "refused"):
                    # Its first tokens may make no text (thought that is not shown), or so few may
                    # be below its minimum.
                    refusal = self.refusal
                    answer = self.send(shape, _LONG_TOKENS)
                    self.few = _TOKENS if answer is None else _LONG_TOKENS
                    self.refusal = refusal
                if answer is not None:
                    self.generates = True
                    marks = answer.tokens
                    self.server = replace(
                        shape,
                        ends_with_done=marks.done,
                        ends_with_reason=bool(marks.finish),
                        hangs_after_done=answer.heard.hangs,
                        answers_as=answer.model,
                    )
                    self.always_counts = marks.completion is not None
                    self.text_pieces = answer.pieces
                    return
                first = first or self.refusal
                if getattr(self.refusal, "code", "") in ("not_found", "unknown_model"):
                    break
        assert first is not None
        raise first

    def find_usage(self) -> None:
        """How it counts tokens: with every chunk, once at the end, or not at all."""
        usages: tuple[Literal["continuous", "final"], ...] = ("continuous", "final")
        for usage in usages:
            shape = replace(self.server, usage=usage)
            answer = self.send(shape)
            if answer is None:
                self.leave_out("stream_options." + _USAGE_KEYS[usage])
                continue
            if answer.pieces < _FEW_PIECES:  # a bundle that holds all of them shows nothing
                answer = self.send(shape, _LONG_TOKENS) or answer
            if answer.tokens.completion is not None:
                found: Any = "continuous" if answer.continuous else "final"
                self.server = replace(shape, usage=found)
            return
        if self.always_counts:
            self.server = replace(self.server, usage="final", stream_options=False)

    def find_temperature(self) -> None:
        """Whether it takes the temperature asked for."""
        if self.want.temperature is None:
            return
        shape = replace(self.server, temperature=self.want.temperature)
        if self.send(shape) is None:
            self.leave_out(f"temperature={self.want.temperature:g}")
        else:
            self.server = shape

    def find_prompt(self) -> None:
        """Whether a list of ids is one prompt of that many tokens (not six prompts, not text)."""
        if self.server.api == "chat":
            return
        shape = replace(self.server, prompt="token_ids")
        if self.want.prompt is not None:
            self.server = replace(self.server, prompt=self.want.prompt)
            return
        answer = self.send(shape)
        if answer is None:
            self.leave_out("prompts as token ids")
            return
        counted, n = answer.tokens.prompt, len(_PROMPT_IDS)
        most = max(self.few, self.text_pieces)  # six prompts in one would give more
        if answer.pieces <= most and (counted is None or counted in (n, n + 1)):
            self.server = shape
        else:
            self.left_out.append(f"prompts as token ids (it counts {counted} for {n})")

    def find_text_length(self) -> None:
        """How many tokens it counts for a word, and round a prompt: by two lengths of text."""
        if self.server.prompt == "token_ids" and self.server.api != "chat":
            return
        counts = []
        for times in _SAMPLES:
            answer = self.send(self.server, 1, sample(times))
            if answer is None:  # one may be below its minimum
                answer = self.send(self.server, self.few, sample(times))
            if answer is None or answer.tokens.prompt is None:
                return
            counts.append(answer.tokens.prompt)
        self.server = replace(self.server, text_length=length_of(counts, _SAMPLES))

    def find_ignore_eos(self) -> None:
        """Whether it can be told to go on to max_tokens, and does."""
        if self.want.ignore_eos is False:
            return
        if self.want.endless:
            shape = replace(self.server, ignore_eos=True, endless=True)
            if self.goes_on(shape, "answers that go on to their length"):
                self.server = shape
            return
        for name, by_minimum in (("ignore_eos", False), ("min_tokens", True)):
            shape = replace(self.server, ignore_eos=True, min_tokens=by_minimum)
            if self.goes_on(shape, name):
                self.server = shape
                return
        if self.want.ignore_eos:
            raise EngineError(
                f"engine.ignore_eos=true: {self.left_out[-1]}; without it answers end where the "
                "model ends them (engine.ignore_eos=null).",
                code="refused",
            )

    def goes_on(self, shape: Server, name: str) -> bool:
        """Whether an answer of this shape has all the tokens that it may have."""
        for tokens in (_LONG_TOKENS, _TOKENS):
            answer = self.send(shape, tokens)
            if answer is None:
                if getattr(self.refusal, "code", "") == "server_error":
                    break  # it began, and failed where the answer would have ended
                continue  # it may be the length that is refused
            got = answer.tokens.completion
            if got is None and answer.tokens.finish != "length":
                ended = answer.tokens.finish == "stop" or shape.min_tokens
                got = answer.pieces if ended else tokens
            if got is None or got >= tokens:
                return True
            self.left_out.append(f"{name} (accepted and ignored)")
            self.note_end(answer, tokens)
            return False
        self.leave_out(name)
        return False

    def note_end(self, answer: _Answer, tokens: int) -> None:
        """Whether an answer that the model ended gives no reason for it."""
        got = answer.tokens.completion
        if got is not None and got < tokens and not answer.tokens.finish:
            self.server = replace(self.server, ends_unsaid=True)

    def leave_out(self, what: str) -> None:
        """Note what was refused, in the server's own words."""
        self.left_out.append(f"{what} ({' '.join(str(self.refusal).split())[:120]})")

    # --- asking ---

    def must(self, shape: Server, tokens: int) -> _Answer:
        """Like `send`, but a refusal is an EngineError."""
        answer = self.send(shape, tokens)
        if answer is None:
            assert self.refusal is not None
            raise self.refusal
        return answer

    def send(
        self, shape: Server, tokens: int | None = None, text: str = _PROMPT_TEXT
    ) -> _Answer | None:
        """The answer, or None when the server refuses this shape of request in any way."""
        heard = self._heard(shape, tokens or self.few, text)
        try:
            if heard is None:
                return None
            if not 200 <= heard.status < 300:
                raise _refused(self.target, heard, shape.served_model, self.models)
            return _read(self.target, heard)
        except LoadingError:
            raise
        except BenchError as error:
            if getattr(error, "code", "") in ("unauthorised", "redirected", "busy"):
                raise
            self.refusal = error
            return None

    def _heard(self, shape: Server, tokens: int, text: str) -> Heard | None:
        url = f"{self.target.base_url}/{'chat/' if shape.api == 'chat' else ''}completions"
        raw = request_of(self.target, url, shape, tokens, text)
        for attempt in range(_BUSY_TRIES):
            try:
                heard = hear(
                    url, raw, timeout_s=self.target.timeout_s, context=context(self.target)
                )
            except FetchError as error:
                self.refusal = unreachable(url, error)
                if isinstance(error, SilentError) and not self.generates:
                    raise self.refusal from error
                return None  # one that generates and falls silent at an option does not take it
            if heard.status != 429:
                break
            if attempt < _BUSY_TRIES - 1:
                time.sleep(min(_retry_after_s(heard), 5.0))
        return heard


_USAGE_KEYS = {"continuous": "continuous_usage_stats", "final": "include_usage"}


def _retry_after_s(heard: Heard) -> float:
    given = heard.header(b"retry-after")
    return float(given) if given.isdigit() else 1.0


def request_of(
    target: Target, url: str, shape: Server, tokens: int, text: str = _PROMPT_TEXT
) -> bytes:
    """The bytes of one request for a few tokens, streamed as the load's are."""
    parts = urlsplit(url)
    prompt: Any = text
    if shape.api == "chat":
        prompt = [{"role": "user", "content": text}]
    elif shape.prompt == "token_ids":
        prompt = _PROMPT_IDS
    payload = json_text(request_body(shape, prompt, tokens)).encode()
    headers = {
        "Host": parts.netloc,
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
        **target.headers,
        "Content-Length": str(len(payload)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {parts.path} HTTP/1.1\r\n{lines}\r\n".encode("latin1") + payload


def _read(target: Target, heard: Heard) -> _Answer:
    """The tokens of an answer; EngineError when it is no stream of any or holds an error."""
    kind = heard.header(b"content-type")
    packed = heard.header(b"content-encoding")
    if packed not in ("", "identity"):
        raise EngineError(
            f"{target.base_url} compresses its stream (Content-Encoding: {packed}) although it is "
            "asked not to: when a token came cannot be seen. Turn compression off in the server or "
            "in the proxy before it.",
            code="bad_response",
        )
    try:
        columns = read_body(heard.body, ended=True)
        tokens = tokens_of(columns)
    except MalformedError as error:
        raise EngineError(
            f"{target.base_url} streams no completion: {error}.", code="bad_response"
        ) from error
    if tokens.error:
        raise EngineError(
            f"the server failed in mid-answer: {tokens.error[:200]}.", code="server_error"
        )
    if not columns.choice.any():
        came = heard.body[:80].decode(errors="replace")
        raise EngineError(
            f"{target.base_url} answered {heard.status} but streamed no token "
            f"({kind or 'no content type'}: {came!r}).",
            code="no_token" if tokens.done else "bad_response",
        )
    counted = columns.total[columns.text.astype(bool)] >= 0
    continuous = len(counted) > 1 and bool(counted[:-1].all()) and tokens.counts is not None
    named = _MODEL_NAMED.search(heard.body)
    return _Answer(
        heard=heard,
        tokens=tokens,
        continuous=continuous,
        model=None if named is None else plain(named[1].decode(errors="replace")),
    )


_MODEL_NAMED = re.compile(rb'"model": ?"([^"\\]{1,200})"')


_FIRST_PAUSE_S = 0.05


def wait_ready(attempt: Callable[[], T], tick: Callable[[], None], *, tick_s: float = 0.5) -> T:
    """The result of `attempt` once it no longer fails with `unreachable`.

    `tick` is called about every `tick_s` seconds, also while an attempt takes long (a first
    request may compile for minutes); it shows progress and raises when waiting is pointless. The
    first pauses are shorter, each twice the last: a server may be there at once.
    """
    pause_s = min(_FIRST_PAUSE_S, tick_s)
    while True:
        outcome = _in_thread(attempt, tick, tick_s)
        if not isinstance(outcome, EngineError):
            return outcome
        began = time.monotonic()
        tick()
        time.sleep(max(0.0, pause_s - (time.monotonic() - began)))
        pause_s = min(2 * pause_s, tick_s)


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


def _refused(target: Target, heard: Heard, model: str, models: tuple[str, ...]) -> BenchError:
    """The error that a status other than 200 stands for."""
    said = " ".join(heard.body.decode(errors="replace").split())[:200]
    status = heard.status
    if status in (401, 403):
        return _unauthorised(target, status)
    if 300 <= status < 400:
        where = heard.header(b"location") or "an address that it does not name"
        return EngineError(
            f"the server answered {status} and sends to {where}: set engine.base_url to where the "
            "completions really are.",
            code="redirected",
        )
    if status == 404 and models and model not in models:
        return EngineError(
            f"engine.served_model: the server has no {model!r}.{nearest(model, models)} "
            f"It serves: {', '.join(models[:20])}.",
            code="unknown_model",
        )
    if status in (404, 405):
        return EngineError(
            f"the server answered {status} to a completion for {model!r}: {said!r}. Check "
            "engine.served_model, engine.api and that engine.base_url ends in /v1.",
            code="not_found",
        )
    if status == 429:
        return EngineError(
            f"the server limits its rate (429: {said!r}): it cannot be loaded before that limit is "
            "lifted for this key.",
            code="busy",
        )
    if status == 503:
        return LoadingError(
            f"the server answered 503: {said!r}. If it is still loading its model, raise "
            f"engine.start_timeout_s (now {target.timeout_s:g}).",
            code="server_error",
        )
    code = "server_error" if status >= 500 else "refused"
    return EngineError(f"the server answered {status}: {said!r}.", code=code)


def _unauthorised(target: Target, status: int) -> EngineError:
    if target.key_env is None:
        remedy = (
            "it wants an API key, and to an engine that bench starts it sends none: take --api-key "
            "out of engine.args, and VLLM_API_KEY out of the environment."
        )
    elif "Authorization" in target.headers:
        remedy = f"the key in the environment variable {target.key_env} is not taken; set another."
    else:
        remedy = f"set the environment variable {target.key_env} to a valid API key."
    return EngineError(f"the server refused the request ({status}): {remedy}", code="unauthorised")


def _models(target: Target, *, needed: bool) -> tuple[dict[str, dict[str, Any]], str]:
    """What /v1/models lists by id, and why it lists nothing: a server need not have that list, and
    where it is not `needed` it may as well say nothing."""
    asked = target if needed else replace(target, timeout_s=min(target.timeout_s, _LIST_S))
    try:
        reply: Reply = request(asked, f"{target.base_url}/models")
    except EngineError as error:
        if needed:
            raise
        return {}, str(error)
    if reply.status != 200:
        return {}, f"answers {reply.status} ({' '.join(reply.body.split())[:120]})"
    data = json_of(reply).get("data")
    if not isinstance(data, list):
        return {}, "lists none"
    found = {m["id"]: m for m in data if isinstance(m, dict) and isinstance(m.get("id"), str)}
    return found, "lists none"


def _only_model(target: Target, models: Mapping[str, object], why_none: str) -> str:
    if len(models) == 1:
        return next(iter(models))
    if why_none.startswith(("answers 401", "answers 403")):
        raise _unauthorised(target, int(why_none.split()[1]))
    if why_none.startswith("answers 5"):
        raise LoadingError(
            f"engine.served_model: {target.base_url}/models {why_none}: {_MODELS_HINT}",
            code="server_error",
        )
    if not models:
        raise InputError(
            f"engine.served_model: {target.base_url}/models {why_none}; say which model to ask for."
        )
    raise InputError(f"engine.served_model: choose one of {', '.join(sorted(models))}.")


_VERSIONS: Mapping[str | None, Sequence[tuple[str, str]]] = {
    "sglang": (("/server_info", "version"), ("/get_server_info", "version")),
    "llama.cpp": (("/props", "build_info"),),
    "ollama": (("/api/version", "version"),),
}
"""Where engines say their version, and under which key; all others at /version, if anywhere."""


def _version(target: Target, serves: str | None) -> str | None:
    for path, key in _VERSIONS.get(serves, (("/version", "version"),)):
        said = json_of(optional(target, f"{target.root_url}{path}")).get(key)
        if isinstance(said, str) and said.strip():
            return said.strip()
    return None


_OWNERS = {
    "vllm": "vllm",
    "library": "ollama",
    "sglang": "sglang",
    "llamacpp": "llama.cpp",
    "tensorrt_llm": "tensorrt-llm",
    "lmdeploy": "lmdeploy",
    "bench-truth": "truth",
}


def _serves(listed: Mapping[str, Any]) -> str | None:
    """The engine, where the owner of a listed model names one that is known."""
    return _OWNERS.get(str(listed.get("owned_by")).casefold())


def _metrics_url(target: Target) -> str | None:
    url = f"{target.root_url}/metrics"
    reply = optional(target, url)
    answers = reply is not None and reply.status == 200 and "# TYPE" in reply.body
    return url if answers else None


def _context_tokens(listed: Mapping[str, Any]) -> int | None:
    """The longest context that a model's entry states, under the names that servers give it."""
    return _whole(listed, ("max_model_len", "context_length", "n_ctx"))


def _whole(listed: Mapping[str, Any], keys: Sequence[str]) -> int | None:
    """A whole number of a model's entry or, in llama.cpp's, of its `meta`."""
    meta = listed.get("meta")
    for where in (listed, meta if isinstance(meta, dict) else {}):
        for key in keys:
            value = where.get(key)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
    return None
