"""Speed: the headline table, throughput against interactivity, latencies, and the time line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from bench.compare.variant import Measured
from bench.measure.checks.steadiness import IF_NOT_INDEPENDENT
from bench.measure.histogram import Histogram, histograms
from bench.measure.measurement import PointMeasurement
from bench.measure.metrics import Metric, steady_parts
from bench.measure.stats import ENOUGH_TO_CORRELATE
from bench.measure.timeline import Timeline, timeline
from bench.power.table import EVERY_METRIC
from bench.report.numbers import load_words
from bench.report.page.blocks import (
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
    trust,
    without_empty,
    word,
)
from bench.report.page.material import Material, fastest, kept_slo, slo_words
from bench.values.record import PointData, counting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEADLINE = (
    ("output tokens/s", "output_tokens_per_s"),
    ("per user, tokens/s", "output_tokens_per_s_per_user"),
    ("requests/s", "requests_per_s"),
    ("TTFT p50, ms", "ttft_p50_ms"),
    ("TTFT p99, ms", "ttft_p99_ms"),
    ("ITL p50, ms", "itl_p50_ms"),
    ("ITL p99, ms", "itl_p99_ms"),
    ("E2E p50, ms", "e2e_p50_ms"),
    ("errors", "error_rate"),
)

_LEGEND = (
    "TTFT: time to the first token. ITL: time between tokens. E2E: whole request. p50 is the "
    "median; 99 of 100 are below p99. ± or (from–to) is the 95 % interval over repeats, taken "
    f"as independent below {ENOUGH_TO_CORRELATE}: {IF_NOT_INDEPENDENT}. n "
    "counts the observations (time bins, requests or gaps) in all repeats. Measured by this run's "
    "own client; the bound, which no honest measurement exceeds, is modelled from the "
    "hardware's published limits, – where there are none. A withheld number failed its certificate."
)


def headline(m: Material) -> Section | None:
    """One row per load point; every metric behind a fold."""
    blocks: list[Block] = []
    for one in (r for r in m.runs if r.measurement.points):
        blocks.append(_table(one, m.name(one)))
        suffix = f" of {m.name(one)}" if len(m.runs) > 1 else ""
        blocks.append(Fold(title=f"All metrics{suffix}", blocks=[_every_metric(one)]))
    if blocks:
        blocks.append(Text(text=_LEGEND))
    return Section(name="headline", heading="Headline numbers", blocks=blocks) if blocks else None


def _table(one: Measured, name: str) -> Table:
    rows = []
    for p in one.measurement.points:
        cells = [measured(p.metrics[key], note=_counted(p.metrics[key])) for _, key in _HEADLINE]
        slo = {True: "kept", False: "not kept", None: "–"}[kept_slo(one, p)]
        rate, *others = cells
        rows.append([word(load_words(p)), trust(p.trust), word(slo), rate, _bound(p), *others])
    titles = [title for title, _ in _HEADLINE]
    columns = ("load", "trust", "SLO", titles[0], "bound, tokens/s", *titles[1:])
    caption = f"{name}: SLO {slo_words(one.run.spec.workload.slo)}"
    found = Table(caption=caption, columns=columns, rows=rows, left=(0, 1, 2))
    return without_empty(found, kept=("SLO", "trust"))


def _counted(metric: Metric) -> str:
    if metric.value is None:
        return ""
    return f"n {metric.n:,}" + (f" in {metric.repeats}" if metric.repeats > 1 else "")


def _bound(point: PointMeasurement) -> Cell:
    """The bound, with the share of it that was reached; nothing of a point that failed."""
    rate = point.metrics["output_tokens_per_s"].value
    bound = point.metrics.get("bound_tokens_per_s")
    if bound is None or bound.value is None:
        return measured(bound)
    share = "" if rate is None else f"{rate / bound.value:.0%} reached, "
    return Cell(text=f"{bound.value:,.0f}", value=bound.value, note=share + bound.arose)


def _every_metric(one: Measured) -> Table:
    points = one.measurement.points
    known = {d.name: d.unit for d in EVERY_METRIC}
    names = [
        n
        for n in dict.fromkeys(n for p in points for n in p.metrics)
        if any(
            p.metrics[n].value is not None or p.metrics[n].withheld_value is not None
            for p in points
            if n in p.metrics
        )
    ]
    rows = []
    for name in names:
        metrics = [p.metrics.get(name) for p in points]
        arose = next((m.arose for m in metrics if m is not None), "–")
        unit = known.get(name) or next((m.unit for m in metrics if m is not None), "")
        cells = [measured(m, note="" if m is None else _counted(m)) for m in metrics]
        rows.append([word(name), word("share" if unit == "1" else unit), *cells, word(arose)])
    columns = ("metric", "unit", *(load_words(p) for p in points), "how it arose")
    return Table(
        caption="Every metric that has a value at some load",
        columns=columns,
        rows=rows,
        left=(0, 1, len(columns) - 1),
    )


_PER_USER = "output_tokens_per_s_per_user"


def throughput(m: Material) -> Section | None:
    """Throughput against interactivity, all runs in one picture."""
    gpus = all(r.run.spec.gpus for r in m.runs)
    key = "output_tokens_per_s_per_gpu" if gpus else "output_tokens_per_s"
    told = [r for r in m.runs if _drawn(r, key)]
    if not told:
        return None
    unit = "tokens/s per GPU" if gpus else "tokens/s"
    slo = told[0].run.spec.workload.slo
    rows = [
        [
            word(m.name(r)),
            word(load_words(p)),
            measured(p.metrics[_PER_USER]),
            measured(p.metrics[key]),
            word({True: "yes", False: "no", None: "–"}[kept_slo(r, p)]),
        ]
        for r in told
        for p in r.measurement.points
    ]
    columns = ("run", "load", "tokens/s per user", unit, "SLO kept")
    table = Table(caption="Numbers of this picture", columns=columns, rows=rows, left=(0, 1, 4))

    def draw() -> Figure:
        from bench.report.pictures.speed import Curve, Place, throughput

        curves = [
            Curve(
                name=m.name(r),
                places=[
                    Place(
                        load=p.point.label,
                        slo_met=kept_slo(r, p),
                        per_gpu=p.metrics[key],
                        per_user=p.metrics[_PER_USER],
                    )
                    for p in r.measurement.points
                ],
            )
            for r in told
        ]
        limit = f"TPOT ≤ {slo.tpot_ms:g} ms"
        return throughput(curves, unit=unit, slo_per_user=1000 / slo.tpot_ms, slo_text=limit)

    labels = {p.point.label: load_words(p) for r in told for p in r.measurement.points}
    caption = (
        f"Output {unit} over what each user sees: up and to the right is better. Bars are 95 % "
        "intervals. Shaded: time per output token (TPOT) within the SLO. A hollow point did not "
        "keep the whole SLO, or it is not known. Withheld load points are not drawn. "
        f"{_explained(labels)}"
    )
    picture = Picture(name="throughput", caption=caption, draw=draw, numbers=table)
    heading = "Throughput against interactivity"
    return Section(name="throughput", heading=heading, blocks=[picture])


def _drawn(one: Measured, key: str) -> bool:
    """Whether any load point has both figures: one without is no place in the picture."""
    pairs = [(p.metrics[_PER_USER].value, p.metrics[key].value) for p in one.measurement.points]
    return any(None not in pair for pair in pairs)


def _explained(labels: Mapping[str, str]) -> str:
    """What the short names of load points mean, by their first and last."""
    known = list(labels)
    ends = dict.fromkeys((known[0], known[-1]))
    return "; ".join(f"{label}: {labels[label]}" for label in ends) + "."


def latency(m: Material) -> Section | None:
    """TTFT, ITL and E2E of every load point whose certificate does not withhold them: one picture
    each, in which variants stand over one another."""
    found = [(one, place) for one in m.runs for place in _histograms(one)]
    blocks: list[Block] = []
    for name in ("TTFT", "ITL", "E2E"):
        key = f"{name.lower()}_p50_ms"
        rows = [
            (one, p, h[name])
            for one, (p, h) in found
            if name in h and p.metrics[key].value is not None
        ]
        if rows:
            blocks.append(_hills(m, name, rows))
    if not blocks:
        return None
    return Section(name="latency", heading="Latency distributions", blocks=blocks)


def _histograms(one: Measured) -> list[tuple[PointMeasurement, dict[str, Histogram]]]:
    spec = one.run.spec
    found = []
    for point, repeats in _with_points(one):
        if point.valid:
            deadline_ms = spec.load.request_timeout_s * 1e3
            parts = steady_parts(counting(list(repeats)), spec.workload.slo, spec.gpus, deadline_ms)
            found.append((point, histograms(parts)))
    return found


def _with_points(one: Measured) -> Iterator[tuple[PointMeasurement, Iterator[PointData]]]:
    """Each measured load point with its repeats; every stored point is read once, in order, for
    that is what takes the time of a large run."""
    measured_at = {p.point.index: p for p in one.measurement.points}
    for index, repeats in groupby(one.run.points, key=lambda d: d.point.index):
        if index in measured_at:
            yield measured_at[index], repeats


def _hills(
    m: Material, name: str, rows: Sequence[tuple[Measured, PointMeasurement, Histogram]]
) -> Picture:
    stem, slo = name.lower(), rows[0][0].run.spec.workload.slo
    keys = [f"{stem}_{which}_ms" for which in ("p50", "p90", "p99")]
    several = len({id(one) for one, _, _ in rows}) > 1
    subject = "all variants" if several else m.name(rows[0][0])
    table = Table(
        caption=f"{name} of {subject}, ms",
        columns=(*(("run",) if several else ()), "load", "p50", "p90", "p99", "values"),
        rows=[
            [
                *((word(m.name(one)),) if several else ()),
                word(load_words(p)),
                *(measured(p.metrics[k]) for k in keys),
                number(h.n),
            ]
            for one, p, h in rows
        ],
        left=(0, 1) if several else (0,),
    )
    limit = slo.ttft_ms if name == "TTFT" else None

    def draw() -> Figure:
        from bench.report.pictures.latency import Spread, latency

        spreads = [
            Spread(
                load=p.point.label,
                variant=m.name(one) if several else None,
                histogram=h,
                p50_ms=p.metrics[keys[0]].value,
                p99_ms=p.metrics[keys[2]].value,
            )
            for one, p, h in rows
        ]
        return latency(spreads, name=name, limit_ms=limit, limit=f"SLO, {slo.ttft_ms:g} ms")

    labels = {p.point.label: load_words(p) for _, p, _ in rows}
    caption = (
        f"{name} ({_LONG[name]}) of {subject}: all values of all repeats in the steady windows, "
        f"further left is better. {_explained(labels)}{_came_together(m, rows, several)}"
    )
    return Picture(name=f"latency-{stem}", caption=caption, draw=draw, numbers=table)


_LONG = {
    "TTFT": "time to first token",
    "ITL": "inter-token latency, every gap between tokens",
    "E2E": "end to end, from request to last token",
}


def _came_together(
    m: Material, rows: Sequence[tuple[Measured, PointMeasurement, Histogram]], several: bool
) -> str:
    """Which share of the gaps has no length: tokens that came together are not on the axis."""
    shares = [
        (f"{m.name(one)} at " if several else "") + f"{p.point.label} {share:.0%}"
        for one, p, h in rows
        if (share := h.together) > 0
    ]
    if not shares:
        return ""
    return f" Tokens that came with the one before, a gap of 0, are left out: {', '.join(shares)}."


def time_line(m: Material) -> Section | None:
    """The fastest load point of each run over time; the others behind a fold."""
    shown: list[Block] = []
    hidden: list[Block] = []
    for place, one in enumerate(m.runs):
        suffix = f"-{place + 1}" if len(m.runs) > 1 else ""
        best = fastest(one) or next(iter(one.measurement.points), None)
        for p, repeats in _with_points(one):
            first = next(repeats)
            data = first if first.discarded is None else counting([first, *repeats])[0]
            picture = _over_time(one, m.name(one), p, data, suffix)
            if picture is None:
                continue
            (shown if p is best else hidden).append(picture)
    blocks = [*shown, *([Fold(title="The other load points", blocks=hidden)] if hidden else [])]
    return Section(name="timeline", heading="Time line", blocks=blocks) if blocks else None


def _over_time(
    one: Measured, run: str, point: PointMeasurement, data: PointData, suffix: str
) -> Picture | None:
    devices = [d["index"] for d in (one.measurement.power or {}).get("devices", ())]
    seen = timeline(data, one.run.telemetry if one.run.is_metered(data) else None, devices)
    if seen is None:
        return None
    doubt = "" if point.valid else " · FAILED its certificate: a diagnosis, not a result"
    source = (one.measurement.power or {}).get("power_source")
    made_up = f" · power is {source}" if source in ("replay", "synthetic") else ""
    title = f"{load_words(point)}, repeat {data.point.repeat + 1}{made_up}{doubt}"
    above = (f"{run}: " if suffix else "") + title

    def draw() -> Figure:
        from bench.report.pictures.timeline import timeline as picture

        return picture(seen, above.replace(" · ", "\n"))

    caption = f"{run}, {title}. The steady window, from which every number comes, is shaded."
    return Picture(
        name=f"timeline-{point.point.label}{suffix}",
        caption=caption,
        draw=draw,
        numbers=_binned(seen),
    )


def _binned(seen: Timeline, every: int = 6) -> Table:
    """Means over a few bins each: the picture in numbers."""
    starts = range(0, len(seen.edges_s) - 1, every)
    rows = []
    for a in starts:
        b = min(a + every, len(seen.edges_s) - 1)
        cells = [word(f"{seen.edges_s[a]:.2f} to {seen.edges_s[b]:.2f}")]
        for line in seen.lines:
            known = [v for v in line.values[a:b] if v is not None]
            mean = sum(known) / len(known) if known else None
            cells.append(rounded(mean))
        rows.append(cells)
    columns = ("seconds", *(f"{line.name}, {line.unit}" for line in seen.lines))
    return Table(caption="Means of the bins", columns=columns, rows=rows)
