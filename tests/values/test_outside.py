"""No text from outside moves the cursor, turns a line around or fills a page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.values.outside import LIMIT, plain, plain_data


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07model", "model"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\sixel", "sixel"),
        ("a\rb\x08c\x00d", "abcd"),
        ("safe\u202eelif", "safeelif"),
        ("ze\u200bro", "zero"),
        ("\x9b31mC1", "31mC1"),
        ("half \ud800 pair", "half  pair"),
        ("Ümläut 模型 🙂\tb\nc", "Ümläut 模型 🙂\tb\nc"),
        ("\x1b", ""),
    ],
)
def test_what_only_a_terminal_acts_on_goes(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_long_text_is_cut_and_says_so() -> None:
    assert plain("x" * 10_000_000) == "x" * LIMIT + "…"
    assert plain("x" * LIMIT) == "x" * LIMIT


@given(st.text(alphabet=st.characters(), max_size=300))
def test_nothing_that_controls_is_left(text: str) -> None:
    shown = plain(text)
    assert not any(ord(c) < 32 and c not in "\t\n" for c in shown)
    assert not any(0x7F <= ord(c) < 0xA0 for c in shown)
    assert plain(shown) == shown
    shown.encode("utf-8")


def test_data_is_plain_through_and_through() -> None:
    data = {"id\x1b[1m": ["a\x07", {"b": "\x1b[2Jc"}, 3, None]}
    assert plain_data(data) == {"id": ["a", {"b": "c"}, 3, None]}
