"""A key is hidden by the name beside it, by its shape, and by the environment that holds it."""

from __future__ import annotations

from typing import Any

import pytest

from bench.values.redact import HIDDEN, held, names_a_secret, redacted


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (["--api-key", "abc", "--port", "1"], ["--api-key", HIDDEN, "--port", "1"]),
        (["--api-key=abc"], [f"--api-key={HIDDEN}"]),
        (["--hf-token", "--enforce-eager"], ["--hf-token", "--enforce-eager"]),
        (["--tokenizer", "/m"], ["--tokenizer", "/m"]),
        ({"HF_TOKEN": "x", "VLLM_USE_V1": "1"}, {"HF_TOKEN": HIDDEN, "VLLM_USE_V1": "1"}),
        ({"max_tokens": 5, "tokens": "12"}, {"max_tokens": 5, "tokens": "12"}),
        ({"api_key_env": "MY_KEY"}, {"api_key_env": "MY_KEY"}),
        ("401: bad key sk-proj-abcdefghij1234", f"401: bad key {HIDDEN}"),
        ("Authorization: Bearer abcdef.ghi", f"Authorization: Bearer {HIDDEN}"),
        ("hf_AbCdEfGhIjKlMnOp in the log", f"{HIDDEN} in the log"),
        ("http://me:pass@host/v1", f"http://{HIDDEN}@host/v1"),
        ("deepseek-r1 on sk-learn, 12 tokens", "deepseek-r1 on sk-learn, 12 tokens"),
        ({"a": [{"password": "x"}]}, {"a": [{"password": HIDDEN}]}),
        (None, None),
    ],
)
def test_what_is_stored(value: Any, stored: Any) -> None:
    assert redacted(value, frozenset()) == stored


def test_a_key_of_the_environment_is_hidden_wherever_it_is_echoed() -> None:
    known = held({"MY_API_KEY": " plain-words-7 ", "HOME": "/root", "SHORT_KEY": "abc"})
    assert known == {"plain-words-7"}
    assert redacted({"errors": {"1": "you sent plain-words-7!"}}, known) == {
        "errors": {"1": f"you sent {HIDDEN}!"}
    }


@pytest.mark.parametrize(
    "name",
    [
        "key",
        "eos_token",
        "image_token",
        "sort_key",
        "tokens",
        "keys",
        "monkey",
        "output_tokens",
        "tokenizer",
    ],
)
def test_names_that_hold_none(name: str) -> None:
    assert not names_a_secret(name)
