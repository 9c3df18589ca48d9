"""One HTTP exchange with a server on trial: where it is, and what it answered."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bench.values.errors import EngineError, InputError
from bench.values.outside import plain_data
from bench.web.fetch import FetchError, fetch
from bench.web.tls import context_of


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server's address: `base_url` is normalised; `headers` may hold a secret."""

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    key_env: str | None = None
    timeout_s: float = 30.0
    tls_verify: bool = True
    ca_file: str | None = None

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
    such = (
        "http://127.0.0.1:8000/v1" if "://" in url or not url.strip() else f"http://{url.strip()}"
    )
    malformed = InputError(f"engine.base_url: {url!r} is not an address such as {such}.")
    try:
        parts = urlsplit(url.strip())
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:  # a port that is no number, a bracket that is not closed
        raise malformed from error
    if good and (parts.query or parts.fragment):
        raise InputError(
            "engine.base_url has a query (what follows ? or #), which bench does not send: leave "
            "it out, or put a proxy that adds it before the server."
        )
    if not good:
        raise malformed
    if parts.username or parts.password:
        raise InputError(
            "engine.base_url holds a user or password, which would be stored; "
            "put the key into the environment variable that engine.api_key_env names."
        )
    path = parts.path.rstrip("/")
    for end in ("/chat/completions", "/completions"):  # the whole address, as it is often copied
        path = path.removesuffix(end)
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


def request(target: Target, url: str) -> Reply:
    """One GET; EngineError(code="unreachable") when nothing answers within the timeout."""
    try:
        answer = fetch(
            url, headers=target.headers, timeout_s=target.timeout_s, context=context(target)
        )
    except FetchError as error:
        raise unreachable(url, error) from error
    kind = answer.headers.get("content-type", "")
    return Reply(status=answer.status, content_type=kind, body=answer.text)


def unreachable(url: str, error: FetchError) -> EngineError:
    """The error that no answer at all stands for."""
    remedy = "Start the server or correct the address."
    if "CERTIFICATE_VERIFY_FAILED" in str(error) or "certificate verify failed" in str(error):
        remedy = (
            "Set engine.ca_file to the PEM file of the authority that signed its certificate, or "
            "engine.tls_verify=false."
        )
    elif "it began to answer" in str(error):
        remedy = (
            "Neither [DONE] nor the end of its response came: raise engine.start_timeout_s if it "
            "is that slow; what leaves its answers open cannot be measured."
        )
    elif "no end within" in str(error):
        remedy = "If it is still loading its model, raise engine.start_timeout_s."
    elif any(word in str(error).lower() for word in _NO_TLS):
        remedy = "It does not speak TLS there: set engine.base_url to http://…"
    elif "without a word" in str(error):
        remedy = "See its log; if it speaks TLS, set engine.base_url to https://…"
    elif any(word in str(error) for word in _TLS_ALERT):
        remedy = "It speaks TLS there: set engine.base_url to https://…"
    elif any(word in str(error) for word in _HTTP_2):
        remedy = "It speaks HTTP/2 alone: bench needs HTTP/1.1, which a proxy before it can give."
    return EngineError(
        f"engine.base_url: no answer from {url} ({str(error).strip()}). {remedy}",
        code="unreachable",
    )


_NO_TLS = (
    "no tls within",
    "wrong version number",
    "wrong_version_number",
    "http_request",
    "record layer failure",
)
_TLS_ALERT = (r"b'\x15\x03", r"'\x15\x03", r"'\x16\x03")
_HTTP_2 = (r"b'\x00\x00", r"'\x00\x00", "PRI * HTTP/2")
"""Words of an error that show what was spoken instead."""


def context(target: Target) -> ssl.SSLContext | None:
    """The TLS context of an https target."""
    if not target.base_url.startswith("https:"):
        return None
    return context_of(target.tls_verify, target.ca_file)


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
