"""The body of a completion request in the shape that a server was found to take."""

from __future__ import annotations

from typing import Any

from bench.values.server import Server


def request_body(
    server: Server, prompt: list[int] | str | list[dict[str, str]], output_tokens: int
) -> dict[str, Any]:
    """What is sent to `server` to have `output_tokens` tokens streamed for `prompt`."""
    body: dict[str, Any] = {
        "model": server.served_model,
        server.max_tokens_field: output_tokens,
        "stream": True,
        "messages" if server.api == "chat" else "prompt": prompt,
    }
    if server.temperature is not None:
        body["temperature"] = server.temperature
    if server.ignore_eos and not server.endless:
        body["min_tokens" if server.min_tokens else "ignore_eos"] = (
            output_tokens if server.min_tokens else True
        )
    if server.usage != "none" and server.stream_options:
        body["stream_options"] = {"include_usage": True}
        if server.usage == "continuous":
            body["stream_options"]["continuous_usage_stats"] = True
    return {**body, **server.extra_body}
