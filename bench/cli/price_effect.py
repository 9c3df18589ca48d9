"""What an import of prices changes in the answer of a cost question, asked before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench.values.errors import InputError

if TYPE_CHECKING:
    from bench.money.answer import TcoAnswer
    from bench.money.prices.book import PriceRow
    from bench.money.since import Effect

DRAWS = 10
"""Bands are not shown: as few as may be."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A cost question in words, and its answer with these rows of the price book."""

    words: str
    answer: Callable[[tuple[PriceRow, ...]], TcoAnswer]


def effect_of(
    question: str | None,
    overrides: Sequence[str],
    config_dirs: Sequence[str],
    names: Sequence[str],
    results_dir: str,
) -> Ask:
    """The question `tco=NAME` about the runs named, or about its own throughput. None takes the one
    that `bench tco` takes of these runs, and the worked example without any."""
    from bench.ask.costs import cost_question
    from bench.cli.verbs.tco import own_question, stored
    from bench.money.answer import answer

    runs = stored(names, results_dir)
    question = question or own_question(runs) or ("default" if runs else "worked-example")
    asked = (f"tco={question}", f"tco.uncertainty.draws={DRAWS}", *overrides)
    request = cost_question(asked, config_dirs, measured=bool(names))
    # The whole book is compared with: what was imported is what the question is about.
    request = replace(request, tco=replace(request.tco, api=replace(request.tco.api, compare=())))
    today = datetime.now(tz=UTC).date()
    return Ask(
        words=" ".join((*names, f"tco={question}")),
        answer=lambda rows: answer(request, runs, rows, None, today),
    )


def moved_by(ask: Ask, known: Sequence[PriceRow], new: Sequence[PriceRow]) -> Effect:
    """The figures of the answer that the new rows move."""
    from bench.money.since import Effect, figures_of, moved

    try:
        before, after = (ask.answer(rows) for rows in (tuple(known), (*known, *new)))
    except InputError as error:
        return Effect(question=ask.words, why=str(error))
    return Effect(question=ask.words, moved=moved(figures_of(before), figures_of(after)))
