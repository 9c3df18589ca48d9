"""The comparison of variants: one row each, every change against the baseline, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from bench.compare import speed
from bench.compare.fairness import unlike
from bench.compare.kernels import Kernel, kernel_of
from bench.compare.launches import (
    ENOUGH_LAUNCHES,
    NO_TURNS,
    counted,
    launches,
    remedy,
    take_turns,
)
from bench.compare.likeness import Difference, differences, refuse, served_prompts
from bench.compare.pareto import Better, front
from bench.compare.speculation import Drafting, drafting, gain
from bench.compare.speed import EVERYWHERE, SpeedChange
from bench.compare.tasks import compare_tasks
from bench.compare.variant import Variant, figure, runs_behind
from bench.compare.words import words_of
from bench.measure.measurement import Trust, worst
from bench.measure.metrics import Metric
from bench.quality import verdict as quality_verdict
from bench.quality.trust import changed_files, quality_findings
from bench.quality.verdict import TaskComparison
from bench.values.confidence import ALPHA
from bench.values.errors import InputError
from bench.values.finding import Finding, Severity
from bench.values.record import TaskScore
from bench.values.spec import RunSpec

_MOST_NAMED = 3
SHOWN = ("output_tokens_per_s", "ttft_p50_ms", "tpot_p50_ms", "energy_per_output_token_j")
_AXES: tuple[tuple[str, Better], ...] = (
    ("quality", "higher"),
    ("cost", "lower"),
    ("latency", "lower"),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant. `figures` are the mean of its runs at the comparison's `load` (of how many each
    is: `figure_runs`), `trust` that of the worst of them; memory is quoted from the engine's log,
    weights that it does not name are the fit's model. `usd_per_mtok` is [low, high]
    for the GPU's quoted hourly prices at this rate, all hours used; `cost_ratio` is cost per output
    token ÷ the baseline's on the same hardware."""

    name: str
    runs: tuple[str, ...]
    baseline: bool
    valid: bool
    stands: bool
    trust: Trust | None
    figures: Mapping[str, Metric]
    weights_gib: float | None
    weights_arose: Literal["quoted", "modelled"] | None
    kv_cache_gib: float | None
    max_concurrency: float | None
    max_concurrency_tokens: int | None
    kernel: Kernel
    usd_per_mtok: tuple[float, float] | None
    cost_ratio: float | None
    scores: tuple[TaskScore, ...]
    speed: tuple[SpeedChange, ...] = ()
    quality: tuple[TaskComparison, ...] = ()
    differences: tuple[Difference, ...] = ()
    verdict: str = ""
    codes: tuple[str, ...] = ()
    pareto: Mapping[str, float | None] = field(default_factory=dict)
    on_front: bool = False
    launches: int = 1
    figure_runs: Mapping[str, int] = field(default_factory=dict)
    drafting: Drafting | None = None

    @property
    def front_words(self) -> str:
        """What may be said of its place: a few launches speak for themselves alone."""
        if not self.on_front:
            return ""
        known = self.launches >= ENOUGH_LAUNCHES or not self.figures
        return "on the Pareto front" if known else "on the Pareto front in this run"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Variants against their baseline, at 5 % after Holm's correction over what is tested together.

    `load` is the load point whose figures the rows show; changes of speed cover all of them.
    """

    model: str
    baseline: str
    load: str | None
    margin: float
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...] = ()
    alpha: float = ALPHA
    usd_arose: str = "quoted hourly price of the GPU ÷ measured tokens, every hour used"


def compare(
    variants: Sequence[Variant],
    *,
    allow: Sequence[str] = (),
    margin: float | None = None,
    load: str | None = None,
    usd_per_hour: float | None = None,
) -> Comparison:
    """Compare variants with the first one; InputError when they are not alike.

    `usd_per_hour` is the price of one GPU (of the host where there is none); without it the GPU's
    quoted range is used.
    """
    if len(variants) < 2:
        raise InputError("bench compare needs two runs or more: name them, the baseline first.")
    base = variants[0]
    found = [_alike(base, v, allow) for v in variants]
    margin = base.rounds[-1].run.spec.quality.margin if margin is None else margin
    load = load or best_load(base)
    rows = [_row(v, base, load, usd_per_hour) for v in variants]
    changed = speed.corrected(
        [speed.changes(speed.observed(base), speed.observed(v)) for v in variants[1:]]
    )
    scored = _quality(base, variants[1:], margin)
    rows[1:] = [
        _judged(
            replace(row, speed=s, quality=q, differences=d, drafting=_drafting(base, v)),
            min(rows[0].launches, row.launches),
        )
        for row, s, q, d, v in zip(rows[1:], changed, scored, found[1:], variants[1:], strict=True)
    ]
    rows[0] = replace(rows[0], verdict="the baseline", cost_ratio=_ratio_of_baseline(rows[0]))
    result = Comparison(
        model=base.first.spec.model.name,
        baseline=base.name,
        load=load,
        margin=margin,
        rows=_placed(rows),
    )
    return replace(result, findings=_findings(result, variants))


def _alike(base: Variant, other: Variant, allow: Sequence[str]) -> tuple[Difference, ...]:
    """What differs from the baseline's first run, in every run of a variant."""
    with_speed = base.loaded and other.loaded
    result: dict[str, Difference] = {}
    _one_checkpoint(other)
    first = base.rounds[0].measurement
    for one in (*base.rounds[1:], *other.rounds) if other is not base else base.rounds[1:]:
        run = one.run
        here = differences(base.first, run, allow, speed=with_speed)
        if with_speed:
            engines = unlike((base.first, first), (run, one.measurement), allow)
            here = (*served_prompts(first, one.measurement, allow), *engines, *here)
        refuse(run.path or other.name, here)
        result |= {d.key: d for d in here}
    return tuple(result.values())


