"""Which answers count as cut: by the ends that the probe or the other answers showed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.traffic.answers import ParsedShot, judged
from bench.values.server import Server

ASKED = 10
WHOLE = ParsedShot(
    outcome="ok",
    chunk_tokens=np.ones(ASKED, dtype=np.int64),
    completion_tokens=ASKED,
    tokens_arose="one_per_chunk",
    done=True,
    finish="length",
)
BARE = {"done": False, "finish": "", "completion_tokens": -1, "tokens_arose": "unknown"}
FOUR = np.ones(4, dtype=np.int64)
SHORT = {"chunk_tokens": FOUR, "completion_tokens": 4}


def cut(*answers: dict[str, Any], **server: Any) -> list[bool]:
    """Which of the answers (each WHOLE with changes) count as cut short."""
    known = {"engine": "endpoint", "base_url": "http://127.0.0.1:1/v1", "served_model": "m"}
    found = [replace(WHOLE, **changes) for changes in answers]
    result = judged(found, [ASKED] * len(found), Server(**{**known, **server}))
    return [p.outcome == "cut_short" for p in result]


@pytest.mark.parametrize(
    ("answers", "server", "expected"),
    [
        # a finish_reason in six of ten, no [DONE]: all tokens came, whoever gives the reason
        (
            [{"done": False}] * 6 + [{"done": False, "finish": ""}] * 4,
            {"usage": "final"},
            [False] * 10,
        ),
        # the same without usage: as many pieces as tokens asked for
        (
            [{**BARE, "finish": "length"}] * 6 + [BARE] * 4,
            {"usage": "none"},
            [False] * 10,
        ),
        # cut in the middle: neither end, fewer pieces
        (
            [{**BARE, "finish": "length"}] * 3 + [{**BARE, "chunk_tokens": FOUR}],
            {"usage": "none"},
            [False] * 3 + [True],
        ),
        # most are cut, and the probe knows better
        (
            [{**BARE, "chunk_tokens": FOUR}] * 3 + [{**BARE, "done": True}],
            {"usage": "none", "ends_with_done": True},
            [True] * 3 + [False],
        ),
        # the usage that comes last is an end as well
        (
            [{"done": False}] * 3 + [{"done": False, "finish": "", **SHORT}],
            {"usage": "final", "ignore_eos": False, "ends_unsaid": True},
            [False] * 4,
        ),
        # fewer tokens than asked for, no reason, though nothing may end an answer early
        (
            [{}] * 3 + [{"finish": "", **SHORT}],
            {"usage": "final", "ends_with_reason": True},
            [False] * 3 + [True],
        ),
        # a server that says `length` and is silent where the model ended it, as the probe saw
        (
            [{}] + [{"finish": "", **SHORT}] * 3,
            {"ignore_eos": False, "ends_with_reason": True, "ends_unsaid": True},
            [False] * 4,
        ),
        # others that ended early say `stop`
        (
            [{"finish": "stop", **SHORT}] * 3 + [{"finish": "", **SHORT}],
            {"ignore_eos": False, "ends_unsaid": True},
            [False] * 3 + [True],
        ),
        # the usage that the probe saw is missing
        ([{}, {"completion_tokens": -1}], {"usage": "final"}, [False, True]),
        # a server that never marks an end
        ([{**BARE, "chunk_tokens": FOUR}] * 4, {"usage": "none"}, [False] * 4),
    ],
)
def test_what_is_cut(
    answers: list[dict[str, Any]], server: dict[str, Any], expected: list[bool]
) -> None:
    assert cut(*answers, **server) == expected
