"""The BOS check: what passes, and what must stop an evaluation."""

from __future__ import annotations

from bench.evaluators.parity import Item, judge


def item(ids: tuple[int, ...], from_ids: tuple[float, ...] | None, text: object = ()) -> Item:
    """An item; the text's log-probabilities are those of the ids unless given."""
    given = from_ids if text == () else text
    return Item(token_ids=ids, from_ids=from_ids, from_text=given)  # type: ignore[arg-type]


def test_the_same_tokens_pass() -> None:
    found = judge([item((0, 5, 6), (-1.0, -2.0)), item((0, 7), (-3.0,))], bos_token_id=0)
    assert found["problem"] is None
    assert (found["checked"], found["starts_with_bos"]) == (2, True)
    assert found["max_difference_nats"] == 0.0


def test_a_bos_that_only_the_server_adds_is_found() -> None:
    """Ids without BOS, text with: the server makes one token more of the text."""
    found = judge([item((5, 6), (-2.0,), (-1.0, -2.0))], bos_token_id=0)
    assert "makes 3 tokens of a text that the tokenizer makes 2 of" in found["problem"]


def test_other_tokens_of_the_same_number_are_found() -> None:
    found = judge([item((0, 5, 6), (-1.0, -2.0), (-1.0, -4.0))], bos_token_id=0)
    assert "differs by 2.00 nats" in found["problem"]


def test_rounding_of_16_bits_passes_and_is_reported() -> None:
    found = judge([item((0, 5, 6), (-1.0, -2.0), (-1.02, -1.97))], bos_token_id=0)
    assert found["problem"] is None
    assert 0.02 < found["max_difference_nats"] < 0.04


def test_a_server_without_log_probabilities_is_said_to_be_unchecked() -> None:
    found = judge([item((0, 5), None, None)], bos_token_id=0)
    assert found["problem"] is None
    assert found["checked"] == 0
    assert found["max_difference_nats"] is None
