"""A server's page of metrics, fetched as the load speaks to it: same certificates, same key."""

from __future__ import annotations

from collections.abc import Mapping

from bench.values.server import Server
from bench.web.fetch import FetchError, fetch
from bench.web.tls import context_of


def page(url: str, timeout_s: float, server: Server | None = None) -> str | None:
    """The text at `url`; None unless it is answered with 200 within the time.

    `server` is whose page it is: its certificates count and its headers, which may hold a key, are
    sent, but never in the clear where the load itself is encrypted.
    """
    headers: Mapping[str, str] = {}
    context = None
    if server is not None:
        encrypted = url.startswith("https:")
        headers = server.headers if encrypted or server.base_url.startswith("http:") else {}
        context = context_of(server.tls_verify, server.ca_file) if encrypted else None
    try:
        answer = fetch(url, headers=headers, timeout_s=timeout_s, context=context)
    except FetchError:
        return None
    return answer.text if answer.status == 200 else None
