"""Predictions held against published rows that they were not fitted on; writes what `bench` ships.

    python scripts/predict_evidence.py             print the cross-validated tables
    python scripts/predict_evidence.py --write     and write evidence, bands and docs/predict.md
    python scripts/predict_evidence.py HELD.jsonl  predict rows that were held back (same fields)

Rows come from tests/data/evidence/published-throughput.jsonl. In every table the band of a row was
calibrated on rows of other groups than its own. Exit 1 when a band covers less than 75 %.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bounds_evidence import EVIDENCE, gpus, models
from scipy.optimize import nnls

from bench.predict import crossval, curves
from bench.predict.bands import (
    CALIBRATION,
    NORMAL,
    NOVELTIES,
    Deciles,
    Novelty,
    calibration,
    deciles,
    novelty,
)
from bench.predict.evidence import PUBLISHED, Row, read, write
from bench.predict.published import row_of
from bench.predict.regression import Design, coefficients, fit, levels_of
from bench.predict.speed import Speed, speeds
from bench.predict.terms import TERMS
from bench.sizing.architecture import from_config
from bench.values.codec import encode

DOCS = Path(__file__).parents[1] / "docs" / "predict.md"
MARKS = ("<!-- tables: begin (scripts/predict_evidence.py --write) -->", "<!-- tables: end -->")
CUTS = ("2025-02", "2025-06", "2026-02")
"""Days from which rows are predicted by all earlier ones: TensorRT-LLM 0.17, what came in 2025,
and ML.ENERGY, whose vLLM rows follow a few of MLPerf's."""


def rows_of(path: Path) -> list[Row]:
    """Published rows with their terms."""
    specs, catalogue = models(), gpus()
    data = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    shapes = {name: from_config(specs[name].config) for name in {d["model"] for d in data}}
    return [row_of(d, specs[d["model"]], shapes[d["model"]], catalogue) for d in data]


