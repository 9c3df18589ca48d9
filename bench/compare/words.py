"""Verdicts in words: faster, cheaper, quality not worse, worse, or what is missing to say so."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.compare.launches import ENOUGH_LAUNCHES, counted
from bench.compare.speed import EVERYWHERE, MARGIN, SpeedChange
from bench.quality.verdict import TaskComparison


def words_of(
    speed: Sequence[SpeedChange],
    quality: Sequence[TaskComparison],
    *,
    measured: bool,
    launched: int,
) -> tuple[str, tuple[str, ...]]:
    """(one sentence, codes) for a variant against its baseline; `measured` says that a load was
    put on it, so that no comparable speed means withheld figures, `launched` how often each of the
    two was launched at least."""
    parts = [_speed(speed, measured, launched), _quality(quality)]
    return "; ".join(text for text, _ in parts), tuple(code for _, codes in parts for code in codes)


def _speed(
    changes: Sequence[SpeedChange], measured: bool, launched: int
) -> tuple[str, tuple[str, ...]]:
    rate = next(
        (c for c in changes if c.metric == "output_tokens_per_s" and c.load == EVERYWHERE), None
    )
    if rate is None and measured:
        return "speed withheld: no load point is valid in both", ("speed_withheld",)
    if rate is None:
        return "speed not measured", ("speed_not_measured",)
    if rate.p_holm is None or rate.ratio is None:
        return _in_this_run(rate, launched), ("speed_in_this_run",)
    interval = (
        f"{percent(rate.ratio.value)} [{percent(rate.ratio.low)}, {percent(rate.ratio.high)}]"
    )
    said = f"output tokens/s {interval}, {p_is(rate.p_holm)}"
    if rate.verdict == "faster":
        return f"faster and, on the same hardware, cheaper per token: {said}", ("faster", "cheaper")
    if rate.verdict == "slower":
        return f"slower and, on the same hardware, dearer per token: {said}", ("slower", "dearer")
    if rate.verdict == "equivalent":
        return f"the same speed (within {MARGIN:.0%}): {said}", ("speed_equivalent",)
    return f"no difference of speed shown: {said}", ("speed_same",)


def _in_this_run(rate: SpeedChange, launched: int) -> str:
    """What was seen, without a direction: too few launches to say more, or too few of them with
    every load of both left by its certificate."""
    why = f"no verdict from {counted(rate.launches)} of each, {ENOUGH_LAUNCHES} are needed"
    if rate.launches < launched:
        left = rate.launches or "none"
        why = (
            f"no verdict: of {counted(launched)} of each, {ENOUGH_LAUNCHES} are needed in which no "
            f"load of either is withheld, and there {'is' if rate.launches == 1 else 'are'} {left} "
            "(bench show RUN says why)"
        )
    if rate.ratio is None:
        return f"speed: {why}"
    r = rate.ratio
    seen = f"{percent(r.value)} [{percent(r.low)}, {percent(r.high)}] over {rate.pairs} repeats"
    return f"in this run: output tokens/s {seen}; {why}"


def _quality(tasks: Sequence[TaskComparison]) -> tuple[str, tuple[str, ...]]:
    judged = [t for t in tasks if t.primary]
    if not judged:
        return "quality not scored", ("quality_not_scored",)
    worse = [t for t in judged if t.verdict == "worse"]
    if worse:
        worst = min(worse, key=lambda t: t.recovery.value if t.recovery else 0.0)
        return f"worse quality: {_task(worst)}", ("quality_worse",)
    open_ones = [t for t in judged if t.verdict == "not_enough_evidence"]
    if open_ones:
        # A number that cannot be said may be any: it must not hide behind a smaller known one.
        most = max(open_ones, key=lambda t: math.inf if t.more_items is None else t.more_items)
        how = "more items" if most.more_items is None else f"about {most.more_items:,} more items"
        return f"quality: not enough evidence: {how}: {_task(most)}", ("quality_unknown",)
    lowest = min(judged, key=lambda t: t.recovery.low if t.recovery else 0.0)
    better = all(t.verdict == "better" for t in judged)
    kind = "better quality" if better else f"quality not worse (margin {judged[0].margin:.0%})"
    return f"{kind}: {_task(lowest)}", ("quality_better" if better else "quality_not_worse",)


def _task(task: TaskComparison) -> str:
    text = f"{task.task} {task.metric} {task.baseline:.4f} to {task.variant:.4f}"
    if task.recovery is not None:
        r = task.recovery
        text += f", recovery {r.value:.1%} [{r.low:.1%}, {r.high:.1%}]"
    flips = "" if task.lost is None else f", {task.lost} lost and {task.won} won"
    return f"{text}{flips}, {p_is(task.p_holm)}"


def percent(ratio: float) -> str:
    """A ratio as a signed change."""
    return f"{ratio - 1:+.1%}"


def p_is(p: float) -> str:
    """`p = 0.03` or `p < 0.0001`."""
    return f"p {p_text(p)}" if p < 1e-4 else f"p = {p_text(p)}"


def p_text(p: float) -> str:
    """A p value as people quote it."""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"