def _one_checkpoint(variant: Variant) -> None:
    """InputError unless all rounds of a variant ran the same files."""
    first = variant.first.provenance.get("weights_sha256")
    for run in variant.runs[1:]:
        changed = changed_files(first, run.provenance.get("weights_sha256"))
        if changed:
            raise InputError(
                f"{run.path}: not a round of {variant.name}: its checkpoint differs from that of "
                f"{variant.first.path} ({changed[0]}). Leave the round out, or measure all again."
            )


def best_load(base: Variant) -> str | None:
    """The load point of the baseline with the highest output rate."""
    best: tuple[float, str] | None = None
    for point in base.rounds[-1].measurement.points:
        metric = point.metrics["output_tokens_per_s"]
        rate = metric.value if metric.value is not None else metric.withheld_value
        if rate is not None and (best is None or rate > best[0]):
            best = (rate, point.point.label)
    return None if best is None else best[1]


def _row(variant: Variant, base: Variant, load: str | None, usd_per_hour: float | None) -> Row:
    run = variant.rounds[-1].run
    facts = run.engine_facts or {}
    figures = {
        name: metric for name in SHOWN if (metric := figure(variant, load, name)) is not None
    }
    quality = variant.quality
    weights, modelled = facts.get("weights_gib"), False
    if weights is None and run.fit is not None:
        weights, modelled = run.fit.get("weights_gib_per_gpu"), True
    return Row(
        name=variant.name,
        runs=tuple(r.path for r in variant.runs),
        baseline=variant is base,
        valid=all(m.measurement.valid for m in variant.rounds),
        stands=all(m.measurement.stands for m in variant.rounds),
        trust=_trust(variant, figures),
        figures=figures,
        weights_gib=weights,
        weights_arose="modelled" if modelled else "quoted",
        kv_cache_gib=facts.get("kv_cache_gib"),
        max_concurrency=facts.get("max_concurrency"),
        max_concurrency_tokens=facts.get("max_concurrency_tokens"),
        kernel=kernel_of(run),
        usd_per_mtok=usd_per_mtok(
            _priced_as(base.first.spec, variant.first.spec),
            figures.get("output_tokens_per_s"),
            usd_per_hour,
        ),
        cost_ratio=None,
        scores=() if quality is None else quality[0].scores,
        launches=max(launches(variant.runs)) + 1,
        figure_runs={name: runs_behind(variant, load, name) for name in figures},
    )


