"""Quality of runs, and variants beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.compare.compare import Comparison, Row, figures_are_of
from bench.compare.speed import EVERYWHERE, MARGIN
from bench.compare.words import p_text, percent
from bench.quality.verdict import TaskComparison
from bench.report.numbers import quantity
from bench.report.page.blocks import (
    MOODS,
    Block,
    Cell,
    Fold,
    Picture,
    Section,
    Table,
    Text,
    measured,
    number,
    rounded,
    rows_of,
    trust,
    without_empty,
    word,
)
from bench.report.page.material import Material
from bench.values.confidence import normal_quantile
from bench.values.record import P_RIGHT, QualityResult, TaskScore

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def quality(m: Material) -> Section | None:
    """Scores of every run, and what each variant keeps of the baseline's."""
    blocks: list[Block] = []
    if m.comparison is not None and any(row.quality for row in m.comparison.rows):
        blocks += [_recovery_picture(m.comparison), _recovery_table(m.comparison)]
    scored = {m.name(one): one.run.quality for one in m.runs if one.run.quality is not None}
    if any(_shares(found) for found in scored.values()):
        blocks.append(_scores_picture(scored))
    for name, found in scored.items():
        blocks += _scores(found, name)
    return Section(name="quality", heading="Quality", blocks=blocks) if blocks else None


def _shares(found: QualityResult) -> list[TaskScore]:
    """Scores that are shares with a known error: what one axis can show."""
    return [s for s in found.scores if s.stderr is not None and 0 <= s.value <= 1]


def _scores(found: QualityResult, name: str) -> list[Block]:
    if found.status == "failed":
        return [Text(lead=f"{name}: quality FAILED", text=found.failure or "", mood="bad")]
    rows = []
    for s in found.scores:
        rows.append(
            [
                word(s.task),
                word(s.metric),
                word(s.filter),
                number(s.value, ".4f"),
                number(s.stderr, ".4f"),
                number(s.n),
                number(s.num_fewshot),
                number(s.chance, ".2f"),
            ]
        )
    columns = ("task", "metric", "filter", "score", "std. error", "items", "shots", "chance")
    made = f"lm-eval {found.lm_eval_version}, {found.backend}, preset {found.preset}"
    blocks: list[Block] = [
        Table(caption=f"{name}: {made}", columns=columns, rows=rows, left=(0, 1, 2))
    ]
    return [*blocks, *_answers(found)]


def _answers(found: QualityResult) -> list[Block]:
    return [
        Text(lead=a.task, text=f"{a.truncated} of {a.n} answers were cut by length", mood="doubt")
        for a in found.answers
        if a.truncated
    ]


def _scores_picture(scored: Mapping[str, QualityResult]) -> Picture:
    def draw() -> Figure:
        from bench.report.pictures.quality import Dot, dots

        rows = []
        for name, found in scored.items():
            for s in _shares(found):
                half = normal_quantile() * (s.stderr or 0.0)
                rows.append(
                    Dot(
                        name=f"{s.task}\n{s.metric}",
                        value=s.value,
                        low=s.value - half,
                        high=s.value + half,
                        chance=s.chance,
                        series=name if len(scored) > 1 else "",
                    )
                )
        return dots(sorted(rows, key=lambda dot: dot.name), axis="score (share)")

    caption = f"Scores of {', '.join(scored)} with 95 % intervals (1.96 standard errors)."
    if any(s.chance is not None for found in scored.values() for s in _shares(found)):
        caption += " ×: what guessing scores."
    return Picture(name="quality", caption=caption, draw=draw)


def _recovery_picture(c: Comparison) -> Picture:
    def draw() -> Figure:
        from bench.report.pictures.quality import Dot, dots

        rows = [
            Dot(
                name=_named(t),
                series=row.name,
                value=t.recovery.value * 100,
                low=t.recovery.low * 100,
                high=t.recovery.high * 100,
            )
            for row in c.rows
            for t in row.quality
            if t.primary and t.recovery is not None
        ]
        rows.sort(key=lambda dot: dot.name)
        return dots(
            rows,
            axis="recovery, % of the baseline's score",
            line=c.margin * 100,
            words=f"margin {c.margin:.1%}",
        )

    caption = (
        f"Recovery (variant ÷ {c.baseline}, on the same items) with paired 95 % intervals. A whole "
        "interval right of the margin counts as not worse."
    )
    return Picture(name="recovery", caption=caption, draw=draw)


def _named(t: TaskComparison) -> str:
    """The task, with the metric where it is not the one that it is known by."""
    return f"{t.task} {t.metric}" if t.metric == P_RIGHT else t.task


def _recovery_table(c: Comparison) -> Table:
    columns = (
        "variant",
        "task",
        "metric",
        "items",
        c.baseline,
        "variant's score",
        "recovery",
        "95 % interval",
        "above chance",
        "lost",
        "won",
        "p (Holm)",
        "verdict",
    )
    rows = [_recovered(row, t) for row in c.rows for t in row.quality if t.primary]
    return Table(
        caption=f"Quality on the same items; not worse above {c.margin:.1%} recovery",
        columns=columns,
        rows=rows,
        left=(0, 1, 2, 12),
    )


