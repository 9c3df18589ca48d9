"""Write README's table of results from the runs stored in results/evidence.

    python scripts/readme_results.py [--results DIR] [--check]

`--check` writes nothing; exit code 1 when the table is not what the stored runs give. Runs from
elsewhere, as an unpacked evidence archive, are shown on stdout and README stays as it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.derive import derive
from bench.report.results_table import Stored, put, results_table
from bench.store import list_runs, load_run

ROOT = Path(__file__).resolve().parents[1]


def table_of(results: Path) -> str:
    """The table of the runs stored there."""
    runs = [load_run(path) for path in list_runs(str(results))]
    return results_table([Stored(run=r, measurement=derive(r)) for r in runs])


def main(argv: Sequence[str] | None = None) -> int:
    """Write, check or show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--results", type=Path, help="show the runs of this folder instead")
    given = parser.parse_args(argv)
    if given.results is not None:
        print(table_of(given.results))
        return 0
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    new = put(text, table_of(ROOT / "results" / "evidence"))
    if given.check:
        return 0 if new == text else 1
    path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
