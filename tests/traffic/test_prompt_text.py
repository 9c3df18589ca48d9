"""Prompts of text come out as long as planned, by the counts of the server that is to be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from point_support import Shot, point
from tokenizers import Tokenizer

import bench.assets
from bench.compare.likeness import refuse, served_prompts
from bench.measure.checks.server import prompt_length, unlike_prompt
from bench.measure.measurement import Measurement, PointMeasurement
from bench.report.numbers import prompt_words
from bench.traffic.workload import generate
from bench.values.errors import InputError
from bench.values.prompt_text import ONE_EACH, TextLength, length_of, sample, text_of
from bench.values.record import LoadPoint, PointData
from bench.values.spec import SloSpec, WorkloadSpec

TOKENIZER = Path(bench.assets.__file__).parent / "models" / "tiny" / "tokenizer.json"
AROUND = 23
"""Tokens of a chat template."""


def counted(text: str) -> int:
    return len(Tokenizer.from_file(str(TOKENIZER)).encode(text).ids) + AROUND


def served(prompt: int) -> PointData:
    """Prompts of 64 tokens by the plan, of `prompt` by the server."""
    made = point([Shot(sent=0, chunks=[10, 20], end=21, prompt=prompt)] * 3)
    made.requests["input_tokens"][:] = 64
    return made


def workload(tokens: int) -> WorkloadSpec:
    slo = SloSpec(ttft_ms=1000, tpot_ms=100)
    return WorkloadSpec(name="w", input_tokens=tokens, output_tokens=8, slo=slo)


@pytest.mark.parametrize("tokens", [64, 256, 1024])
def test_the_bundled_tokenizer_counts_what_was_planned(tokens: int) -> None:
    """A word is 3.3 of its tokens: without calibration the prompt was that much too long."""
    found = length_of([counted(sample(n)) for n in (1, 2)], (1, 2))
    assert found is not None
    assert found.tokens_around == pytest.approx(AROUND, abs=3)
    drawn = list(
        generate(
            workload(tokens),
            64,
            seed=(0, 0, 0),
            vocab_size=None,
            as_text=True,
            chat=True,
            text_length=found,
        )
    )
    served = [counted(r.prompt[0]["content"]) for r in drawn]  # type: ignore[index]
    assert sum(served) / len(served) == pytest.approx(tokens, rel=0.03)
    plain = counted(text_of(list(range(tokens)), ONE_EACH))
    assert plain > 1.5 * tokens


def test_the_arithmetic_by_hand() -> None:
    """59 common words: 246 tokens once and 482 twice are 4 a word and 10 around."""
    found = length_of((246, 482), (1, 2))
    assert found == TextLength(tokens_per_word=4.0, tokens_around=10.0)
    assert found.words(50) == 10
    assert found.words(3) == 1  # shorter than its template: the check says so
    assert length_of((40, 40), (1, 2)) is None  # cut to a context, or no count at all
    assert length_of((10, 300), (1, 2)) is None  # a prompt that costs less than nothing


def test_prompts_that_begin_alike_in_tokens_begin_alike_in_words() -> None:
    length = TextLength(tokens_per_word=4.0, tokens_around=10.0)
    first = list(range(100, 300))
    short, long = text_of(first, length), text_of([*first, *range(500, 700)], length)
    assert long.startswith(short)
    assert len(short.split()) == 48


def test_beyond_five_percent_the_condition_is_what_was_served() -> None:
    """64 planned: 66 are within 5 %, 70 are not."""
    near, far = (prompt_length([served(n)]) for n in (66, 70))
    assert (near.severity, unlike_prompt([near])) == ("pass", None)
    assert (far.severity, unlike_prompt([far])) == ("warn", 70.0)
    assert "the condition is what was served" in far.text
    as_planned, longer = (
        Measurement(
            points=(
                PointMeasurement(
                    point=LoadPoint(index=0, repeat=0, mode="closed", concurrency=4),
                    requests=3,
                    window_s=(1.0,),
                    metrics={},
                    findings=(f,),
                ),
            )
        )
        for f in (near, far)
    )
    assert prompt_words(as_planned, 64) == "64 tokens in"
    assert prompt_words(longer, 64) == "70 tokens in by the server's count (64 asked for)"
    assert served_prompts(as_planned, as_planned) == ()
    unlike = served_prompts(as_planned, longer)
    with pytest.raises(InputError, match=r"--allow served.input_tokens"):
        refuse("other", unlike)
    refuse("other", served_prompts(as_planned, longer, ["served.input_tokens"]))
