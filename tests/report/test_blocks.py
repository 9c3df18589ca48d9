"""What a page is made of: columns that nobody has, and the words that occur."""

from __future__ import annotations

from bench.report.page.appendix import words
from bench.report.page.blocks import (
    Block,
    Cell,
    Figures,
    Fold,
    Glossary,
    Table,
    Text,
    text_of,
    without_empty,
    word,
)
from bench.report.words import found
from bench.values.record import OUTCOMES

TABLE = Table(
    caption="three",
    columns=("load", "SLO", "bound", "rate", "kernel"),
    rows=[
        [word("1 in flight"), word(None), word(None), word("5"), word(None)],
        [word("2 in flight"), word(None), word(None), word(None), word(None)],
    ],
    left=(0, 1, 4),
)


def test_a_column_that_nobody_has_is_named_and_left_out() -> None:
    """bound and kernel go; the rate is known once, and SLO is kept though it is empty."""
    found = without_empty(TABLE, kept=("SLO",))
    assert found.columns == ["load", "SLO", "rate"]
    assert [[c.text for c in row] for row in found.rows] == [
        ["1 in flight", "–", "5"],
        ["2 in flight", "–", "–"],
    ]
    assert found.left == [0, 1]
    assert found.caption == "three. Not known: bound; kernel"
    full = Table(caption="all", columns=("load",), rows=[[word("x")]])
    assert without_empty(full) is full


def test_withheld_is_not_unknown() -> None:
    rows = [[word("1 in flight"), Cell(text="withheld", mood="bad")]]
    table = Table(caption="", columns=("load", "TTFT"), rows=rows)
    assert without_empty(table) is table


def test_only_words_that_occur_are_explained() -> None:
    """TTFT of a large figure, in flight of a table in a fold, – of a cell; a sentence in a table,
    which says kernel for another thing, counts for nothing."""
    blocks: list[Block] = [
        Figures(items=[("ms of TTFT", Cell(text="5"))]),
        Text(text="client-bound"),
        Fold(title="more", blocks=[TABLE]),
        Table(caption="", columns=("x",), rows=[[word("by the kernel's stamps it is late")]]),
    ]
    [glossary] = words(text_of(blocks)).blocks
    assert isinstance(glossary, Glossary)
    terms = {w.term for w in glossary.words}
    assert {"TTFT", "in flight", "client-bound", "–", "SLO", "bound"} <= terms
    assert not terms & {"W", "quantisation", "±", "break-even"}


def test_each_way_to_fail_can_be_looked_up() -> None:
    """`20 of 36 requests failed (20 no_tokens)`, and `bench words no_tokens` knew no such word."""
    plain = ("connection", "timeout")
    for outcome in OUTCOMES[1:]:
        term = found("errors" if outcome in plain else outcome)
        assert term is not None
        assert term.term == "errors"
        assert outcome in term.meaning
