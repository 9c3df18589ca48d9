"""What is recorded of a generation: the harness with a server's replies, no server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.evaluators import harness

THINKING = "\n\nTwo and two.</think>\n\n4"


class Backend:
    """The part of lm-eval's backend that the recording is mixed into."""

    tokenizer: Any = None

    def parse_generations(self, outputs: Any, **_: Any) -> Any:
        return [choice["text"] for body in outputs for choice in body["choices"]]


class Recording(harness._Recorded, Backend):
    """The recording alone."""


class Words:
    """A tokenizer with a token per word."""

    def encode(self, text: str, **_: Any) -> list[str]:
        return text.split()


def body(text: str | None, tokens: int, reason: str = "stop", usage: Any = None) -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "text": text, "finish_reason": reason}],
        "usage": {"prompt_tokens": 7, "completion_tokens": tokens, **(usage or {})},
    }


def recorded(tmp_path: Path, *bodies: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    model = Recording()
    model.tokenizer = Words()
    prompts = [f"prompt {i}" for i in range(len(bodies))]
    texts = model.parse_generations(list(bodies), contexts=prompts)
    lines = (tmp_path / "answers.jsonl").read_text().splitlines()
    return texts, [json.loads(line) for line in lines]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_QUALITY_DIR", str(tmp_path))


def test_thinking_is_counted_kept_and_not_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "Two and two.</think>" are three words of the nine tokens that the answer took."""
    monkeypatch.setenv("BENCH_THINK_END", "</think>")
    texts, (row,) = recorded(tmp_path, body(THINKING, 9))
    assert texts == ["4"]
    assert (row["output_tokens"], row["reasoning_tokens"]) == (9, 3)
    assert row["thinking"] == "\n\nTwo and two.</think>"


def test_thinking_that_never_ended_was_all_there_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_THINK_END", "</think>")
    texts, rows = recorded(tmp_path, body("Two and", 2, "length"), body("4", 1))
    assert texts == ["Two and", "4"]
    assert [r["reasoning_tokens"] for r in rows] == [2, 0]


def test_the_servers_own_count_of_thinking_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_THINK_END", "</think>")
    details = {"completion_tokens_details": {"reasoning_tokens": 6}}
    _, (row,) = recorded(tmp_path, body(THINKING, 9, usage=details))
    assert row["reasoning_tokens"] == 6


def test_without_a_tag_everything_is_the_answer(tmp_path: Path) -> None:
    texts, rows = recorded(tmp_path, body(THINKING, 9), body(None, 0, "length"))
    assert texts == [THINKING, ""]
    assert [r["reasoning_tokens"] for r in rows] == [None, None]
    assert [r["finish_reason"] for r in rows] == ["stop", "length"]


def test_rows_carry_the_digests_that_the_sample_log_has(tmp_path: Path) -> None:
    import hashlib

    _, rows = recorded(tmp_path, body("a", 1), body("a", 1))
    assert [r["prompt_sha256"] for r in rows] == [
        hashlib.sha256(f"prompt {i}".encode()).hexdigest() for i in (0, 1)
    ]
    assert rows[0]["text_sha256"] == rows[1]["text_sha256"]
