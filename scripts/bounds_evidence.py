"""Bounds against published measurements: none may be exceeded, and inflated ones should be caught.

`python scripts/bounds_evidence.py [ROWS.jsonl] [--json]` reads published rows (by default those of
tests/data/evidence), holds each against the bound under its own conditions, and multiplies each by
2, 3, 5 and 10 to see which share would be called impossible: `before` is the bound of the first
version (two operations per weight, one read of the weights per step), `now` that of
`bench.sizing.bound`. Exit 1 when any row exceeds the bound.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.claims.limits import limit_of
from bench.claims.spec import Conditions
from bench.sizing.architecture import from_config
from bench.sizing.bound import held, machine
from bench.sizing.geometry import Geometry
from bench.sizing.precision import PRECISIONS, precision
from bench.values.codec import decode
from bench.values.spec import GpuSpec, ModelSpec

ROOT = Path(__file__).parents[1]
EVIDENCE = ROOT / "tests" / "data" / "evidence"
FACTORS = (2, 3, 5, 10)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One row: the measured rate over the bound, before and now (None: no bound known)."""

    name: str
    family: str
    lengths_known: bool
    before: float | None
    now: float | None


def models() -> dict[str, ModelSpec]:
    """The catalogue's models, and those of the evidence beside it."""
    folders = (EVIDENCE / "models", ROOT / "conf" / "model")
    return {
        p.stem: _read(ModelSpec, p) for folder in folders for p in sorted(folder.glob("*.yaml"))
    }


def gpus() -> dict[str, GpuSpec]:
    folders = (EVIDENCE / "gpus", ROOT / "conf" / "gpu")
    return {p.stem: _read(GpuSpec, p) for folder in folders for p in sorted(folder.glob("*.yaml"))}


def _read(kind: Any, path: Path) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return decode(kind, yaml.load(path.read_text(encoding="utf-8"), loader), str(path))


def judge(
    row: Mapping[str, Any], spec: ModelSpec, g: Geometry, catalogue: Mapping[str, GpuSpec]
) -> Judged:
    """The row's rate over both bounds. The rows say that nothing was speculated; their prompts
    are drawn anew (MLPerf's rules, trtllm-bench's random tokens, ML.ENERGY's single turns)."""
    gpu = catalogue.get("-".join(w for w in (row["gpu"], row["form_factor"]) if w))
    known = row["input_tokens"] is not None and row["output_tokens"] is not None
    named = precision(row["quant"], spec)
    before = now = None
    if gpu is not None and named is not None:
        m, h = machine(gpu, row["gpus"], named), held(g, named, row["kv_bits"])
        if m is not None:
            limit = limit_of("output_tokens_per_s", conditions(row), m, h, gpu, "")
            now = limit.tightest if row["speculative"] is False else limit.compute
        before = _before(row, g, gpu)
    return Judged(
        name=row["id"],
        family=row["family"],
        lengths_known=known,
        before=row["value"] / before if before else None,
        now=row["value"] / now if now else None,
    )


def conditions(row: Mapping[str, Any]) -> Conditions:
    """A row in the words of a claim; MLPerf's rows name a scenario, which says what they obeyed."""
    benchmark, _, scenario = row["batch_mode"].partition(" ")
    return Conditions(
        model=row["model"],
        quant=row["quant"],
        gpu=row["gpu"],
        form_factor=row["form_factor"] or None,
        gpus=row["gpus"],
        engine=row["engine"],
        engine_version=None,
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        concurrency=row["concurrency"],
        scenario=scenario.casefold() if benchmark == "MLPerf" else None,
        prefix_reuse=False,
    )


def _before(row: Mapping[str, Any], g: Geometry, gpu: GpuSpec) -> float | None:
    """The first version's bound: two operations per active weight at the 8- or 16-bit peak, and
    one read of one token's weights per step of `concurrency` sequences."""
    bits = PRECISIONS[row["quant"]].weight_bits if row["quant"] != "none" else 16.0
    top = gpu.fp8_tflops if row["quant"] == "fp8" and gpu.fp8_tflops else gpu.bf16_tflops
    if gpu.bandwidth_gb_s is None or top is None:
        return None
    compute = top * 1e12 * row["gpus"] / (2 * g.matmul_params)
    if row["concurrency"] is None:
        return float(compute)
    read = g.matmul_params * bits / 8
    reading = row["concurrency"] * gpu.bandwidth_gb_s * 1e9 * row["gpus"] / read
    return float(min(compute, reading))


def flagged(ratios: Iterable[float | None], factor: float) -> float:
    """Share of rows that, inflated by a factor, exceed the bound; an unknown bound catches none."""
    every = list(ratios)
    return sum(r is not None and r * factor > 1 for r in every) / len(every) if every else 0.0


def summary(rows: Sequence[Judged]) -> dict[str, Any]:
    """What to print: rows without a bound, exceeded ones, shares flagged, medians by family."""
    groups = {"all rows": rows, "lengths known": [r for r in rows if r.lengths_known]}
    now = [r.now for r in rows if r.now is not None]
    return {
        "rows": len(rows),
        "without_bound": [r.name for r in rows if r.now is None],
        "exceeded": [r.name for r in rows if r.now is not None and r.now > 1],
        "exceeded_before": [r.name for r in rows if r.before is not None and r.before > 1],
        "largest_measured_over_bound": max(now, default=None),
        "flagged": {
            name: {
                f"x{f}": {
                    "before": flagged((r.before for r in group), f),
                    "now": flagged((r.now for r in group), f),
                }
                for f in FACTORS
            }
            for name, group in groups.items()
        },
        "median_measured_over_bound": {
            family: {
                "rows": len(group),
                "before": _median(r.before for r in group),
                "now": _median(r.now for r in group),
                "largest": max((r.now for r in group if r.now is not None), default=None),
            }
            for family in sorted({r.family for r in rows})
            for group in [[r for r in rows if r.family == family]]
        },
    }


def _median(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.median(known) if known else None


def evidence(path: Path) -> list[Judged]:
    """Every row of a file, judged; a model that is not known here ends it with its name."""
    specs, catalogue = models(), gpus()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    shapes = {name: from_config(specs[name].config) for name in {r["model"] for r in rows}}
    return [judge(r, specs[r["model"]], shapes[r["model"]], catalogue) for r in rows]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", default=EVIDENCE / "published-throughput.jsonl")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = summary(evidence(Path(asked.rows)))
    if asked.json:
        print(json.dumps(found, indent=2))
    else:
        _print(found)
    return 1 if found["exceeded"] else 0


def _print(found: Mapping[str, Any]) -> None:
    print(f"{found['rows']} rows, {len(found['without_bound'])} without a bound")
    print(f"exceeded: {len(found['exceeded'])} (before: {len(found['exceeded_before'])})")
    print(f"largest measured ÷ bound: {found['largest_measured_over_bound']:.1%}\n")
    print(f"{'flagged as impossible':24}" + "".join(f"{'×' + str(f):>16}" for f in FACTORS))
    for name, shares in found["flagged"].items():
        cells = (f"{s['before']:.1%} → {s['now']:.1%}" for s in shares.values())
        print(f"{name:24}" + "".join(f"{c:>16}" for c in cells))
    print(f"\n{'measured ÷ bound':24}{'rows':>8}{'median before':>16}{'now':>8}{'largest':>10}")
    for family, m in found["median_measured_over_bound"].items():
        print(
            f"{family:24}{m['rows']:>8}{m['before'] or 0:>16.1%}{m['now'] or 0:>8.1%}"
            f"{m['largest'] or 0:>10.1%}"
        )


if __name__ == "__main__":
    sys.exit(main())
