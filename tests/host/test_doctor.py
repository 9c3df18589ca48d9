"""`bench doctor`: what it finds on boards that are not there, and one remedy for each problem."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_nvml import FakeNvml
from power_support import TurnedClock

from bench.cli.verbs.doctor import examine
from bench.config.compose import catalogue, compose, run_spec
from bench.host.doctor import problems
from bench.meters import machine as look
from bench.meters.nvml import NvmlSource
from bench.models.weights import Weights
from bench.sizing.headroom import to_fetch_bytes
from bench.values.machine import Board, Hub, Install, Machine, Sensor, Store
from bench.values.spec import RunSpec
from bench.values.telemetry import Device

GOOD = Machine(
    boards=(
        Board(
            device=Device(
                index=0,
                uuid="GPU-a",
                name="NVIDIA X",
                nvml_index=0,
                mig=False,
                persistence=True,
                power_limit_default_w=700.0,
            ),
            used_bytes=0,
            free_bytes=80 * 10**9,
            processes=(),
            event_reasons=0,
            limit_w=700.0,
        ),
    ),
    sensors=(Sensor(device=0, name="energy_mj", last=5),),
    driver="580.1",
    cuda="13.0",
    install=Install(vllm="0.32.0", package="vllm", torch="2.13.0", torch_cuda="13.0"),
    hub=Hub(endpoint="https://hub", reachable=True),
    store=Store(present=True, results_free_bytes=10**12, shm_free_bytes=10**11),
)
NO_GPU = replace(
    GOOD,
    boards=(),
    sensors=(),
    board_reason="NVML library not found",
    driver=None,
    cuda=None,
    install=replace(GOOD.install, torch_cuda=None),
)


def board(**changes: Any) -> Machine:
    return replace(GOOD, boards=(replace(GOOD.boards[0], **changes),))


def device(**changes: Any) -> Machine:
    return board(device=replace(GOOD.boards[0].device, **changes))


def store(**changes: Any) -> Machine:
    return replace(GOOD, store=replace(GOOD.store, **changes))


def test_a_sound_machine_has_no_problem() -> None:
    assert problems(GOOD, 1) == ()
    assert problems(NO_GPU, 0) == ()


UNLIKE = (GOOD.boards[0], Board(device=Device(index=1, uuid="GPU-b", name="NVIDIA Y")))
AWAY = {"present": False, "checkpoint": "o/m", "needs_bytes": 10**10, "free_bytes": 10**11}


@pytest.mark.parametrize(
    ("machine", "gpus", "code", "severity", "remedy"),
    [
        (GOOD, 2, "gpus", "fail", "this machine has 1: ask for fewer"),
        (replace(NO_GPU, install=GOOD.install), 1, "gpus", "fail", "NVML library not found"),
        (replace(NO_GPU, board_reason="NVIDIA driver not loaded"), 0, "nvml", "fail", "nvidia-smi"),
        (device(mig=True), 1, "mig", "warn", "nvidia-smi -i 0 -mig 0"),
        (device(persistence=False), 1, "persistence", "warn", "nvidia-smi -i 0 -pm 1"),
        (board(limit_w=500.0), 1, "power_limit", "warn", "-pl 700"),
        (board(processes=(7, 8)), 1, "gpu_shared", "fail", "stop process 7, 8"),
        (board(used_bytes=5 * 10**9), 1, "gpu_memory", "warn", "5.0 GB"),
        (board(processes=None, processes_why="No"), 1, "gpu_processes", "warn", "--pid=host"),
        (board(event_reasons=0x40), 1, "throttling", "warn", "heat (hardware)"),
        (
            replace(GOOD, sensors=(Sensor(device=0, name="energy_mj", why="Not Supported"),)),
            1,
            "sensor_energy_mj",
            "warn",
            "not ranked",
        ),
        (
            replace(GOOD, host_reason="RAPL is readable by root only"),
            1,
            "host_power",
            "warn",
            "chmod a+r",
        ),
        (replace(GOOD, boards=UNLIKE), 2, "cuda_order", "warn", "CUDA_DEVICE_ORDER=PCI_BUS_ID"),
        (replace(GOOD, install=Install()), 1, "engine", "fail", "make demo"),
        (replace(GOOD, install=NO_GPU.install), 1, "engine", "fail", "FLAVOUR=cuda"),
        (replace(NO_GPU, install=GOOD.install), 0, "engine", "fail", "FLAVOUR=cpu"),
        (replace(GOOD, cuda="12.4"), 1, "driver", "fail", "newer driver"),
        (store(**{**AWAY, "free_bytes": 10**9}), 1, "disk", "fail", "10.0 GB"),
        (
            replace(store(**AWAY), hub=Hub(endpoint="h", reachable=False, why="no route")),
            1,
            "hub",
            "fail",
            "no route",
        ),
        (
            replace(store(**AWAY), hub=Hub(endpoint="h", offline=True)),
            1,
            "hub",
            "fail",
            "HF_HUB_OFFLINE",
        ),
        (store(**AWAY, gated=True), 1, "hub_token", "fail", "HF_TOKEN"),
        (store(results_free_bytes=5), 1, "results_disk", "warn", "results_dir"),
        (store(results_free_bytes=0), 1, "results_disk", "warn", "results_dir"),  # full
        (
            replace(store(shm_free_bytes=0), boards=GOOD.boards * 2),
            2,
            "shared_memory",
            "warn",
            "has 0 MB",
        ),
        (
            replace(store(shm_free_bytes=64_000_000), boards=GOOD.boards * 2),
            2,
            "shared_memory",
            "warn",
            "--ipc=host",
        ),
    ],
)
def test_each_problem_is_one_line_with_its_remedy(
    machine: Machine, gpus: int, code: str, severity: str, remedy: str
) -> None:
    (found,) = problems(machine, gpus)
    assert (found.code, found.severity) == (code, severity)
    assert remedy in found.text
    assert "\n" not in found.text


def spec(*overrides: str) -> RunSpec:
    made: RunSpec = run_spec(compose(["gpus=1", *overrides]), detect_gpus=False)
    return made


def test_boards_and_sensors_through_nvml(tmp_path: Path) -> None:
    fake = FakeNvml(boards=4, unsupported=[186], processes=())
    env = {"CUDA_VISIBLE_DEVICES": "2,0", "HF_TOKEN": "hf_secret", "HF_HOME": str(tmp_path)}
    machine = examine(
        spec(),
        catalogue(),
        env,
        clock=TurnedClock(),
        rapl=tmp_path,
        nvml=lambda clock, env: NvmlSource(clock, env, fake),
        fetch=lambda _: None,
    )
    order = [(b.device.index, b.device.nvml_index, b.device.pci_bus_id) for b in machine.boards]
    assert order == [(0, 2, "00000000:03:00.0"), (1, 0, "00000000:01:00.0")]
    assert (machine.driver, machine.cuda) == ("570.00", "12.8")
    assert machine.boards[0].free_bytes == 15_020_809_984
    assert machine.hub == Hub(
        endpoint="https://huggingface.co", reachable=True, token="environment"
    )
    assert "hf_secret" not in repr(machine)
    blank = {s.name for s in machine.sensors if s.why is not None}
    assert {"instant_mw", "memory_mw"} <= blank
    assert "energy_mj" not in blank
    assert fake.shut == 1
    codes = {f.code for f in problems(machine, 1)}
    assert {"sensor_instant_mw", "host_power", "power_limit", "gpu_memory"} <= codes


def test_a_hub_that_does_not_answer_and_one_that_is_not_asked(tmp_path: Path) -> None:
    asked: list[str] = []

    def refuse(endpoint: str) -> str:
        asked.append(endpoint)
        return "no route"

    (tmp_path / "token").write_text("hf_secret")
    env = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://mirror"}
    found = look.hub(env, refuse)
    assert (found.reachable, found.why, found.token) == (False, "no route", "file")
    offline = look.hub({**env, "HF_HUB_OFFLINE": "1"}, refuse)
    assert (offline.reachable, offline.why) == (None, None)
    assert asked == ["http://mirror"]


def test_a_checkpoint_counts_as_here_when_it_is_whole(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--o--m" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    weights = Weights(source="hub", location="o/m")

    def found() -> Store:
        env = {"HF_HUB_CACHE": str(tmp_path)}
        return look.store(weights, 5, gated=False, results_dir=str(tmp_path / "r"), env=env)

    assert (found().present, found().needs_bytes) == (False, 5)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").symlink_to(tmp_path / "blob")  # still being fetched
    assert found().present is False
    (tmp_path / "blob").write_text("weights")
    assert (found().present, found().needs_bytes) == (True, 0)
    assert found().free_bytes == found().results_free_bytes


def test_the_command_on_this_machine_without_importing_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom bench.cli.main import main\ntry:\n"
        f"    main(['doctor', 'gpus=0', '--json', 'results_dir={tmp_path}'])\n"
        "finally:\n    print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HF_TOKEN": "hf_secret"},
    )
    document = json.loads(done.stdout)
    assert done.stderr.strip() == "False"
    assert done.returncode == (1 if "fail" in {p["severity"] for p in document["problems"]} else 0)
    assert document["hub"]["token"] == "environment"
    assert document["store"]["results_folder"] == str(tmp_path)
    assert "hf_secret" not in done.stdout


@pytest.mark.parametrize(
    ("model", "quant", "repository_bytes", "within"),
    [
        ("deepseek-r1-distill-llama-8b", "none", 16_060_522_496, 0.0),
        ("deepseek-r1-distill-llama-8b", "fp8", 9_081_280_648, 0.001),
        # 14 GB of it are the MTP layer, which is fetched and, without drafting, not loaded.
        ("deepseek-r1", "none", 688_586_727_753, 0.0005),
    ],
)
def test_the_size_to_fetch_is_the_repositorys(
    model: str, quant: str, repository_bytes: int, within: float
) -> None:
    """total_size of model.safetensors.index.json. Float32 of a processor used to double it."""
    found = to_fetch_bytes(run_spec(compose([f"model={model}", f"quant={quant}", "gpus=0"])))
    assert found == pytest.approx(repository_bytes, rel=within)
