"""Logs of nvidia-smi and DCGM as telemetry: their values, their sampling, what they do not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.meters.replay import ReplaySource, read_telemetry
from bench.values.errors import InputError

SMI = """\
timestamp, index, power.draw [W], temperature.gpu, clocks.current.sm [MHz], memory.used [MiB]
2026/09/02 00:00:00.000, 0, 100.25 W, 40, 1980 MHz, 1024 MiB
2026/09/02 00:00:00.000, 1, [N/A], 41, 1980 MHz, 1 MiB
2026/09/02 00:00:01.000, 0, 200.00 W, 42, 1410 MHz, 2048 MiB
2026/09/02 00:00:01.000, 1, 90.00 W, 41, 1980 MHz, 1 MiB
2026/09/02 00:00:02.000, 0, 300.00 W, 43, 1410 MHz, 2048 MiB
"""
DCGM = """\
# HELP DCGM_FI_DEV_POWER_USAGE Power draw (in W).
# TYPE DCGM_FI_DEV_POWER_USAGE gauge
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-d7cb",modelName="Tesla T4"} 14.512 1700000000000
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-d7cb",modelName="Tesla T4"} NaN 1700000015000
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-d7cb"} 7299606661 1700000030000
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-d7cb",GPU_I_ID="2"} 5 1700000030000
"""


def test_a_loop_of_nvidia_smi(tmp_path: Path) -> None:
    """Watts become mW, MiB bytes; [N/A] is no reading; half of the one second is its error."""
    (tmp_path / "smi.csv").write_text(SMI)
    found = read_telemetry(tmp_path / "smi.csv")
    assert len(found.header.devices) == 2
    t_ns, power_mw = found.of(0, "power").read("instant_mw")
    assert power_mw.tolist() == [100_250.0, 200_000.0, 300_000.0]
    assert t_ns.tolist() == [0, 1_000_000_000, 2_000_000_000]
    assert found.of(0, "power").half_ns.tolist() == [500_000_000] * 3
    assert found.of(1, "power").read("instant_mw")[1].tolist() == [90_000.0]
    assert found.of(0, "memory").read("used_bytes")[1].tolist() == [2.0**30, 2.0**31, 2.0**31]
    assert found.header.source == "replay"
    assert "one reading each 1 s" in (found.header.note or "")
    assert "mean of a second" in (found.header.note or "")
    played = ReplaySource(found, start_ns=0).header()
    assert "nvidia-smi log" in (played.note or "")


def test_metrics_of_dcgm_with_times(tmp_path: Path) -> None:
    """NaN is a blank, a slice's figures are its board's; energy is in mJ already."""
    (tmp_path / "dcgm.txt").write_text(DCGM)
    found = read_telemetry(tmp_path / "dcgm.txt")
    (device,) = found.header.devices
    assert (device.uuid, device.name) == ("GPU-d7cb", "Tesla T4")
    assert found.of(0, "power").read("instant_mw")[1].tolist() == [pytest.approx(14_512.0)]
    t_ns, energy_mj = found.of(0, "energy").read("energy_mj")
    assert (t_ns.tolist(), energy_mj.tolist()) == ([30_000_000_000], [7_299_606_661.0])
    assert not found.of(0, "memory").t_ns.size


def test_a_scrape_without_a_time_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dcgm.txt").write_text('DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a"} 80\n')
    with pytest.raises(InputError, match="without a time stamp"):
        read_telemetry(tmp_path / "dcgm.txt")


def test_what_is_no_log_is_said_as_before(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="is no recorded telemetry"):
        read_telemetry(tmp_path / "x.csv")


ZEUS = """\
Time,Power
2022-07-13 02:07:36.708783111,32402
2022-07-13 02:07:36.761689374,32402
2022-07-13 02:07:36.814552346,32312
"""
"""The first rows of zeus_monitor/sample.csv, github.com/ml-energy/zeus at 9703b31f (Apache-2.0)."""
WINDOWS = """\
start_time,window_name,elapsed_time,gpu0_energy,gpu1_energy
13586624.12895549,__ZeusDataLoader_power_limit,33.27751154080033,3991.396999999881,4170.069999992847
13586667.135764524,__ZeusDataLoader_power_limit,33.00594837591052,4046.0810000002384,4337.599000006914
13586668.0,inner,2.0,300.0,300.0
"""
"""Of tests/profile_data/A40+resnet18+gpu0,1,2,3.csv, github.com/ml-energy/zeus at 0d425157, two
GPUs of four; the window inside the second one is made up."""


def test_samples_of_zeus(tmp_path: Path) -> None:
    """mW as they stand; 53 ms between samples, half of which is how unsure each time is."""
    (tmp_path / "zeus.csv").write_text(ZEUS)
    found = read_telemetry(tmp_path / "zeus.csv")
    t_ns, power_mw = found.of(0, "power").read("instant_mw")
    assert power_mw.tolist() == [32_402.0, 32_402.0, 32_312.0]
    assert (t_ns / 1e6).tolist() == pytest.approx([0, 52.906, 105.769], abs=0.002)
    assert found.of(0, "power").half_ns[0] / 1e6 == pytest.approx(26.4, abs=0.1)
    assert "Zeus" in (found.header.note or "")


def test_windows_of_zeus_are_mean_powers(tmp_path: Path) -> None:
    """3,991.397 J in 33.2775 s are 119.943 W in the middle of the window, unsure by half of it; the
    one inside another counts once."""
    (tmp_path / "windows.csv").write_text(WINDOWS)
    found = read_telemetry(tmp_path / "windows.csv")
    t_ns, power_mw = found.of(0, "power").read("instant_mw")
    assert power_mw.tolist() == pytest.approx([119_942.8, 122_586.4], abs=0.1)
    assert t_ns.tolist()[1] / 1e9 == pytest.approx(42.871, abs=0.001)
    halves = (found.of(0, "power").half_ns / 1e9).tolist()
    assert halves == pytest.approx([16.6388, 16.5030], abs=1e-3)
    assert found.of(1, "power").read("instant_mw")[1].tolist()[0] == pytest.approx(125_311.9, abs=1)
    assert "1 windows inside of others" in (found.header.note or "")


def test_a_sample_that_is_none_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "zeus.csv").write_text(ZEUS + "yesterday,1\n")
    with pytest.raises(InputError, match="line 5"):
        read_telemetry(tmp_path / "zeus.csv")
