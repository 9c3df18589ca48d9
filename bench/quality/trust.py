"""What is to be said of a quality result: whether it is of the artefact that was measured."""

from __future__ import annotations

from collections.abc import Mapping

from bench.values.finding import Finding, finding
from bench.values.record import AnswerStats, QualityResult, Run

NOT_OF_THE_MODEL = ("served_model", "checkpoint_changed")
"""Failures of a run by which its scores are of another model, or other files, than its name."""


def quality_findings(run: Run) -> tuple[Finding, ...]:
    """Findings on a run's quality; empty without one."""
    result = run.quality
    if result is None:
        return ()
    if result.status == "failed":
        text = result.failure or "no reason was kept"
        return (finding("quality_failed", "warn", f"quality was not scored: {text}"),)
    found = [
        _same_checkpoint(run.provenance.get("weights_sha256"), result.weights_sha256),
        _parity(result),
        *(_cut_answers(a) for a in result.answers),
    ]
    if result.cut_prompts:
        text = (
            f"{result.cut_prompts} prompts did not fit and lost their beginning: raise "
            "engine.max_model_len, or take fewer examples"
        )
        found.append(finding("cut_prompts", "warn", text, float(result.cut_prompts), "prompts"))
    if result.not_finite:
        text = f"lm-eval gives no number for {', '.join(result.not_finite)} (NaN or infinity)"
        found.append(finding("not_finite", "warn", f"{text}: left out, no verdict rests on it"))
    return tuple(f for f in found if f is not None)


def changed_files(
    before: Mapping[str, str] | None, after: Mapping[str, str] | None
) -> tuple[str, ...]:
    """Names of the checkpoint's files that differ, came or went; empty where either is unknown."""
    if before is None or after is None:
        return ()
    names = before.keys() | after.keys()
    return tuple(sorted(n for n in names if before.get(n) != after.get(n)))


def _same_checkpoint(
    before: Mapping[str, str] | None, after: Mapping[str, str] | None
) -> Finding | None:
    changed = changed_files(before, after)
    if changed:
        listed = ", ".join(changed[:4]) + (" …" if changed[4:] else "")
        text = (
            f"the checkpoint changed between speed and quality ({listed}): they are not of one "
            "artefact; leave it alone while a run lasts, and run again"
        )
        return finding("checkpoint_changed", "fail", text, float(len(changed)), "files")
    if before is None or after is None:
        return None
    text = "speed and quality are of the same files, by their SHA-256"
    return finding("same_checkpoint", "pass", text, float(len(before)), "files")


def _parity(result: QualityResult) -> Finding | None:
    parity = result.parity
    if parity is None:
        return None
    difference = parity.get("max_difference_nats")
    if not parity.get("checked"):
        text = (
            "the server gives no log-probabilities of prompts: that it sees the same tokens, BOS "
            "included, was not checked"
        )
        return finding("bos_parity", "warn", text)
    text = f"{parity['checked']} prompts score alike as text and as the tokenizer's own tokens"
    return finding("bos_parity", "pass", text, difference, "nats")


def _cut_answers(answers: AnswerStats) -> Finding | None:
    if not answers.truncated:
        return None
    text = (
        f"{answers.truncated} of {answers.n} answers of {answers.task} were cut by length and "
        "scored as they were: raise max_gen_toks"
    )
    share = answers.truncated / answers.n
    return finding("truncated", "warn", text, share, "of answers")
