"""lm-eval's result files as values: scores per task, and one row per item. Pure, apart from IO of
the caller: plain data in, values out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

from bench.values.record import P_RIGHT, AnswerStats, QualityItem, TaskScore


def scores(results: Mapping[str, Any], items: Sequence[QualityItem]) -> tuple[TaskScore, ...]:
    """Every metric of every task and group in a results file, and `p_right` of its items."""
    chances = _chances(items)
    found = []
    for task, values in results["results"].items():
        config = results["configs"].get(task) or {}
        for key, value in values.items():
            metric, _, name = key.partition(",")
            if not name or metric.endswith("_stderr") or not isinstance(value, (int, float)):
                continue
            if not math.isfinite(value):
                continue  # named by `not_finite`
            stderr = values.get(f"{metric}_stderr,{name}")
            counts = results["n-samples"].get(task)
            better = results["higher_is_better"].get(task, {}).get(metric)
            found.append(
                TaskScore(
                    task=task,
                    metric=metric,
                    filter=name,
                    value=float(value),
                    stderr=_finite(stderr),
                    n=int(counts["effective"] if counts else values.get("sample_len", 0)),
                    higher_is_better=better is not False,
                    output_type=config.get("output_type"),
                    version=_text(results["versions"].get(task)),
                    num_fewshot=results["n-shot"].get(task),
                    task_hash=(results.get("task_hashes") or {}).get(task),
                    chance=chances.get(task) if metric in ("acc", "acc_norm") else None,
                    group=task in results.get("groups", {}),
                    generation=config.get("generation_kwargs"),
                )
            )
        found += _p_right([s for s in found if s.task == task and s.metric == "acc"], items)
    return tuple(found)


def not_finite(results: Mapping[str, Any], items: Sequence[QualityItem]) -> tuple[str, ...]:
    """`task:metric` whose value, or that of an item, is NaN or infinite: it is no score."""
    whole = {
        f"{task}:{key.partition(',')[0]}"
        for task, values in results["results"].items()
        for key, value in values.items()
        if "_stderr" not in key and isinstance(value, float) and not math.isfinite(value)
    }
    return tuple(
        sorted(whole | {f"{i.task}:{i.metric}" for i in items if not math.isfinite(i.value)})
    )


def _finite(value: object) -> float | None:
    known = isinstance(value, (int, float)) and math.isfinite(value)
    return float(value) if known else None  # type: ignore[arg-type]


def _p_right(accuracies: Sequence[TaskScore], items: Sequence[QualityItem]) -> list[TaskScore]:
    """The mean probability of the right choice beside each accuracy whose items have one."""
    result = []
    for acc in accuracies:
        values = [
            i.value
            for i in items
            if (i.task, i.metric, i.filter) == (acc.task, P_RIGHT, acc.filter)
        ]
        if not values:
            continue
        error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
        result.append(
            replace(acc, metric=P_RIGHT, value=fmean(values), stderr=error, n=len(values))
        )
    return result


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _chances(items: Iterable[QualityItem]) -> dict[str, float]:
    """What guessing scores in each multiple-choice task: the mean of 1 ÷ choices."""
    guesses: dict[str, list[float]] = {}
    for item in items:
        if len(item.logliks) > 1:
            guesses.setdefault(item.task, []).append(1 / len(item.logliks))
    return {task: sum(values) / len(values) for task, values in guesses.items()}


def items(
    rows: Iterable[Mapping[str, Any]],
    *,
    task: str,
    output_type: str | None,
    sample: int,
    answers: Mapping[tuple[str, str], Mapping[str, Any]],
) -> Iterator[QualityItem]:
    """The items of one sample log. `answers` are what was recorded of generations, by the digests
    of prompt and text: many prompts get the same answer. A choice has `p_right`, too."""
    rows = list(rows)
    if output_type == "multiple_choice":
        yield from _right_items(rows, task, sample)
    for row in rows:
        answer = (
            answers.get((row["prompt_hash"], _digest(row)), {})
            if output_type == "generate_until"
            else {}
        )
        for metric in row["metrics"]:
            scored = _score(row.get(metric))
            if scored is None:
                continue
            yield QualityItem(
                task=task,
                metric=metric,
                filter=row["filter"],
                doc_id=int(row["doc_id"]),
                sample=sample,
                value=scored[0],
                weight=scored[1],
                item_hash=_item_hash(row),
                logliks=_logliks(row) if output_type == "multiple_choice" else (),
                input_tokens=answer.get("input_tokens"),
                output_tokens=answer.get("output_tokens"),
                reasoning_tokens=answer.get("reasoning_tokens"),
                truncated=(answer["finish_reason"] == "length") if answer else None,
            )


def _right_items(
    rows: Sequence[Mapping[str, Any]], task: str, sample: int
) -> Iterator[QualityItem]:
    """The probability of the right choice among all, one item a row: it tells of a change long
    before a choice flips. Nothing where the right choice cannot be told for certain."""
    for row, right in zip(rows, right_choices(rows) or (), strict=False):
        logliks = _logliks(row)
        top = max(logliks)
        shares = [math.exp(v - top) for v in logliks]
        yield QualityItem(
            task=task,
            metric=P_RIGHT,
            filter=row["filter"],
            doc_id=int(row["doc_id"]),
            sample=sample,
            value=shares[right] / sum(shares),
            item_hash=_item_hash(row),
            logliks=logliks,
        )


def right_choices(rows: Sequence[Mapping[str, Any]]) -> list[int] | None:
    """The place of the right choice in each row; None unless it is certain.

    A target is written as a place or as the choice's own text, and either may look like the other:
    a reading holds if it explains the accuracy of every row, and the other does not hold as well.
    """
    readings = [[read(row) for row in rows] for read in (_target_place, _target_text)]
    held = [
        [place for place in reading if place is not None]
        for reading in readings
        if all(map(_explains, reading, rows))
    ]
    return held[0] if held and all(reading == held[0] for reading in held) else None


def _explains(place: int | None, row: Mapping[str, Any]) -> bool:
    logliks = _logliks(row)
    chosen = logliks.index(max(logliks))
    return place is not None and row.get("acc") == float(place == chosen)


def _target_place(row: Mapping[str, Any]) -> int | None:
    target = str(row.get("target", ""))
    place = int(target) if target.isdecimal() else -1
    return place if 0 <= place < len(row["filtered_resps"]) else None


def _target_text(row: Mapping[str, Any]) -> int | None:
    given = [str(a.get("arg_1")).strip() for a in (row.get("arguments") or {}).values()]
    target = str(row.get("target")).strip()
    return given.index(target) if given.count(target) == 1 else None


def _score(value: object) -> tuple[float, float] | None:
    """(score, weight): a number as it is; (log-likelihood, units) as nats per unit, weighted by
    the units; a list of verdicts as their share. None for what is no per-item score."""
    if isinstance(value, (bool, int, float)):
        return float(value), 1.0
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return None
    if all(isinstance(v, bool) for v in value):
        return sum(value) / len(value), float(len(value))
    if len(value) == 2 and all(isinstance(v, (int, float)) for v in value) and value[1] > 0:
        return float(value[0]) / float(value[1]), float(value[1])
    return None


def _logliks(row: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(float(pair[0]) for pair in row["filtered_resps"])


def _digest(row: Mapping[str, Any]) -> str:
    """Digest of the (first) generated text, as the recording backend writes it."""
    first = row["resps"][0]
    text = first[0] if isinstance(first, list) else first
    return hashlib.sha256(str(text).encode()).hexdigest()


def _item_hash(row: Mapping[str, Any]) -> str:
    """One digest of the three that lm-eval gives."""
    joined = "".join(str(row[f"{part}_hash"]) for part in ("doc", "prompt", "target"))
    return hashlib.sha256(joined.encode()).hexdigest()[:16]


def answer_stats(items: Sequence[QualityItem]) -> tuple[AnswerStats, ...]:
    """Tokens and cut answers of every generation task; each answer counts once, whatever the
    number of metrics that score it."""
    tasks: dict[str, dict[tuple[int, int], QualityItem]] = {}
    for item in items:
        if item.truncated is not None or item.output_tokens is not None:
            tasks.setdefault(item.task, {})[item.doc_id, item.sample] = item
    return tuple(_answer_stats(task, list(found.values())) for task, found in tasks.items())


def _answer_stats(task: str, items: Sequence[QualityItem]) -> AnswerStats:
    cut = [item.truncated for item in items if item.truncated is not None]
    return AnswerStats(
        task=task,
        n=len(items),
        input_tokens=_mean([item.input_tokens for item in items]),
        output_tokens=_mean([item.output_tokens for item in items]),
        reasoning_tokens=_mean([item.reasoning_tokens for item in items]),
        truncated=sum(cut) if cut else None,
    )


def _mean(values: Sequence[int | None]) -> float | None:
    """The mean; None unless every answer was counted."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
