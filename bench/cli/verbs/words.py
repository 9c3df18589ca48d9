"""`bench words`: what a word, a metric or a check of a result means, a line each."""

from __future__ import annotations

from bench.cli.arguments import Arguments
from bench.cli.verb import Verb
from bench.values.errors import InputError, nearest
from bench.values.json_text import json_text

VERB = Verb(
    usage=("bench words [WORD ...] [--json]",),
    more="Without a word: all of them. bench words TTFT; bench words client_bound, a check;\n"
    "bench words output_tokens_per_s, a metric.",
    words="any",
)


def call(arguments: Arguments) -> int:
    """Print them; InputError for a word that no list has."""
    from bench.report.console import console
    from bench.report.grid import Grid, column, print_grid
    from bench.report.words import WORDS

    if arguments.overrides:
        raise InputError(f"bench words takes words, not {arguments.overrides[0]!r}.")
    rows = [meaning(word) for word in arguments.words]
    rows = rows or [(word.term, word.meaning) for word in WORDS]
    if arguments.as_json:
        print(json_text(dict(rows), indent=2))
        return 0
    print_grid(console(), Grid(columns=(column("word"), column("", wraps=True)), rows=tuple(rows)))
    return 0


def meaning(text: str) -> tuple[str, str]:
    """The word as results write it, and what it means."""
    from bench.power.table import EVERY_METRIC
    from bench.report.page.questions import QUESTIONS
    from bench.report.words import WORDS, found

    metrics = {m.name: f"{m.formula} ({m.unit})" for m in EVERY_METRIC}
    word = found(text)
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
