"""RAPL as the kernel shows it: which domains count, a counter that wraps, one that is not to be
read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from power_support import TurnedClock, at, sampled

from bench.meters.rapl import RaplSource
from bench.meters.source import MeterUnavailableError
from bench.power.measure import metered
from bench.values.telemetry import parse

RANGE_UJ = 262_143_328_850


def domain(root: Path, zone: str, name: str, energy_uj: int = 5_000_000) -> Path:
    folder = root / zone
    folder.mkdir()
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    return folder


def test_packages_and_dram_alone_so_that_nothing_counts_twice(tmp_path: Path) -> None:
    """core and uncore are parts of a package, psys holds all of it, mmio is the package again."""
    for zone, name in (
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:0:1", "uncore"),
        ("intel-rapl:0:2", "dram"),
        ("intel-rapl:1", "package-1"),
        ("intel-rapl:2", "psys"),
        ("intel-rapl-mmio:0", "package-0"),
    ):
        domain(tmp_path, zone, name)
    devices = RaplSource(TurnedClock(), tmp_path).devices()
    assert [(d.name, d.scope) for d in devices] == [
        ("package-0", "CPU package"),
        ("dram", "DRAM"),
        ("package-1", "CPU package"),
    ]


def test_the_deployment_is_the_packages_and_dram_stands_beside_it(tmp_path: Path) -> None:
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "dram")):
        domain(tmp_path, zone, name)
    clock = TurnedClock()
    trace = parse(sampled([RaplSource(clock, tmp_path)], clock, 2.0))
    how = metered(trace, gpus=0, marks={}, own_pids=(), start_ns=at(0), end_ns=at(2))
    assert [d.name for d in how.deployment.devices] == ["package-0"]
    assert how.deployment.scope == "CPU package"


def test_a_counter_that_wraps_goes_on_rising(tmp_path: Path) -> None:
    """From 1 J below the top to 2 J above 0: 3 J, then 5 J more."""
    folder = domain(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 1_000_000)
    source = RaplSource(TurnedClock(), tmp_path)
    read = []
    for energy_uj in (RANGE_UJ - 1_000_000, 2_000_000, 7_000_000):
        (folder / "energy_uj").write_text(str(energy_uj))
        reading = source.energy(0)
        assert reading is not None
        read.append(float(reading.values["energy_mj"] or 0))
    assert read[1] - read[0] == pytest.approx(3000)
    assert read[2] - read[1] == pytest.approx(5000)


def test_a_reading_that_fails_is_null_with_a_reason_and_no_wrap(tmp_path: Path) -> None:
    folder = domain(tmp_path, "intel-rapl:0", "package-0")
    source = RaplSource(TurnedClock(), tmp_path)
    (folder / "energy_uj").write_text("")
    blank = source.energy(0)
    assert blank is not None
    assert blank.values == {"energy_mj": None}
    assert blank.why["energy_mj"].startswith("RAPL: ")
    (folder / "energy_uj").write_text("6000000")
    again = source.energy(0)
    assert again is not None
    assert again.values == {"energy_mj": 6000.0}


def test_a_machine_without_rapl_says_so(tmp_path: Path) -> None:
    with pytest.raises(MeterUnavailableError, match="the kernel offers no RAPL"):
        RaplSource(TurnedClock(), tmp_path)
    domain(tmp_path, "intel-rapl:0", "psys")
    with pytest.raises(MeterUnavailableError, match="no package domain"):
        RaplSource(TurnedClock(), tmp_path)


@pytest.fixture
def for_root_only() -> Iterator[Path]:
    """A powercap tree whose counters only their owner may read, seen by somebody else."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    domain(root, "intel-rapl:0", "package-0")
    (root / "intel-rapl:0" / "energy_uj").chmod(0o400 if os.geteuid() == 0 else 0)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield root
    finally:
        os.seteuid(was)
        shutil.rmtree(root)


def test_counters_that_only_root_may_read(for_root_only: Path) -> None:
    with pytest.raises(MeterUnavailableError, match=r"^RAPL is readable by root only$"):
        RaplSource(TurnedClock(), for_root_only)
