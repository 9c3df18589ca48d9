"""A schedule as slow as a large model on a processor, which a calibration imitates."""

from __future__ import annotations

from pathlib import Path

from bench.engines.truth import serve_truth
from bench.values.spec import TruthSpec


def test_what_it_can_do_is_asked_without_its_pace(tmp_path: Path) -> None:
    """Asked in its own time it was given up after 30 s as "listens and is not reached", and the
    whole run with it (0.36 B parameters on two cores, 8 in flight)."""
    slow = TruthSpec(ttft_ms=60_000, itl_ms=5_000, start_timeout_s=30)
    with serve_truth(slow, tmp_path, lambda _: None) as server:
        assert server.usage == "continuous"
        assert "unpaced" not in f"{server.base_url} {server.metrics_url}"