def main() -> int:
    """Print the tables, write the files, or try rows that were held back."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("held", nargs="?", type=Path)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if asked.held is not None:
        return held_back(rows_of(asked.held))
    rows = rows_of(EVIDENCE / "published-throughput.jsonl")
    write(rows, PUBLISHED if asked.write else Path("/dev/null"))
    tables = {way: crossval.left_out(rows, of) for way, of in crossval.WAYS.items()}
    factors = {
        way: crossval.widening(functools.partial(crossval.covered, t)) for way, t in tables.items()
    }
    forward = crossval.forward(rows, CUTS)

    def later(factor: float) -> np.ndarray:
        return np.concatenate([crossval.covered_by(t, at, factor) for _, t, at in forward])

    periods = [functools.partial(crossval.covered_by, t, at) for _, t, at in forward]
    factors["forward in time"] = crossval.widening_of_each(periods)
    refits = after_refits(rows)
    lines = [*report(rows, tables, factors, forward, later), *refit_report(rows, refits)]
    print("\n".join(lines))
    if asked.write:
        store(rows, tables, factors, refits)
        text = DOCS.read_text(encoding="utf-8")
        before, _, rest = text.partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        body = "\n".join(lines)
        DOCS.write_text(f"{before}{MARKS[0]}\n{body}\n{MARKS[1]}{after}", encoding="utf-8")
    low = [way for way, t in tables.items() if crossval.covered(t, factors[way]).mean() < 0.75]
    low += [name for name, _, _, inside in refits if inside.mean() < 0.75]
    return 1 if low or min(p(factors["forward in time"]).mean() for p in periods) < 0.75 else 0


def report(
    rows: Sequence[Row],
    tables: dict[str, crossval.LeftOut],
    factors: dict[str, float],
    forward: crossval.Forward,
    later: Callable[[float], np.ndarray],
) -> Iterable[str]:
    """The tables as Markdown."""
    yield f"{len(rows)} rows; error is |predicted ÷ measured - 1|, spread the 10th and 90th"
    yield "percentile of measured ÷ predicted, covered the share of rows inside their 80 % band,"
    yield "widened the factor on the band's logarithm that this took."
    yield ""
    yield "| left out | rows | groups | median error | spread | widened | covered |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for way, t in tables.items():
        inside = crossval.covered(t, factors[way])
        yield line(way, t.error, len(set(t.group)), factors[way], inside)
    error = np.concatenate([t.error for _, t, _ in forward])
    way = "forward in time"
    yield line(way, error, len(forward), factors[way], later(factors[way]))
    for cut, t, at in forward:
        inside = crossval.covered_by(t, at, factors[way])
        yield line(f"– from {cut} on", t.error, 1, factors[way], inside)
    yield ""
    yield "By collection, one row and one model out:"
    yield ""
    yield "| collection | rows | row out: error | covered | model out: error | covered |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name in sorted({r.collection for r in rows}):
        here = np.array([r.collection == name for r in rows])
        cells = []
        for way in ("one row out", "one model out"):
            inside = crossval.covered(tables[way], factors[way])[here]
            cells += [f"{_median(tables[way].error[here]):.1%}", f"{inside.mean():.0%}"]
        yield f"| {name} | {here.sum()} | {' | '.join(cells)} |"
    yield ""
    yield "Fitted coefficients: times the published limit; steps in 10 µs a layer, tokens in 10 µs."
    yield ""
    yield f"| engine, GPU | {' | '.join(t.replace('_', ' ') for t in TERMS)} |"
    yield f"| --- |{' --- |' * len(TERMS)}"
    design = Design(rows, levels_of(rows))
    found = coefficients(design, fit(design).values)
    seen: dict[str, np.ndarray] = {}
    for r, c in zip(rows, found, strict=True):
        seen.setdefault(f"{r.engine}, {r.gpu}", c)
    for name in sorted(seen):
        if sum(f"{r.engine}, {r.gpu}" == name for r in rows) >= 20:
            yield f"| {name} | {' | '.join(f'{x:.2f}' for x in seen[name])} |"


Refit = tuple[str, crossval.LeftOut, float, np.ndarray]
"""What a refit was on, the rows that it predicts, what widened their band, whether each is in."""
ON_ENDS, ON_OTHER = "both ends, the loads between", "both ends of another model, all loads"


def after_refits(rows: Sequence[Row]) -> list[Refit]:
    """ML.ENERGY's curves predicted from all earlier rows and two loads of one's own."""
    rest = [r for r in rows if r.date < CUTS[-1]]
    every = curves.curves([r for r in rows if r.date >= CUTS[-1]])
    own, other = curves.between(every, rest), curves.other_model(every, rest)
    scores = crossval.calibrate(rest)

    def wider(factor: float) -> np.ndarray:
        return crossval.covered_by(other, scores, factor)

    inside = functools.partial(crossval.covered, own, least=NORMAL)
    at_ends = crossval.widening(inside)
    of_other = crossval.widening_of_each([wider])
    return [
        (ON_ENDS, own, at_ends, inside(at_ends)),
        (ON_OTHER, other, of_other, wider(of_other)),
    ]


def refit_report(rows: Sequence[Row], refits: Sequence[Refit]) -> Iterable[str]:
    """The table after refits, and what launches differ by."""
    yield ""
    yield "After a refit on two loads, from earlier rows (vLLM's curves of ML.ENERGY):"
    yield ""
    yield "| refit on | rows | models | median error | spread | widened | covered |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, t, factor, inside in refits:
        yield line(name, t.error, len(set(t.group)), factor, inside)
    pooled, conditions, degrees = curves.submitters(rows)
    yield ""
    yield f"{conditions} conditions that several submitters of MLPerf 5.1 measured differ by"
    yield f"{pooled:.1%} (pooled over {degrees} degrees of freedom; other machines and tunings)."


def line(way: str, error: np.ndarray, groups: int, factor: float, inside: np.ndarray) -> str:
    low, high = np.exp(np.quantile(error, [0.1, 0.9]))
    return (
        f"| {way} | {len(error)} | {groups} | {_median(error):.1%} | {low:.2f} to {high:.2f} | "
        f"× {factor:.2f} | {inside.mean():.1%} |"
    )


def _median(error: np.ndarray) -> float:
    """Median of |predicted ÷ measured - 1|."""
    return float(np.median(np.abs(np.expm1(-error))))


def store(
    rows: Sequence[Row],
    tables: dict[str, crossval.LeftOut],
    factors: dict[str, float],
    refits: Sequence[Refit],
) -> None:
    """The calibration that ships: deciles by novelty, the later engine's factor, TPOT and power."""
    scores: dict[Novelty, Deciles] = {}
    for way, t in tables.items():
        few = len(set(t.group)) < crossval.FEW_GROUPS
        at = deciles(t.score, symmetric=few)
        scores[crossval.NEW_BY_WAY[way]] = at.widened(factors[way])
    nested("model", "gpu", scores)
    nested("gpu", "engine", scores)
    said = speeds(fit(Design(rows, levels_of(rows))), list(rows))
    shares, power = power_of(rows, said)
    tpot = [
        np.log(r.itl_ms / 1e3 / s.tpot_s) - np.log(s.tokens_per_s / r.tokens_per_s)
        for r, s in zip(rows, said, strict=True)
        if r.itl_ms
    ]
    data = {
        "scores": {name: encode(scores[name]) for name in NOVELTIES},
        "later": factors["forward in time"],
        "own": encode(deciles(refits[0][1].score).at_least(NORMAL).widened(refits[0][2])),
        "others": refits[1][2],
        "tpot": encode(deciles(tpot)),
        "watts": encode(power),
        "power_shares": list(shares),
    }
    CALIBRATION.write_text(json.dumps(_rounded(data), indent=1) + "\n", encoding="utf-8")


