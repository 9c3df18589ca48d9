"""`bench fit`: what it prints, the GPU it recognises, and that it loads no torch."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from fit_support import catalogue, run_of

from bench.catalogue import match_gpu
from bench.errors import InputError
from bench.meters.gpus import GpuDevice, host_memory, visible
from bench.preflight import resolve
from bench.verbs.fit import run

MIB = 1024**2


def test_one_combination_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    spec = run_of("deepseek-r1", "awq", "a100-80gb-sxm", 2)
    typed = frozenset({"model", "quant", "gpu", "gpus"})
    assert run(spec, explicit=typed, catalogue=catalogue(), as_json=True) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["fits"] is False
    assert data["alternatives"][0]["overrides"][3] == "gpus=8"


def test_table_has_a_row_per_published_quant_and_count(capsys: pytest.CaptureFixture[str]) -> None:
    spec = run_of("deepseek-r1", "none", "a100-80gb-sxm", 1)
    assert run(spec, explicit=frozenset({"model"}), catalogue=catalogue(), as_json=True) == 0
    rows = json.loads(capsys.readouterr().out)["table"]
    assert {r["quant"] for r in rows} == {"none", "fp8", "awq"}
    assert [r["gpus"] for r in rows if r["quant"] == "awq"] == [1, 2, 4, 8, 16]
    assert [r["fits"] for r in rows if r["quant"] == "awq"] == [False, False, False, True, True]


def test_terminal_output_names_verdict_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    spec = run_of("glm-4.7", "awq", "a100-80gb-sxm", 2)
    run(spec, explicit=frozenset({"quant", "gpus"}), catalogue=catalogue())
    text = capsys.readouterr().out
    assert "does not fit" in text
    assert "bench fit model=glm-4.7 quant=awq gpu=a100-80gb-sxm gpus=4" in text
    run(spec, explicit=frozenset(), catalogue=catalogue())
    assert "physical ceilings" in " ".join(capsys.readouterr().out.split())


def test_a_model_nobody_listed(tmp_path: Path) -> None:
    spec = run_of("tiny", "none", "a100-80gb-sxm", 1)
    config = {**catalogue().models["qwen3-30b-a3b"].config}
    (tmp_path / "config.json").write_text(json.dumps(config))
    spec = dataclasses.replace(spec, model=dataclasses.replace(spec.model, path=str(tmp_path)))
    found = resolve(spec, frozenset({"model.path"}), catalogue()).model
    assert found.config["num_experts"] == 128
    assert found.max_context_tokens == 40_960
    assert found.weights == str(tmp_path)


def test_gpus_default_to_a_table_and_none_of_them_is_refused() -> None:
    spec = run_of("deepseek-r1", "awq", "a100-80gb-sxm", 0)
    assert resolve(spec, frozenset({"gpu"}), catalogue()).gpus == 1
    with pytest.raises(InputError, match="gpus"):
        resolve(spec, frozenset({"gpu", "gpus"}), catalogue())


def test_gpus_are_matched_by_name_and_memory() -> None:
    gpus = catalogue().gpus
    assert match_gpu("NVIDIA A100-SXM4-80GB", 81_920 * MIB, gpus).name == "a100-80gb-sxm"
    assert match_gpu("NVIDIA H100 80GB HBM3", 81_559 * MIB, gpus).name == "h100-sxm"
    with pytest.raises(InputError, match="NVIDIA GB10"):
        match_gpu("NVIDIA GB10", 128_000 * MIB, gpus)
    with pytest.raises(InputError, match="MIG"):
        match_gpu("NVIDIA H100 80GB HBM3", 20_000 * MIB, gpus)


def test_cuda_visible_devices() -> None:
    devices = tuple(
        GpuDevice(index=i, uuid=f"GPU-{i}", name="x", memory_total_bytes=1) for i in range(3)
    )
    assert visible(devices, None) == devices
    assert [d.index for d in visible(devices, "2,0")] == [2, 0]
    assert [d.index for d in visible(devices, "GPU-1")] == [1]
    assert visible(devices, "") == ()
    assert [d.index for d in visible(devices, "0,7,1")] == [0]


def test_host_memory_is_capped_by_the_control_group(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 900 kB\n")
    assert host_memory(tmp_path).available_bytes == 900 * 1024
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    assert host_memory(tmp_path).total_bytes == 1000 * 1024
    (group / "memory.max").write_text("512000\n")
    (group / "memory.current").write_text("100000\n")
    found = host_memory(tmp_path)
    assert (found.total_bytes, found.available_bytes) == (512_000, 412_000)


def test_fit_loads_neither_torch_nor_vllm() -> None:
    code = "import sys, bench.verbs.fit; print([m for m in ('torch', 'vllm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
