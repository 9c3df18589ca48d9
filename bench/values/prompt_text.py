"""Prompts in words, for servers that take text alone, as long as they are meant to be in tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WORDS = (
    "time year people way day man thing woman life child world school state family student "
    "group country problem hand part place case week company system program question work "
    "night point home water room mother area money story fact month lot right study book eye "
    "job word business issue side kind head house service friend father power hour game line"
).split()


@dataclass(frozen=True, kw_only=True)
class TextLength:
    """How many tokens a server counts for a word of WORDS, and for what it puts round a prompt
    (BOS, chat template)."""

    tokens_per_word: float
    tokens_around: float

    def words(self, tokens: int) -> int:
        """Words for a prompt of that many tokens; at least one."""
        return max(1, round((tokens - self.tokens_around) / self.tokens_per_word))


ONE_EACH = TextLength(tokens_per_word=1.0, tokens_around=0.0)
"""Where the server counts nothing: a token of a plan becomes one common word."""


def word(token: int) -> str:
    """The word of a drawn token; one in seven ends a sentence."""
    return WORDS[token % len(WORDS)] + ("" if token % 7 else ".")


def text_of(tokens: Sequence[int], length: TextLength = ONE_EACH) -> str:
    """Text that the server counts as about `len(tokens)` tokens.

    A word stands for the token at its place, whatever follows: prompts that begin alike in tokens
    begin alike in words.
    """
    step, last = length.tokens_per_word, len(tokens) - 1
    return " ".join(
        word(tokens[min(int(i * step), last)]) for i in range(length.words(len(tokens)))
    )


def sample(times: int) -> str:
    """Every word `times` times, in the proportion of full stops that drawn words have."""
    return " ".join(word(t) for t in range(times * len(WORDS)))


def length_of(counts: Sequence[int], times: Sequence[int]) -> TextLength | None:
    """The length of a word from the counts of two samples; None where they show none."""
    grown = (counts[1] - counts[0]) / ((times[1] - times[0]) * len(WORDS))
    around = counts[0] - grown * times[0] * len(WORDS)
    if grown < _LEAST or around < -_SLACK:
        return None
    return TextLength(tokens_per_word=grown, tokens_around=around)


_LEAST = 0.25
"""A common word is a token in most vocabularies; a count that hardly grows with the text is wrong
or of a prompt that was cut."""
_SLACK = 4.0