def _trust(variant: Variant, figures: Mapping[str, Metric]) -> Trust | None:
    """That of its runs, the worst of them; partly where a figure of the row is withheld; None where
    no load was put on it."""
    found = worst(m.measurement.trust for m in variant.rounds)
    withheld = any(m.withheld_value is not None for m in figures.values())
    return "partly" if withheld and found == "ok" else found


def figures_are_of(rows: Sequence[Row]) -> str | None:
    """Of what the figures of a row are, where a variant has several runs; None where none has."""
    counts = sorted({len(row.runs) for row in rows})
    if counts == [1]:
        return None
    many = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    fewer = [said for row in rows if (said := _fewer(row))]
    return (
        f"Figures of speed are the mean of each variant's {many} runs, ± a 95 % interval over them "
        "(from three on); memory and kernel are those of the last one."
        + (f" But {'; '.join(fewer)}." if fewer else "")
    )


def _fewer(row: Row) -> str | None:
    """Which of a row's figures are of fewer than its runs: the others have no such load, or did not
    measure it. One that is withheld is of none, and says so itself."""
    of = len(row.runs)
    short: dict[int, list[str]] = {}
    for name, m in row.figures.items():
        behind = row.figure_runs.get(name, of)
        if m.value is not None and behind < of:
            short.setdefault(behind, []).append(name)
    known = sum(m.value is not None for m in row.figures.values())
    parts = [
        f"{'all' if len(names) == known else ', '.join(names)} of {n} of its {of} runs"
        + (" (± within it)" if n == 1 else "")
        for n, names in sorted(short.items())
    ]
    return f"{row.name}: {', '.join(parts)}" if parts else None


def _priced_as(base: RunSpec, spec: RunSpec) -> RunSpec:
    """The run at the baseline's rents where both have the same GPU: the price book may have been
    edited between them, and a table has one price of a GPU."""
    if spec.gpu.name != base.gpu.name or not base.gpu.price.known:
        return spec
    return replace(spec, gpu=replace(spec.gpu, price=base.gpu.price))


def usd_per_mtok(
    spec: RunSpec, rate: Metric | None, usd_per_hour: float | None = None
) -> tuple[float, float] | None:
    """[low, high] in $/M output tokens at a rate, from the price of the GPUs alone."""
    if rate is None or not rate.value:
        return None
    price = spec.gpu.price
    low, high = (
        (usd_per_hour, usd_per_hour)
        if usd_per_hour is not None
        else (
            price.low_usd_per_gpu_h,
            price.high_usd_per_gpu_h,
        )
    )
    if low is None or high is None:
        return None
    per_mtok = max(spec.gpus, 1) / (rate.value * 3600) * 1e6
    return low * per_mtok, high * per_mtok


def _quality(
    base: Variant, others: Sequence[Variant], margin: float
) -> list[tuple[TaskComparison, ...]]:
    """Task comparisons of every variant, p values corrected over all of them together."""
    first = base.quality
    groups: list[tuple[TaskComparison, ...]] = []
    for other in others:
        second = other.quality
        if first is None or second is None:
            groups.append(())
        else:
            groups.append(compare_tasks(*first, *second, margin))
    together = iter(quality_verdict.corrected([c for group in groups for c in group]))
    return [tuple(next(together) for _ in group) for group in groups]


