"""A hundred wrong inputs, graded by code: exit 2, one line, what is wrong, what to change.

Each answer was read by a person once; its telling part is held here. The general grades are those
of `bench.values.errors`: no traceback, nothing started, and the line names what was typed.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bench.cli.main import main

LINES = Path(__file__).with_name("wrong_inputs.txt").read_text(encoding="utf-8").splitlines()
WRONG = {k.removeprefix("bench "): v.strip() for k, v in zip(LINES[::2], LINES[1::2], strict=True)}


def test_there_are_a_hundred() -> None:
    assert len(WRONG) >= 100


@pytest.mark.parametrize("typed", WRONG)
def test_a_wrong_input_has_one_line(
    typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(typed))
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    line = said.err.removesuffix("\n")
    assert line.startswith("bench: ")
    assert "\n" not in line
    assert WRONG[typed] in line
    assert _names_what_was_typed(line, typed), line
    assert not [p for p in tmp_path.rglob("*") if p.is_file()], "a refusal leaves nothing behind"


def _names_what_was_typed(line: str, typed: str) -> bool:
    """Whether a key, a value or the verb that was typed stands in the answer."""
    pieces = [p for word in shlex.split(typed) for p in (word, *re.split(r"[=.]", word)) if p]
    return any(piece in line for piece in pieces if len(piece) > 1)
