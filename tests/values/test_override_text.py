"""What is written into a word of the command line is read back as it was, by Hydra itself."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from bench.values.override_text import engine_args, quoted


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        'a"b',
        "a\\b",
        'a\\"b',
        "end\\",
        "two\\\\",
        'x\\\\"',
        "a\\nb",
        'q"',
        "it's",
        "a,b}:[c",
    ],
)
def test_a_source_is_read_back_as_it_was(text: str) -> None:
    override = OverridesParser.create().parse_override(f"key={{source:{quoted(text)},rest:1}}")
    value = override.value()
    assert isinstance(value, dict)
    assert {str(k): getattr(v, "text", v) for k, v in value.items()} == {"source": text, "rest": 1}


def test_an_engines_words_are_read_back_as_they_were() -> None:
    words = ("--a", "16", '--b={"c":[1,2]}', "--d=e", "true", "x y", "7", "-tp", "2")
    read = OverridesParser.create().parse_override(engine_args(words)).value()
    assert isinstance(read, list)
    assert [str(getattr(v, "text", v)) for v in read] == list(words)
    assert engine_args(("--max-num-seqs", "16")) == "engine.args=[--max-num-seqs,16]"
    assert ',"7",-tp,2]' in engine_args(words)
