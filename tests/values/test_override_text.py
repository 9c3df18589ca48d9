"""What is written into a word of the command line is read back as it was, by Hydra itself."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from bench.values.override_text import quoted


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