def _recovered(row: Row, t: TaskComparison) -> list[Cell]:
    recovery, interval, above = word(None), word(None), word(None)
    if t.recovery is not None:
        recovery = number(t.recovery.value, ".2%")
        interval = word(f"{t.recovery.low:.2%} to {t.recovery.high:.2%}")
    if t.recovery_above_chance is not None:
        above = number(t.recovery_above_chance.value, ".2%")
    verdict = t.verdict.replace("_", " ")
    if t.verdict == "not_enough_evidence" and t.more_items:
        verdict += f": {t.more_items:,} more items"
    return [
        word(row.name),
        word(t.task),
        word(t.metric),
        number(t.n),
        number(t.baseline, ".4f"),
        number(t.variant, ".4f"),
        recovery,
        interval,
        above,
        number(t.lost),
        number(t.won),
        Cell(text=p_text(t.p_holm), value=t.p_holm),
        word(verdict),
    ]


def variants(m: Material) -> Section | None:
    """The comparison: figures, changes of speed, the Pareto picture, findings."""
    c = m.comparison
    if c is None:
        return None
    blocks: list[Block] = [_figures(c)]
    if any(row.speed for row in c.rows):
        blocks.append(_changes(c))
    known = [
        a
        for a in ("cost", "latency", "quality")
        if sum(row.pareto.get(a) is not None for row in c.rows) > 1
    ]
    if len(known) > 1:
        blocks.append(_pareto(c, known))
    loud = ("fail", "warn")
    blocks += [
        Text(lead=f.severity.upper(), text=f"{f.code}: {f.text}", mood=MOODS[f.severity])
        for f in c.findings
        if f.severity in loud
    ]
    rows = [[word(f.code), word(f.text)] for f in c.findings if f.severity not in loud]
    if rows:
        table = Table(
            caption="To be known of the comparison",
            columns=("what", "finding"),
            rows=rows,
            left=(0, 1),
            prose=True,
        )
        blocks.append(Fold(title=f"Also noted ({len(rows)})", blocks=[table]))
    return Section(name="variants", heading="Variants", blocks=blocks)


_FIGURES = (
    ("output tokens/s", "output_tokens_per_s"),
    ("TTFT p50, ms", "ttft_p50_ms"),
    ("TPOT p50, ms", "tpot_p50_ms"),
    ("J/output token", "energy_per_output_token_j"),
)


def _figures(c: Comparison) -> Table:
    used = [(t, n) for t, n in _FIGURES if any(n in row.figures for row in c.rows)]
    rows = []
    for row in c.rows:
        usd = word(None)
        if row.usd_per_mtok is not None:
            low, high = map(quantity, row.usd_per_mtok)
            usd = word(low if low == high else f"{low} to {high}")
        memory = [rounded(row.weights_gib, row.weights_arose or ""), rounded(row.kv_cache_gib)]
        figures = [measured(row.figures.get(n)) for _, n in used]
        kernel = word(", ".join(row.kernel.names) or None)
        trusted = trust(row.trust)
        rows.append([word(row.name), *figures, *memory, usd, kernel, trusted, word(row.verdict)])
    columns = (
        "variant",
        *(t for t, _ in used),
        "weights, GiB",
        "KV, GiB",
        "$/M tokens",
        "kernel",
        "trust",
        "verdict",
    )
    at = f" at {c.load}" if c.load else ""
    text = len(columns)
    cost = f"; $ is the {c.usd_arose}" if any(r.usd_per_mtok is not None for r in c.rows) else ""
    of = f". {said}" if (said := figures_are_of(c.rows)) else ""
    found = Table(
        caption=f"{c.model}: variants against {c.baseline}{at}{cost}{of}",
        columns=columns,
        rows=rows,
        left=(0, text - 3, text - 2, text - 1),
    )
    return without_empty(found, kept=("trust",))


def _changes(c: Comparison) -> Table:
    rows = []
    for row in c.rows:
        for s in (s for s in row.speed if s.load == EVERYWHERE):
            r = s.ratio
            change, interval = None, None
            if r is not None:
                change = Cell(text=percent(r.value), value=r.value - 1)
                interval = f"{percent(r.low)} to {percent(r.high)}"
            p = None if s.p_holm is None else Cell(text=p_text(s.p_holm), value=s.p_holm)
            verdict = s.verdict.replace("_", " ")
            rows += rows_of(
                (row.name, s.metric, change, interval, number(s.pairs), s.basis, p, verdict)
            )
    columns = ("variant", "metric", "change", "95 % interval", "pairs", "of", "p (Holm)", "verdict")
    return Table(
        caption="Speed over all loads: variant ÷ baseline − 1, paired; "
        f"equivalent within {MARGIN:.0%}",
        columns=columns,
        rows=rows,
        left=(0, 1, 5, 7),
    )


def _pareto(c: Comparison, known: list[str]) -> Picture:
    across = known[0]
    up = "quality" if "quality" in known[1:] else known[1]
    rows = [
        [
            word(row.name),
            *(number(row.pareto.get(a), ".4g") for a in known),
            word(row.front_words or "no"),
        ]
        for row in c.rows
    ]
    table = Table(
        caption="Relative to the baseline",
        columns=("variant", *known, "not beaten"),
        rows=rows,
        left=(0, len(known) + 1),
    )

    def draw() -> Figure:
        from bench.report.pictures.variants import Standing, pareto

        standings = [Standing(name=r.name, places=r.pareto, on_front=r.on_front) for r in c.rows]
        return pareto(standings, across, up)

    caption = "A full marker is a variant that no other beats in " + " and ".join(known) + "."
    return Picture(name="pareto", caption=caption, draw=draw, numbers=table)