def nested(near: Novelty, far: Novelty, scores: dict[Novelty, Deciles]) -> None:
    """What is farther is never said to be surer."""
    a, b = scores[near], scores[far]
    scores[far] = Deciles(low=min(a.low, b.low), high=max(a.high, b.high), n=b.n)


def power_of(rows: Sequence[Row], said: Sequence[Speed]) -> tuple[tuple[float, ...], Deciles]:
    """Share of the boards' limit at which each kind of work draws, by non-negative least squares,
    and the deciles of log(measured ÷ modelled power)."""
    catalogue = gpus()
    metered = [(r, s) for r, s in zip(rows, said, strict=True) if r.watts]
    busy = np.array([s.busy for _, s in metered])
    share = np.array(
        [(r.watts or 0) / (r.gpus * (catalogue[r.gpu].power_w or 1)) for r, _ in metered]
    )
    found, _ = nnls(busy, share)
    return tuple(float(x) for x in found), deciles(np.log(share / (busy @ found)))


def _rounded(data: Any) -> Any:
    if isinstance(data, dict):
        return {k: _rounded(v) for k, v in data.items()}
    if isinstance(data, list):
        return [_rounded(v) for v in data]
    return round(data, 4) if isinstance(data, float) else data


def held_back(rows: Sequence[Row]) -> int:
    """Errors and coverage on rows that no fit has seen, with the bands that ship (not widened for
    a later engine: such rows are of the same time)."""
    rest = read(PUBLISHED)
    shipped = calibration().scores
    error, scale = crossval.predicted(rows, rest)
    new = tuple(novelty(r, rest) for r in rows)
    t = crossval.LeftOut(
        rows=tuple(rows), error=error, scale=scale, group=tuple("held" for _ in rows), novelty=new
    )
    inside = crossval.covered_by(t, shipped)
    print("| held back | rows | groups | median error | spread | widened | covered |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print(line("all", error, 1, 1.0, inside))
    for name in sorted({r.collection for r in rows}):
        at = np.array([r.collection == name for r in rows])
        print(line(name, error[at], 1, 1.0, inside[at]))
    return 0 if inside.mean() >= crossval.LEAST_COVERED else 1


if __name__ == "__main__":
    sys.exit(main())
