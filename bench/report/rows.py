"""Tables as rows for other programs: CSV, Parquet, and Markdown for people to paste.

Every number keeps its full precision and its unit; what was not measured is empty, never 0.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bench.compare.compare import Comparison
from bench.compare.gate import Gate, GateTest
from bench.compare.speed import SpeedChange
from bench.measure.measurement import Measurement
from bench.measure.metrics import Metric
from bench.quality.verdict import TaskComparison
from bench.report.grid import Column, Grid, markdown
from bench.report.numbers import quantity
from bench.values.codec import encode
from bench.values.errors import InputError, nearest
from bench.values.record import Run

FORMATS = ("csv", "md", "parquet")
Row = Mapping[str, Any]


def known_format(name: str | None, every: Sequence[str] = FORMATS) -> str | None:
    """The format that was asked for; InputError for one that there is not."""
    if name is not None and name not in every:
        meant = " JSON is typed --json." if name.lower() == "json" else nearest(name, every)
        raise InputError(f"--format: {name!r} is unknown.{meant}")
    return name


def flat(row: Row) -> dict[str, Any]:
    """A run's summary without nesting: the rate with its interval in columns of their own."""
    rate = row.get("output_tokens_per_s") or {}
    plain = {k: v for k, v in row.items() if not isinstance(v, (dict, list))}
    return plain | {
        "output_tokens_per_s": rate.get("value"),
        "output_tokens_per_s_ci_low": rate.get("ci_low"),
        "output_tokens_per_s_ci_high": rate.get("ci_high"),
    }


def metric_rows(run: Run, measurement: Measurement) -> list[dict[str, Any]]:
    """One row per load point and metric of a run."""
    return [
        {
            "run": run.path,
            "load": point.point.label,
            "valid": point.valid,
            "trust": point.trust,
            "metric": name,
            "unit": m.unit,
            "value": m.value,
            "ci_low": m.ci_low,
            "ci_high": m.ci_high,
            "n": m.n,
            "repeats": m.repeats,
            "arose": m.arose,
            "withheld_value": m.withheld_value,
        }
        for point in measurement.points
        for name, m in point.metrics.items()
    ]


_COMPARED = (
    *("kind", "variant", "metric", "unit", "load", "baseline_value", "variant_value", "estimate"),
    *("ci_low", "ci_high", "n", "p", "p_holm", "verdict", "condition", "reason", "trust"),
)
"""The columns of a comparison's rows: what a kind of row has not stays empty."""


def comparison_rows(c: Comparison, gate: Gate | None = None) -> list[dict[str, Any]]:
    """Figures, changes of speed and of quality, and the gate's tests, one row each."""
    found: list[dict[str, Any]] = []
    for row in c.rows:
        found += [
            _figure(row.name, c.load, name, m) | {"trust": row.trust}
            for name, m in row.figures.items()
        ]
        found += [_speed(row.name, s) for s in row.speed]
        found += [_quality(row.name, q) for q in row.quality]
    found += [_tested(t) for t in (() if gate is None else gate.tests)]
    return [dict.fromkeys(_COMPARED) | row for row in found]


def _figure(variant: str, load: str | None, name: str, m: Metric) -> dict[str, Any]:
    return {
        "kind": "figure",
        "variant": variant,
        "metric": name,
        "unit": m.unit,
        "load": load,
        "variant_value": m.value,
        "ci_low": m.ci_low,
        "ci_high": m.ci_high,
        "n": m.repeats,
    }


def _speed(variant: str, s: SpeedChange) -> dict[str, Any]:
    r = s.ratio
    return {
        "kind": "speed ratio",
        "variant": variant,
        "metric": s.metric,
        "unit": s.unit,
        "load": s.load,
        "baseline_value": s.baseline,
        "variant_value": s.variant,
        "estimate": r and r.value,
        "ci_low": r and r.low,
        "ci_high": r and r.high,
        "n": s.pairs,
        "p": s.p,
        "p_holm": s.p_holm,
        "verdict": s.verdict,
    }


def _quality(variant: str, q: TaskComparison) -> dict[str, Any]:
    r = q.recovery
    return {
        "kind": "quality recovery",
        "variant": variant,
        "metric": f"{q.task}:{q.metric}",
        "unit": "1",
        "baseline_value": q.baseline,
        "variant_value": q.variant,
        "estimate": r and r.value,
        "ci_low": r and r.low,
        "ci_high": r and r.high,
        "n": q.n,
        "p": q.p,
        "p_holm": q.p_holm,
        "verdict": q.verdict,
    }


def _tested(t: GateTest) -> dict[str, Any]:
    kind = {"ratio": "gate, relative", "change": "gate, change", "value": "gate, value"}[t.kind]
    return {
        "kind": kind,
        "variant": t.run,
        "unit": "1" if t.kind == "ratio" else t.unit,
        "load": t.load,
        "baseline_value": t.baseline,
        "variant_value": t.variant,
        "estimate": t.estimate,
        "ci_low": t.low,
        "ci_high": t.high,
        "n": t.n,
        "p": t.p,
        "p_holm": t.p_holm,
        "verdict": t.outcome,
        "condition": t.condition,
        "reason": t.reason,
    }


def write_rows(rows: Sequence[Row], form: str) -> None:
    """Write rows to stdout in that format; InputError for Parquet on a terminal."""
    columns = list(rows[0]) if rows else []
    if form == "csv":
        out = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
        out.writeheader()
        out.writerows(rows)
    elif form == "md":
        print(markdown(_grid(rows, columns)), end="")
    else:
        _parquet(rows)


def _grid(rows: Sequence[Row], columns: Sequence[str]) -> Grid:
    """The columns that hold something, figures at the right with three significant digits."""
    used = [c for c in columns if any(row[c] is not None for row in rows)]
    figures = {c for c in used if any(type(row[c]) in (int, float) for row in rows)}
    return Grid(
        columns=tuple(Column(title=c, right=c in figures) for c in used),
        rows=tuple(tuple(_text(row[c]) for c in used) for row in rows),
    )


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return quantity(value) if isinstance(value, float) else str(value)


def _parquet(rows: Sequence[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if sys.stdout.isatty():
        raise InputError("Parquet is no text: redirect it into a file, > runs.parquet.")
    table = pa.Table.from_pylist([encode(row) for row in rows])
    pq.write_table(table, pa.PythonFile(sys.stdout.buffer, mode="w"), compression="zstd")
