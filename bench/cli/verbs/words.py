"""`bench words`: what a word, a metric or a check of a result means, a line each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bench.cli.arguments import Arguments
from bench.cli.verb import Verb
from bench.values.errors import InputError, nearest
from bench.values.json_text import json_text

VERB = Verb(
    usage=("bench words [WORD ...] [--json]",),
    more="Without a word: all of them. bench words TTFT; bench words in flight; bench words\n"
    "client_bound, a check; bench words output_tokens_per_s, a metric.",
    words="any",
)


def call(arguments: Arguments) -> int:
    """Print them; InputError for a word that no list has."""
    from bench.report.console import console
    from bench.report.grid import Grid, column, print_grid
    from bench.report.words import WORDS

    if arguments.overrides:
        raise InputError(f"bench words takes words, not {arguments.overrides[0]!r}.")
    rows = [meaning(term) for term in terms(arguments.words)]
    rows = rows or [(word.term, word.meaning) for word in WORDS]
    if arguments.as_json:
        print(json_text(dict(rows), indent=2))
        return 0
    print_grid(console(), Grid(columns=(column("word"), column("", wraps=True)), rows=tuple(rows)))
    return 0


def terms(words: Sequence[str]) -> Iterator[str]:
    """What was typed, taken together where a list has it so: a shell parts `in flight` in two."""
    from bench.report.words import found

    at = 0
    while at < len(words):
        ends = range(len(words), at + 1, -1)
        end = next((end for end in ends if found(" ".join(words[at:end]))), at + 1)
        yield " ".join(words[at:end])
        at = end


def meaning(text: str) -> tuple[str, str]:
    """The word as results write it, and what it means."""
    from bench.power.table import EVERY_METRIC
    from bench.report.page.questions import QUESTIONS
    from bench.report.words import WORDS, found

    metrics = {m.name: f"{m.formula} ({m.unit})" for m in EVERY_METRIC}
    word = found("in flight" if re.fullmatch(r"c\d+", text) else text)  # c16, a load's short name
    if word is not None:
        return word.term, word.meaning
    if text in metrics:
        return text, metrics[text]
    if text in QUESTIONS:
        return text, f"a check: {QUESTIONS[text]}"
    known = [name for w in WORDS for name in (w.term, *w.also)]
    known += [*metrics, *QUESTIONS]
    hint = nearest(text, known)
    hint = hint if "Did you mean" in hint else " bench words lists them."
    raise InputError(f"{text!r} is no word of a result.{hint}")