def _judged(row: Row, launched: int) -> Row:
    overall = {c.metric: c for c in row.speed if c.load == EVERYWHERE}
    rate = overall.get("output_tokens_per_s")
    ratio = None if rate is None or rate.ratio is None else 1 / rate.ratio.value
    row = replace(row, cost_ratio=ratio)
    verdict, codes = words_of(row.speed, row.quality, measured=bool(row.figures), launched=launched)
    if row.drafting is not None:
        gained, code = gain(row.drafting, row.speed)
        verdict, codes = f"{gained}: {verdict}", (*code, *codes)
    return replace(row, verdict=verdict, codes=codes)


def _drafting(base: Variant, other: Variant) -> Drafting | None:
    return drafting((base.first, base.measurements), (other.first, other.measurements))


def _ratio_of_baseline(row: Row) -> float | None:
    return 1.0 if "output_tokens_per_s" in row.figures else None


def _placed(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows with their place on quality, cost and latency, relative to the baseline."""
    points: dict[str, dict[str, float | None]] = {}
    for row in rows:
        overall = {c.metric: c for c in row.speed if c.load == EVERYWHERE}
        tpot = overall.get("tpot_p50_ms")
        recovered = [c.recovery.value for c in row.quality if c.primary and c.recovery]
        quality = min(recovered) if recovered else (1.0 if row.baseline and row.scores else None)
        latency = 1.0 if row.baseline and row.figures else None
        if tpot is not None and tpot.ratio is not None:
            latency = tpot.ratio.value
        points[row.name] = {"quality": quality, "cost": row.cost_ratio, "latency": latency}
    known = [a for a in _AXES if any(p[a[0]] is not None for p in points.values())]
    best = front(points, known)
    return tuple(replace(row, pareto=points[row.name], on_front=row.name in best) for row in rows)


def _failed_in(variant: Variant) -> str:
    """The runs that are not wholly valid, each with the command that says why."""
    failed = (m.run.path for m in variant.rounds if not m.measurement.valid)
    names = ["/".join(path.rsplit("/", 2)[-2:]) for path in failed]
    shown = ", ".join(f"bench show {name}" for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    said = " says why" if len(names) == 1 else " say why"
    return shown + (f" and {more} more" if more > 0 else "") + said


def _findings(result: Comparison, variants: Sequence[Variant]) -> tuple[Finding, ...]:
    found: list[Finding] = []

    def add(code: str, severity: Severity, text: str) -> None:
        found.append(Finding(code=code, severity=severity, text=text))

    counts = [max(launches(v.runs)) + 1 for v in variants]
    if any(row.speed for row in result.rows) and min(counts) < ENOUGH_LAUNCHES:
        runs = [run for v in variants for run in v.runs]
        text = f"{counted(min(counts))} of a variant: speeds are those of these runs, no verdict"
        add("one_run", "warn", f"{text}; {remedy(runs)}")
    elif not all(take_turns(variants[0].runs, v.runs) for v in variants[1:]):
        add("no_turns", "info", NO_TURNS)
    for row, variant in zip(result.rows, variants, strict=True):
        if row.kernel.note is not None:
            severity: Severity = "warn" if row.kernel.fallback else "info"
            add(
                "kernel_fallback" if row.kernel.fallback else "kernel",
                severity,
                f"{row.name}: {row.kernel.note}",
            )
        if not row.valid and variant.loaded:
            text = "load points that failed their certificate enter no comparison of speed"
            add("invalid_run", "warn", f"{row.name}: {text}: {_failed_in(variant)}")
        for d in row.differences:
            if d.kind != "variant":
                kind = "allowed" if d.allowed else "noted"
                add(f"difference_{kind}", "warn" if d.allowed else "info", f"{row.name}: {d}")
        found += [
            replace(f, text=f"{row.name}: {f.text}")
            for run in variant.runs
            for f in quality_findings(run)
            if f.severity != "pass"
        ]
    return tuple(found)
