"""The column of the answer's own first token is there where thought was streamed, only there."""

from __future__ import annotations

import pytest

from bench.measure.measurement import PointMeasurement
from bench.measure.metrics import Metric
from bench.report.terminal import thinks
from bench.values.record import LoadPoint


@pytest.mark.parametrize(
    ("ttft_ms", "answer_ms", "itl_ms", "thought"),
    [
        (155.0, 159.0, 15.8, False),  # 16 in flight, the bytes of a character over two tokens
        (11.6, 14.6, 3.0, False),  # four bytes, four tokens: text comes with the fourth
        (155.0, 1155.0, 10.0, True),
        (155.0, 156.0, 0.1, False),  # less than 2 %: nothing that a reader could use
        (155.0, 155.0, None, False),
    ],
)
def test_a_character_in_several_tokens_is_no_thought(
    ttft_ms: float, answer_ms: float, itl_ms: float | None, thought: bool
) -> None:
    values = {"ttft_p50_ms": ttft_ms, "first_answer_p50_ms": answer_ms, "itl_p50_ms": itl_ms}
    point = PointMeasurement(
        point=LoadPoint(index=0, repeat=0, mode="closed", concurrency=16),
        requests=9,
        window_s=(60.0,),
        metrics={name: Metric(value=v, unit="ms", n=9) for name, v in values.items()},
    )
    assert thinks(point) is thought
