"""Quality of one run in the terminal: a row per score, and what its answers cost in tokens."""

from __future__ import annotations

from rich.console import Console

from bench.report.grid import Grid, column, numbers, print_grid
from bench.report.markup import escape
from bench.values.record import QualityResult


def print_quality(out: Console, quality: QualityResult) -> None:
    """The scores and how they were made; what is wrong with them is among the run's findings."""
    if quality.status == "failed":
        return  # a finding says why
    rows = []
    for s in quality.scores:
        shown = (f"{s.value:.4f}", *(("–" if v is None else f"{v:.4f}") for v in (s.stderr,)))
        chance = "–" if s.chance is None else f"{s.chance:.2f}"
        shots = "–" if s.num_fewshot is None else str(s.num_fewshot)
        rows.append((s.task, s.metric, s.filter, *shown, f"{s.n:,}", shots, chance))
    for task, why in quality.left_out.items():
        rows.append((task, "not scored", why, *("–",) * 5))
    columns = (
        *map(column, ("task", "metric", "filter")),
        *numbers("score", "std. error", "n", "shots", "chance"),
    )
    print_grid(out, Grid(columns=columns, rows=tuple(rows)))
    out.print(escape(_made(quality)), style="dim", highlight=False)


def _made(quality: QualityResult) -> str:
    parts = [f"lm-eval {quality.lm_eval_version}, {quality.backend}"]
    parity = quality.parity or {}
    if parity.get("checked"):
        bos = "with BOS" if parity.get("starts_with_bos") else "without BOS"
        difference = parity.get("max_difference_nats") or 0.0
        parts.append(f"tokens as in-process, {bos} (differ by at most {difference:.1g} nats)")
    for a in quality.answers:
        if a.output_tokens is not None:
            thought = ""
            if a.reasoning_tokens is not None:
                thought = f", {a.reasoning_tokens:.1f} of them thinking"
            parts.append(f"{a.task}: {a.output_tokens:.1f} tokens per answer{thought}")
    return " · ".join(parts)
