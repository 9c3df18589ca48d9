"""Write README's table of results from the runs stored in results/evidence.

    python scripts/readme_results.py [--check]

`--check` writes nothing; exit code 1 when the table is not what the stored runs give.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.derive import derive
from bench.report.results_table import Stored, put, results_table
from bench.store import list_runs, load_run

ROOT = Path(__file__).resolve().parents[1]


def wanted(readme: str, results: Path) -> str:
    """README as the stored runs would have it."""
    runs = [load_run(path) for path in list_runs(str(results))]
    return put(readme, results_table([Stored(run=r, measurement=derive(r)) for r in runs]))


def main() -> int:
    """Write or check."""
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    new = wanted(text, ROOT / "results" / "evidence")
    if "--check" in sys.argv[1:]:
        return 0 if new == text else 1
    path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
