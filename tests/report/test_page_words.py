"""What a newcomer meets in a first result is a plain word, or the list of words has it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from stored_support import busy, stored

from bench.cli.main import main
from bench.cli.verbs.words import meaning
from bench.measure.metrics import METRICS
from bench.report.page.questions import QUESTIONS
from bench.report.words import WORDS, pieces
from bench.values.errors import InputError

PLAIN = {"load", "errors", "answer", "mean", "power", "synthetic"}
"""What headings say besides."""


def unexplained(heading: str) -> set[str]:
    """The words of a heading that the list does not have."""
    left = " ".join(piece for piece, word in pieces(heading) if word is None)
    return set(re.findall(r"[a-zA-Z]{2,}", left)) - PLAIN


def test_every_heading_of_a_result_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stored(tmp_path, busy(100.0, 300.0))
    with pytest.raises(SystemExit):
        main(["show", str(path)])
    said = capsys.readouterr().out
    lines = said.splitlines()
    headings = [lines[n - 1] for n, line in enumerate(lines) if "───" in line]
    assert len(headings) == 3  # rates, latencies, power
    assert {word: h for h in headings for word in unexplained(h)} == {}
    codes = re.findall(r"(?m)^(?:WARN|FAIL|INFO)\s+(\w+) \(", said)
    assert codes
    for code in codes:
        assert meaning(code) == (code, f"a check: {QUESTIONS[code]}")


def test_a_word_is_found_in_any_spelling_and_a_wrong_one_is_answered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert meaning("ttft") == meaning("TTFT")
    assert meaning("p99")[0] == meaning("p95")[0] == "p90"
    assert meaning("P95")[0] == "P5 to P95"
    assert meaning("output_tokens_per_s")[1].endswith("(tokens/s)")
    # two columns side by side, of all requests and of the window: no division gives the rate
    assert "outside the window" in meaning("requests")[1]
    assert METRICS[0].formula in meaning(METRICS[0].name)[1]
    with pytest.raises(InputError, match=r"'TTTF' is no word of a result\. Did you mean 'TTFT'\?"):
        meaning("TTTF")
    with pytest.raises(InputError, match="bench words lists them"):
        meaning("zzzzzz")
    with pytest.raises(SystemExit):
        main(["words", "--json"])
    assert json.loads(capsys.readouterr().out) == {w.term: w.meaning for w in WORDS}


@pytest.mark.parametrize(
    ("typed", "terms"),
    [
        ("in flight", ["in flight"]),
        ("measured s", ["window"]),
        ("total tok/s", ["tokens/s out"]),
        ("ITL p99", ["ITL", "p90"]),
        ("E2E mean requests", ["E2E", "mean", "requests"]),
        ("answer p50", ["answer p50"]),
        ("c16", ["in flight"]),  # as tables of runs and of variants write it
    ],
)
def test_a_heading_of_several_words_is_typed_as_it_stands(
    typed: str, terms: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The line under a result says `bench words WORD`: a shell parts `in flight` in two."""
    with pytest.raises(SystemExit) as left:
        main(["words", *typed.split(), "--json"])
    assert left.value.code in (None, 0)
    assert list(json.loads(capsys.readouterr().out)) == terms


def test_no_two_words_share_a_name_or_a_place() -> None:
    names = [name for w in WORDS for name in (w.term, *w.also)]
    assert sorted(names) == sorted(set(names))
    assert len({w.anchor for w in WORDS}) == len(WORDS)
