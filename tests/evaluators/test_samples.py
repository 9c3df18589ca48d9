"""lm-eval's files as values: hand-made rows in the shape that lm-eval 0.4.13 writes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from bench.evaluators.samples import answer_stats, items, scores


def row(doc: int, metrics: dict[str, Any], resps: list[Any], filtered: list[Any]) -> dict[str, Any]:
    """One line of a sample log."""
    hashes = {f"{part}_hash": f"{part}{doc}" for part in ("doc", "prompt", "target")}
    return {
        "doc_id": doc, "filter": "none", "metrics": list(metrics), **metrics, **hashes,
        "resps": resps, "filtered_resps": filtered,
    }  # fmt: skip


def read(rows: list[dict[str, Any]], kind: str, answers: Any = ()) -> list[Any]:
    return list(items(rows, task="t", output_type=kind, sample=0, answers=dict(answers)))


def test_choices_keep_their_log_likelihoods() -> None:
    choices = [["-1.5", "False"], ["-0.25", "True"]]
    (found,) = read([row(3, {"acc": 1.0}, [[c] for c in choices], choices)], "multiple_choice")
    assert (found.doc_id, found.value, found.logliks) == (3, 1.0, (-1.5, -0.25))
    assert found.truncated is None


def test_the_hash_covers_document_prompt_and_target() -> None:
    first, second = (row(0, {"acc": 1.0}, [["x"]], ["x"]) for _ in range(2))
    second["prompt_hash"] = "another"
    a, b = read([first, second], "generate_until")
    assert a.item_hash != b.item_hash


def test_texts_are_nats_per_unit_with_their_weight() -> None:
    rows = [row(0, {"bits_per_byte": [-90.0, 300]}, [["-90.0"]], ["-90.0"])]
    (found,) = read(rows, "loglikelihood_rolling")
    assert found.value == pytest.approx(-0.3)
    assert found.weight == 300


def test_lists_of_verdicts_are_their_share() -> None:
    """IFEval's instructions of one prompt: 2 of 3 followed, counted as three."""
    rows = [row(0, {"inst": [True, True, False], "prompt": False}, [["x"]], ["x"])]
    inst, prompt = read(rows, "generate_until")
    assert (inst.value, inst.weight) == (pytest.approx(2 / 3), 3.0)
    assert (prompt.value, prompt.weight) == (0.0, 1.0)


def test_answers_are_joined_by_prompt_and_text() -> None:
    digest = hashlib.sha256(b" red").hexdigest()
    answer = {"input_tokens": 12, "output_tokens": 7, "reasoning_tokens": 5,
              "finish_reason": "length"}  # fmt: skip
    rows = [row(0, {"exact_match": 0.0}, [[" red"]], ["red"])]
    (found,) = read(rows, "generate_until", {("prompt0", digest): answer})
    assert (found.input_tokens, found.output_tokens, found.reasoning_tokens) == (12, 7, 5)
    assert found.truncated is True


def test_one_answer_to_two_prompts_keeps_the_tokens_of_each() -> None:
    """Both prompts are answered " red": 12 and 20 tokens went in, not twice the later one's."""
    digest = hashlib.sha256(b" red").hexdigest()
    answers = {
        (f"prompt{doc}", digest): {"input_tokens": tokens, "finish_reason": "stop"}
        for doc, tokens in enumerate([12, 20])
    }
    rows = [row(doc, {"exact_match": 1.0}, [[" red"]], ["red"]) for doc in (0, 1)]
    assert [i.input_tokens for i in read(rows, "generate_until", answers)] == [12, 20]


def test_answer_stats_count_an_answer_once() -> None:
    """Two answers scored by two metrics each: means 10 and 3 over two, one cut."""
    answers = {}
    rows = []
    for doc, (tokens, reason) in enumerate([(2, "stop"), (4, "length")]):
        text = f" {doc}"
        answers[f"prompt{doc}", hashlib.sha256(text.encode()).hexdigest()] = {
            "input_tokens": 10, "output_tokens": tokens, "finish_reason": reason,
        }  # fmt: skip
        rows.append(row(doc, {"a": 1.0, "b": 0.0}, [[text]], [text]))
    (found,) = answer_stats(read(rows, "generate_until", answers))
    assert (found.n, found.input_tokens, found.output_tokens) == (2, 10.0, 3.0)
    assert (found.truncated, found.reasoning_tokens) == (1, None)


def test_scores_say_what_lm_eval_said() -> None:
    results = {
        "results": {
            "t": {"alias": "t", "acc,none": 0.75, "acc_stderr,none": 0.1, "sample_len": 4},
            "ppl": {"bits_per_byte,none": 0.5, "bits_per_byte_stderr,none": "N/A"},
        },
        "configs": {"t": {"output_type": "multiple_choice"}, "ppl": {}},
        "versions": {"t": 1.0}, "n-shot": {"t": 5}, "task_hashes": {"t": "abc"},
        "higher_is_better": {"t": {"acc": True}, "ppl": {"bits_per_byte": False}},
        "n-samples": {"t": {"effective": 4}, "ppl": {"effective": 60}},
    }  # fmt: skip
    choices = [["-1", "a"], ["-2", "b"], ["-3", "c"], ["-4", "d"]]
    scored = read([row(0, {"acc": 1.0}, [[c] for c in choices], choices)], "multiple_choice")
    acc, bits = scores(results, scored)
    assert (acc.value, acc.stderr, acc.n, acc.num_fewshot) == (0.75, 0.1, 4, 5)
    assert (acc.version, acc.task_hash, acc.chance) == ("1.0", "abc", 0.25)
    assert (bits.stderr, bits.higher_is_better, bits.chance) == (None, False, None)
