"""Whether a server scores the tokens it is meant to score: BOS parity, judged on a few items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ITEMS = 4
"""How many of a run's first items are sent twice."""

MAX_DIFFERENCE_NATS = 0.5
"""Largest difference of one token's log-probability between the two forms. Batching and 16-bit
arithmetic move it by some hundredths; a missing BOS moves the first ones by several nats."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One text: its tokens, and the log-probabilities that the server gives for them, sent as
    token ids and as text (tokens after the first); None where the server gives none."""

    token_ids: tuple[int, ...]
    from_ids: tuple[float, ...] | None
    from_text: tuple[float, ...] | None


def judge(items: Sequence[Item], *, bos_token_id: int | None) -> dict[str, Any]:
    """What was found, as plain data; `problem` is None when the evaluation may go on.

    `checked` counts the items that could be compared: 0 for a server without prompt
    log-probabilities, which generation tasks do without.
    """
    both = [(i, i.from_ids, i.from_text) for i in items]
    compared = [(i, a, b) for i, a, b in both if a is not None and b is not None]
    problem: str | None = None
    difference: float | None = None
    for item, ids, text in compared:
        if len(ids) != len(text) or len(ids) != len(item.token_ids) - 1:
            problem = (
                f"BOS parity: the server makes {len(text) + 1} tokens of a text that the tokenizer "
                f"makes {len(item.token_ids)} of. Give the tokenizer of the served checkpoint "
                "(quality.tokenizer)."
            )
            break
        largest = max((abs(a - b) for a, b in zip(ids, text, strict=True)), default=0.0)
        difference = max(difference or 0.0, largest)
        if largest > MAX_DIFFERENCE_NATS:
            problem = (
                f"BOS parity: the same text scored as token ids and as text differs by "
                f"{largest:.2f} nats on one token: the server does not use the tokens of "
                "quality.tokenizer."
            )
            break
    first = {item.token_ids[:1] == (bos_token_id,) for item in items if item.token_ids}
    return {
        "items": len(items),
        "checked": len(compared),
        "bos_token_id": bos_token_id,
        "starts_with_bos": first.pop() if len(first) == 1 else None,
        "max_difference_nats": difference,
        "problem": problem,
    }
