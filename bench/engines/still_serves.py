"""Whether a server still serves after the last load point: shown by a real token.

An engine that dies in the last load point takes no later one down with it, and its API server may
outlive the core by seconds: alive as a process, and with an open port. One more token says it all.
"""

from __future__ import annotations

import time

from bench.engines.exchange import Target, context
from bench.values.json_text import json_text
from bench.values.server import Server
from bench.web.ask import request_body
from bench.web.fetch import FetchError, fetch

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


def _asked(target: Target, server: Server) -> str:
    """One token asked for: "" when it came, else what came."""
    prompt: list[int] | str = [7, 11, 13] if server.prompt == "token_ids" else "one two three"
    body = {**request_body(server, prompt, 1), "stream": False}
    body.pop("stream_options", None)
    url = f"{target.base_url}/{'chat/completions' if server.api == 'chat' else 'completions'}"
    headers = {**target.headers, "Content-Type": "application/json"}
    try:
        answer = fetch(
            url,
            data=json_text(body).encode(),
            headers=headers,
            timeout_s=min(_ANSWER_S, target.timeout_s),
            context=context(target),
        )
    except FetchError as error:
        return str(error)
    return "" if answer.status < 500 else f"HTTP {answer.status}: {answer.text[:200]}"
