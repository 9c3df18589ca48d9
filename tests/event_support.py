"""Messages and streams as servers write them, for the tests that read events."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st


def completion(text: str, total: int | None = None, **more: Any) -> dict[str, Any]:
    """One chunk as vLLM writes it, keys in its order."""
    message: dict[str, Any] = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "text": text,
                "logprobs": None,
                "finish_reason": None,
                "stop_reason": None,
                **more,
            }
        ],
    }
    if total is not None:
        message["usage"] = {
            "prompt_tokens": 7,
            "total_tokens": 7 + total,
            "completion_tokens": total,
        }
    return message


def chat(delta: dict[str, Any]) -> dict[str, Any]:
    """One chunk of a chat stream."""
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}],
    }


def stream(*messages: Any, end: str = "\n\n", done: bool = True) -> bytes:
    """An event stream of these messages."""
    lines = [json.dumps(m, separators=(",", ":"), ensure_ascii=False) for m in messages]
    return "".join(
        f"data: {line}{end}" for line in [*lines, *(["[DONE]"] if done else [])]
    ).encode()


MESSAGES = st.lists(
    st.one_of(
        st.builds(completion, st.text(max_size=12), st.none() | st.integers(0, 50)),
        st.builds(lambda t: chat({"content": t}), st.text(max_size=12)),
        st.just(chat({"role": "assistant", "content": ""})),
        st.just(
            {"object": "x", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}}
        ),
        st.just({"error": {"message": "boom"}}),
    ),
    max_size=8,
)
