"""Whatever is read, a reader answers in its own words or takes it: never a traceback."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from damage import damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers import once, place, readers

NAMES = (
    *("HTTP and SSE", "metrics", "run.json", "point.json", "telemetry", "claims", "model YAML"),
    *("workload", "prices", "demand", "config.json", "engine log", "text"),
)


@pytest.fixture(scope="module")
def run() -> Iterator[Path]:
    with place() as path:
        yield path


def test_every_reader_takes_its_sample(run: Path) -> None:
    found = readers(run)
    assert tuple(r.name for r in found) == NAMES
    refused = [r.name for r in found for s in r.samples if once(r, s, run)]
    assert refused == ["telemetry"]  # its sample is a skeleton, which lacks most of a header


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), more=st.binary(max_size=60))
def test_a_damaged_text_is_read_or_refused(run: Path, number: int, seed: int, more: bytes) -> None:
    reader = readers(run)[number]
    rng = random.Random(seed)
    once(reader, damaged(rng.choice(reader.samples), rng), run)
    once(reader, more, run)
