"""lm-eval's files as values: hand-made rows in the shape that lm-eval 0.4.13 writes."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import pytest

from bench.evaluators.samples import answer_stats, items, not_finite, right_choices, scores
from bench.values.codec import encode


def row(doc: int, metrics: dict[str, Any], resps: list[Any], filtered: list[Any]) -> dict[str, Any]:
    """One line of a sample log."""
    hashes = {f"{part}_hash": f"{part}{doc}" for part in ("doc", "prompt", "target")}
    return {
        "doc_id": doc,
        "filter": "none",
        "metrics": list(metrics),
        **metrics,
        **hashes,
        "resps": resps,
        "filtered_resps": filtered,
    }


def read(rows: list[dict[str, Any]], kind: str, answers: Any = ()) -> list[Any]:
    return list(items(rows, task="t", output_type=kind, sample=0, answers=dict(answers)))


def test_choices_keep_their_log_likelihoods() -> None:
    choices = [["-1.5", "False"], ["-0.25", "True"]]
    (found,) = read([row(3, {"acc": 1.0}, [[c] for c in choices], choices)], "multiple_choice")
    assert (found.doc_id, found.value, found.logliks) == (3, 1.0, (-1.5, -0.25))
    assert found.truncated is None


def choice(doc: int, target: str, acc: float, *logliks: float) -> dict[str, Any]:
    """A multiple-choice row; the choices are the numerals 1, 2, 3 in this order."""
    given = [[str(v), "False"] for v in logliks]
    arguments = {f"gen_args_{i}": {"arg_1": f" {i + 1}"} for i in range(len(logliks))}
    return row(doc, {"acc": acc}, [[g] for g in given], given) | {
        "target": target,
        "arguments": arguments,
    }


def test_the_right_choice_has_a_probability() -> None:
    """ln 4, ln 3, ln 1: the right one has 3 of 8, and 4 of 8 in the second row."""
    rows = [
        choice(0, "1", 0.0, math.log(4), math.log(3), 0.0),
        choice(1, "0", 1.0, math.log(4), math.log(3), math.log(1)),
    ]
    acc, p_right = (
        [i for i in read(rows, "multiple_choice") if i.metric == m] for m in ("acc", "p_right")
    )
    assert [i.value for i in p_right] == [pytest.approx(3 / 8), pytest.approx(1 / 2)]
    assert [i.item_hash for i in p_right] == [i.item_hash for i in acc]


def test_a_target_is_read_as_the_accuracy_bears_out() -> None:
    """Target "2" is the third place or the text of the second choice: accuracy decides."""
    as_place = [choice(0, "2", 1.0, -3, -2, -1), choice(1, "0", 0.0, -3, -2, -1)]
    as_text = [choice(0, "2", 1.0, -3, -1, -2), choice(1, "3", 0.0, -1, -2, -3)]
    assert right_choices(as_place) == [2, 0]
    assert right_choices(as_text) == [1, 2]


def test_a_right_choice_in_doubt_has_no_probability() -> None:
    """All wrong: "2" may be either place. And a target that is no choice at all."""
    for rows in ([choice(0, "2", 0.0, -1, -2, -3)], [choice(0, "none of them", 0.0, -1, -2, -3)]):
        assert right_choices(rows) is None
        assert [i.metric for i in read(rows, "multiple_choice")] == ["acc"]


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
    answer = {
        "input_tokens": 12,
        "output_tokens": 7,
        "reasoning_tokens": 5,
        "finish_reason": "length",
    }
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
            "input_tokens": 10,
            "output_tokens": tokens,
            "finish_reason": reason,
        }
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
        "versions": {"t": 1.0},
        "n-shot": {"t": 5},
        "task_hashes": {"t": "abc"},
        "higher_is_better": {"t": {"acc": True}, "ppl": {"bits_per_byte": False}},
        "n-samples": {"t": {"effective": 4}, "ppl": {"effective": 60}},
    }
    choices = [["-1", "a"], ["-2", "b"], ["-3", "c"], ["-4", "d"]]
    scored = read([row(0, {"acc": 1.0}, [[c] for c in choices], choices)], "multiple_choice")
    acc, bits = scores(results, scored)
    assert (acc.value, acc.stderr, acc.n, acc.num_fewshot) == (0.75, 0.1, 4, 5)
    assert (acc.version, acc.task_hash, acc.chance) == ("1.0", "abc", 0.25)
    assert (bits.stderr, bits.higher_is_better, bits.chance) == (None, False, None)


def test_the_probability_is_scored_beside_accuracy() -> None:
    """3 of 8 and 4 of 8: mean 7 ÷ 16; standard error |1 ÷ 8| ÷ 2, as of two values."""
    results = {
        "results": {"t": {"acc,none": 0.5, "acc_stderr,none": 0.5}},
        "configs": {"t": {}},
        "versions": {"t": 1.0},
        "n-shot": {"t": 0},
        "higher_is_better": {"t": {"acc": True}},
        "n-samples": {"t": {"effective": 2}},
    }
    rows = [choice(d, str(1 - d), float(d), math.log(4), math.log(3), 0.0) for d in (0, 1)]
    _, p_right = scores(results, read(rows, "multiple_choice"))
    assert (p_right.task, p_right.metric, p_right.n) == ("t", "p_right", 2)
    assert p_right.value == pytest.approx(7 / 16)
    assert p_right.stderr == pytest.approx(1 / 16)
    assert p_right.chance == pytest.approx(1 / 3)


def test_nan_and_infinity_are_no_scores_and_are_named() -> None:
    """lm-eval writes `Infinity` for the perplexity of a token that had probability 0."""
    values = {"acc,none": 0.5, "acc_stderr,none": float("nan"), "word_perplexity,none": math.inf}
    results: dict[str, Any] = {
        "results": {"t": values},
        "configs": {},
        "n-samples": {},
        "higher_is_better": {},
        "versions": {},
        "n-shot": {},
    }
    (only,) = scores(results, ())
    assert (only.metric, only.value, only.stderr) == ("acc", 0.5, None)
    assert not_finite(results, ()) == ("t:word_perplexity",)
    assert encode({"a": math.inf, "b": [math.nan, 1.0]}) == {"a": None, "b": [None, 1.0]}
