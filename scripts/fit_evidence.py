"""`bench fit` against start-up logs from outside: prediction beside log, row by row, the spread.

    python scripts/fit_evidence.py [--logs FILE.jsonl] [--configs DIR] [--only WORD] [--json]
        [--version VERSION]

The rows are in tests/data/evidence (README there); a file of the same form can be tried instead.
Exit 1 when a clean row's verdict is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.config.compose import catalogue
from bench.sizing.cross_validation import refits
from bench.sizing.evidence import QUANTITIES, Answer, answer, errors
from bench.sizing.evidence import spread as spread_of

EVIDENCE = Path(__file__).parents[1] / "tests" / "data" / "evidence"


def read_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def read_configs(folder: Path) -> dict[str, Any]:
    """Every config of the folder: NAME.json, or NAME/config.json as a checkpoint has it."""
    found = {p.stem: p for p in folder.glob("*.json")}
    found |= {p.parent.name: p for p in folder.glob("*/config.json")}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in found.items()}


def line(a: Answer) -> str:
    """One row: model and layout, then predicted / logged (error) for each quantity."""
    row = a.row
    where = f"{row['gpus']}×{row['gpu']}"
    head = f"{row['id']:4} {row['vllm']:<8.8} {row['model']:<34.34} {where:<20.20}"
    mark = " " if a.clean else "?"
    if a.report is None:
        return f"{head}{mark} refused: {(a.refused or '')[:90]}"
    cells = []
    for quantity in QUANTITIES:
        predicted, logged = a.pairs[quantity]
        error = a.error(quantity)
        if error is None:
            cells.append(f"{'–':>26}")
            continue
        form = ",.0f" if quantity == "KV tokens" else ",.2f"
        cells.append(f"{predicted:>9{form}} /{logged:>9{form}} {error:>+6.1%}".rjust(26))
    verdict = "starts" if a.report.fits else "fails"
    said = f"{verdict}{' WRONG' if a.wrong else ''}"
    return f"{head}{mark}{''.join(cells)}  {said}"


def summary(answers: list[Answer], label: str) -> list[str]:
    """The distribution over `answers`, a line a quantity, and the verdicts."""
    told = [a for a in answers if a.report is not None]
    lines = [f"{label}: {len(answers)} rows, {len(answers) - len(told)} refused"]
    for quantity in QUANTITIES:
        n, bias, middle, high = spread_of(errors(told, quantity))
        sizes = f"|median| {middle:.2%}  |p90| {high:.2%}"
        lines.append(f"  {quantity:<12} n {n:>3}  median {bias:+.2%}  {sizes}")
    wrong = [a.row["id"] for a in told if a.wrong]
    lines.append(f"  verdicts     n {len(told):>3}  wrong {len(wrong)} {' '.join(wrong)}")
    return lines


def constants(answers: list[Answer]) -> list[str]:
    """The overhead constants refitted without each model, and the cache's error when they are."""
    lines = ["overheads refitted without each model in turn (leave one model out):"]
    for refit in refits(answers):
        rules, every = refit.rules, refit.without.values()
        lines.append(f"  logs that take {rules.peak_per_logit.value} B per logit in use:")
        adds = [c.communication for c in every if c.communication is not None]
        for name, unit, used, found in (
            ("sampler", "B per logit", rules.peak_per_logit, [c.peak for c in every]),
            ("context", "GiB", rules.context, [c.context for c in every]),
            ("communication", "GiB", rules.communication, adds),
        ):
            spread = f"{min(found):.2f} to {max(found):.2f}" if found else "no log"
            lines.append(
                f"    {name:<13} {used.value:>6.2f} {unit:<11} n {used.n:>2}, band {used.low} to "
                f"{used.high}; refitted {spread}; {used.source}"
            )
        n, bias, middle, high = spread_of(refit.errors)
        lines.append(
            f"    KV GiB of the model left out: n {n} of {len(refit.without)} models, median "
            f"{bias:+.2%}  |median| {middle:.2%}  |p90| {high:.2%}  worst "
            f"{max(map(abs, refit.errors), default=float('nan')):.2%}"
        )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--logs", type=Path, default=EVIDENCE / "engine-logs.jsonl")
    parser.add_argument("--configs", type=Path, default=EVIDENCE / "configs")
    parser.add_argument("--only", default="", help="rows whose id or model contains this")
    parser.add_argument("--version", help="count all rows as this vLLM does, not as their own")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    rows = [r for r in read_rows(chosen.logs) if chosen.only in r["id"] + r["model"]]
    known, configs = catalogue(), read_configs(chosen.configs)
    answers = [answer(row, known, configs, chosen.version) for row in rows]
    clean = [a for a in answers if a.clean]
    if chosen.json:
        print(json.dumps([{"id": a.row["id"], "refused": a.refused, **a.pairs} for a in answers]))
    else:
        print(*map(line, answers), sep="\n")
        print(*summary(answers, "all"), *summary(clean, "clean"), sep="\n")
        print(*constants(answers), sep="\n")
    return 1 if any(a.wrong for a in clean) else 0


if __name__ == "__main__":
    sys.exit(main())
