"""One HTTP exchange with a server on trial: where it is, and what it answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bench.values.errors import EngineError, InputError
from bench.values.outside import plain_data
from bench.web.fetch import FetchError, fetch


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server's address: `base_url` is normalised; `headers` may hold a secret."""

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    key_env: str | None = None
    timeout_s: float = 30.0

    @property
    def root_url(self) -> str:
        """Where /metrics and /version are: the address without its /v1."""
        return self.base_url.removesuffix("/v1")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back; `body` is the whole answer, a stream read to its end."""

    status: int
    content_type: str
    body: str


def normalise_base_url(url: str) -> str:
    """`url` without a trailing slash, with /v1 where it names no path; InputError if malformed."""
    malformed = InputError(
        f"engine.base_url: {url!r} is not an address such as http://127.0.0.1:8000/v1."
    )
    try:
        parts = urlsplit(url.strip())
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:  # a port that is no number, a bracket that is not closed
        raise malformed from error
    if not good or parts.query or parts.fragment:
        raise malformed
    if parts.username or parts.password:
        raise InputError(
            "engine.base_url holds a user or password, which would be stored; "
            "put the key into the environment variable that engine.api_key_env names."
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"


def request(target: Target, url: str, body: Mapping[str, Any] | None = None) -> Reply:
    """One exchange; EngineError(code="unreachable") without an answer within the timeout.

    The timeout is that of the whole exchange, and an answer has a largest size: see
    `bench.web.fetch`.
    """
    headers = {"Content-Type": "application/json", **target.headers}
    data = None if body is None else json.dumps(body).encode()
    try:
        answer = fetch(url, data=data, headers=headers, timeout_s=target.timeout_s)
    except FetchError as error:
        raise EngineError(
            f"engine.base_url: no answer from {url} ({error}). "
            "Start the server or correct the address.",
            code="unreachable",
        ) from error
    kind = answer.headers.get("content-type", "")
    return Reply(status=answer.status, content_type=kind, body=answer.text)


def optional(target: Target, url: str) -> Reply | None:
    """The reply to a request that a server need not answer."""
    try:
        return request(target, url)
    except EngineError:
        return None


def json_of(reply: Reply | None) -> dict[str, Any]:
    """The JSON object of a successful reply; empty for anything else."""
    if reply is None or reply.status != 200:
        return {}
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return plain_data(value) if isinstance(value, dict) else {}
