"""Whether a run's quality is of what it measured: findings on hand-made results."""

from __future__ import annotations

from typing import Any

from bench.config.compose import compose, run_spec
from bench.quality.trust import changed_files, quality_findings
from bench.values.finding import is_valid
from bench.values.record import Anchor, AnswerStats, QualityResult, Run

FILES = {"config.json": "a", "model.safetensors": "b"}


def run(**quality: Any) -> Run:
    given = {"preset": "tiny", "weights_sha256": FILES, **quality}
    return Run(
        spec=run_spec(compose(["gpus=0"])),
        anchor=Anchor(monotonic_ns=0, wall_iso=""),
        provenance={"weights_sha256": FILES},
        quality=QualityResult(**given),
    )


def severities(r: Run) -> dict[str, str]:
    return {f.code: f.severity for f in quality_findings(r)}


def test_the_same_files_pass() -> None:
    assert severities(run()) == {"same_checkpoint": "pass"}


def test_a_checkpoint_that_changed_makes_the_run_invalid() -> None:
    other = run(weights_sha256={**FILES, "model.safetensors": "c"})
    (found,) = quality_findings(other)
    assert (found.code, found.figure) == ("checkpoint_changed", 1.0)
    assert "model.safetensors" in found.text
    assert not is_valid([found])


def test_files_that_came_or_went_count_as_changed() -> None:
    assert changed_files(FILES, {"config.json": "a", "new": "x"}) == ("model.safetensors", "new")
    assert changed_files(None, FILES) == ()


def test_unchecked_parity_cut_prompts_and_cut_answers_are_warned_of() -> None:
    found = severities(
        run(
            parity={"checked": 0, "max_difference_nats": None},
            cut_prompts=3,
            answers=(AnswerStats(task="t", n=8, truncated=2), AnswerStats(task="u", n=8)),
        )
    )
    del found["same_checkpoint"]
    assert found == {"bos_parity": "warn", "cut_prompts": "warn", "truncated": "warn"}


def test_a_failure_is_one_finding_that_leaves_the_speed_valid() -> None:
    (found,) = quality_findings(run(status="failed", failure="lm-eval failed"))
    assert (found.code, found.severity) == ("quality_failed", "warn")
    assert "lm-eval failed" in found.text
