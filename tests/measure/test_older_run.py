"""A run that an earlier bench stored (commit 6ee52c1, schema 1) is read, and says what moved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.derive import derive, run_findings
from bench.store import load_run

STORED = Path(__file__).parents[1] / "data" / "run-schema-1"


def test_a_run_of_the_first_schema_says_where_its_figures_differ() -> None:
    """engine=truth, 50 + 49 x 20 = 1,030 ms, 16 in flight, four waves, three times:
    16 / 1.03 s = 15.53 req/s and 776.7 tokens/s. Its bench said 10.67 and 770.9 (withheld)."""
    run = load_run(STORED)
    measurement = derive(run)
    (point,) = measurement.points
    for name, truth in (("requests_per_s", 16 / 1.03), ("output_tokens_per_s", 800 / 1.03)):
        found = point.metrics[name]
        assert found.ci_low is not None
        assert found.ci_high is not None
        assert found.ci_low <= truth <= found.ci_high
        assert found.value == pytest.approx(truth, rel=0.005)
    (said,) = (f for f in measurement.findings if f.code == "older_run")
    assert said.severity == "info"
    assert "rates" in said.text
    assert "p99" in said.text
    assert "older_run" not in {f.code for f in run_findings(replace(run, schema_version=2))}
