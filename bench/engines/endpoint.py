"""Any OpenAI-compatible server that already runs: nothing is started, everything is asked."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from bench.engines.exchange import Target, normalise_base_url
from bench.engines.listener import listeners
from bench.engines.probe import LoadingError, probe
from bench.engines.still_serves import answers, why_not
from bench.values.engine_words import same_engine
from bench.values.errors import EngineError, InputError
from bench.values.model_names import another_model, doubtful
from bench.values.outside import plain
from bench.values.server import Progress, ProgressCallback, Server
from bench.values.spec import EndpointSpec, RunSpec

_RETRY_S = 1.0


class EndpointEngine:
    """Finds out what a running server takes; see `bench.values.server.Engine`."""

    def serve(
        self, spec: RunSpec, run_dir: Path, progress: ProgressCallback
    ) -> AbstractContextManager[Server]:
        return _serve(spec, progress)


@contextlib.contextmanager
def _serve(spec: RunSpec, progress: ProgressCallback) -> Iterator[Server]:
    engine = spec.engine
    if not isinstance(engine, EndpointSpec):
        raise TypeError(f"not an endpoint run: {engine.kind}")
    base_url = normalise_base_url(engine.base_url)
    began_s = time.monotonic()
    key = api_key(engine.api_key_env, os.environ)
    if key is None and engine.api_key_env != EndpointSpec.api_key_env:
        raise InputError(
            "engine.api_key_env: no environment variable of that name is set; it takes the name of "
            "the variable that holds the key, never the key."
        )
    progress(Progress(phase="asking the endpoint", elapsed_s=0.0, detail=base_url))
    headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **engine.extra_headers}
    check_headers(engine.extra_headers)
    target = Target(
        base_url=base_url,
        headers=headers,
        key_env=engine.api_key_env,
        timeout_s=engine.start_timeout_s,
        tls_verify=engine.tls_verify,
        ca_file=engine.ca_file,
    )
    found = with_told(_ready(target, engine), engine)
    _same_model(found, engine)
    urls = _metrics_urls(engine, found.metrics_url)
    server = replace(
        found,
        vocab_size=engine.vocab_size or found.vocab_size,
        metrics_url=urls[0] if urls else None,
        more_metrics_urls=urls[1:],
        startup_s=time.monotonic() - began_s,
        listener_pids=listeners(base_url),
        headers=headers,
        nonce=secrets.randbits(48) | 1,
        tls_verify=engine.tls_verify,
        ca_file=engine.ca_file,
    )
    yield server
    why = why_not(target, server)
    # A status is an answer: that requests fail is the certificate's matter.
    if why is not None and not why.startswith("HTTP ") and not answers(target):
        raise EngineError(
            f"the server at {base_url} no longer answered after the last load point: {plain(why)}",
            code="endpoint_gone",
        )


def _ready(target: Target, engine: EndpointSpec) -> Server:
    """What the server takes, once it has loaded its model; EngineError after start_timeout_s."""
    until_s = time.monotonic() + engine.start_timeout_s
    while True:
        try:
            return probe(
                target,
                served_model=engine.served_model,
                api=engine.api,
                prompt=engine.prompt,
                temperature=engine.temperature,
                ignore_eos=engine.ignore_eos,
                max_tokens_field=engine.max_tokens_field,
                extra_body=engine.extra_body,
                metrics=engine.metrics_url == "auto",
            )
        except LoadingError:
            if time.monotonic() + _RETRY_S > until_s:
                raise
            time.sleep(_RETRY_S)


def _same_model(found: Server, engine: EndpointSpec) -> None:
    """Before any load: InputError where it serves another model than the one named, and a word on
    stderr where it answers to a name that is not the one it lists or bears."""
    wrong = another_model(engine.expects_model, found.served_model, found.models)
    if wrong is not None:
        raise InputError(f"{plain(wrong)}.")
    doubt = doubtful(found.served_model, found.models, found.answers_as)
    if doubt is not None:
        print(f"bench: {plain(doubt)}.", file=sys.stderr, flush=True)


def with_told(found: Server, engine: EndpointSpec) -> Server:
    """The server with what it does not say of itself as the user says; what it says stands, and
    another engine's version is none of its."""
    told = []
    if engine.serves is not None and found.serves is None:
        found, told = replace(found, serves=engine.serves), ["serves"]
    another = engine.serves is not None and not same_engine(found.serves, engine.serves)
    if engine.version is not None and found.engine_version is None and not another:
        found, told = replace(found, engine_version=engine.version), [*told, "engine_version"]
    return replace(found, told=tuple(told))


def _metrics_urls(engine: EndpointSpec, found: str | None) -> tuple[str, ...]:
    if engine.metrics_url == "auto":
        return () if found is None else (found,)
    if engine.metrics_url is None:
        return ()
    return (engine.metrics_url,) if isinstance(engine.metrics_url, str) else engine.metrics_url


def api_key(name: str, environment: Mapping[str, str]) -> str | None:
    """The key in the variable `name`, without the white space that a file or a paste puts round
    it; None where there is none. InputError, without the key, when it cannot be one."""
    key = environment.get(name, "").strip()
    if any(not "!" <= c <= "~" for c in key):
        raise InputError(
            f"the environment variable {name} holds no API key: a key is one word of printable "
            "ASCII, and there is white space, a control character or another letter inside it."
        )
    return key or None


def check_headers(headers: Mapping[str, str]) -> None:
    """InputError for a header that cannot be sent; its value is not repeated."""
    for name, value in headers.items():
        if not name or any(not "!" <= c <= "~" or c == ":" for c in name):
            raise InputError(f"engine.extra_headers: {name!r} is no name of a header.")
        if any(c < " " or c > "\xff" for c in value):
            raise InputError(
                f"engine.extra_headers: the value of {name} has a character that no header holds."
            )
