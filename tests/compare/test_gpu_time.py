"""How long GPU steps are expected to take, worked by hand."""

from __future__ import annotations

import pytest

from bench.compare.gpu_time import Level, group, grouped, level


def levels(*pairs: tuple[int, float]) -> list[Level]:
    return [Level(concurrency=c, request_s=s) for c, s in pairs]


def test_a_request_takes_its_tokens_at_its_share_of_the_rate() -> None:
    # 100 requests at 3,600 tokens/s: 100 / 3,600 s a step, 1,000 steps.
    assert level(100, 1000, 3600.0).request_s == pytest.approx(100 / 3600 * 1000)


def test_a_group_is_a_start_and_every_level_repeated_and_drained() -> None:
    # Duration 31 + 20; (51 + 10) x 3 + 10 and (51 + 20) x 3 + 20 s, and the start.
    found = group(levels((1, 10.0), (16, 20.0)), start_s=100)
    assert found.duration_s == 51
    assert found.estimate_s == 100 + (3 * 61 + 10) + (3 * 71 + 20)


def test_levels_share_a_start_as_long_as_the_limit_holds() -> None:
    found = grouped(levels((1, 6.0), (16, 7.0), (64, 10.0), (256, 25.0)), 100, 470)
    assert [[x.concurrency for x in g.levels] for g in found] == [[1, 16], [64], [256]]
    assert all(g.estimate_s <= 470 for g in found)


def test_what_is_too_long_gets_a_short_window_or_is_left_out() -> None:
    found = grouped(
        levels(
            (256, 40.0),
        ),
        100,
        470,
    )
    # 31 s: 100 + 3 x (71 + 40) + 40 = 473; 10 s: 100 + 3 x (50 + 40) + 40 = 410.
    assert [(g.duration_s, g.estimate_s) for g in found] == [(50, 410)]
    assert (
        grouped(
            levels(
                (256, 400.0),
            ),
            100,
            470,
        )
        == []
    )
