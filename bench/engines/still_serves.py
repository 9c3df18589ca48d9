"""Whether a server still serves after the last load point: shown by a real token.

An engine that dies in the last load point takes no later one down with it, and its API server may
outlive the core by seconds: alive as a process, and with an open port. One more token says it all.
"""

from __future__ import annotations

import contextlib
import time

from bench.engines.exchange import Target, context
from bench.engines.probe import request_of
from bench.values.server import Server
from bench.web.fetch import FetchError, fetch
from bench.web.hear import Heard, hear
from bench.web.http import MalformedError
from bench.web.sse import read_body
from bench.web.tokens import tokens_of

_TRIES = 3
_PAUSE_S = 0.5
_ANSWER_S = 120.0


def why_not(target: Target, server: Server) -> str | None:
    """None while the server generates; what it says or does instead, after a few tries."""
    said = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_S)
        said = _asked(target, server)
        if not said:
            return None
        if said.startswith("no end"):  # it hangs: asking again would take as long
            break
    return said


def answers(target: Target) -> bool:
    """Whether anything there still speaks HTTP: one generation that is dropped is no death."""
    with contextlib.suppress(FetchError):
        fetch(
            f"{target.base_url}/models",
            headers=target.headers,
            timeout_s=target.timeout_s,
            context=context(target),
        )
        return True
    return False


def _asked(target: Target, server: Server) -> str:
    """One token asked for, in the shape that the load used: "" when it came, else what came."""
    url = f"{target.base_url}/{'chat/completions' if server.api == 'chat' else 'completions'}"
    try:
        heard = hear(
            url,
            request_of(target, url, server, 1),
            timeout_s=min(_ANSWER_S, target.timeout_s),
            context=context(target),
        )
    except FetchError as error:
        return str(error)
    said = heard.body[:200].decode(errors="replace")
    failed = heard.status >= 500 or (heard.status == 200 and _error_in(heard))
    return f"HTTP {heard.status}: {said}" if failed else ""


def _error_in(heard: Heard) -> bool:
    """Whether an engine that died behind its API server said so within a stream that began well."""
    try:
        return bool(tokens_of(read_body(heard.body, ended=True)).error)
    except MalformedError:
        return False
