"""`bench fit`: what it prints, the GPU it recognises, and that it loads no torch."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from fit_support import catalogue, run_of

from bench.cli.main import main
from bench.cli.verbs.fit import run
from bench.config.catalogue import match_gpu
from bench.meters.gpus import GpuDevice, GpuList, host_memory
from bench.meters.nvml_library import Chosen, Found, choose
from bench.preflight import identified, resolve
from bench.values.errors import InputError

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
    # R1 is published in FP8: none and fp8 are one checkpoint, and one row
    assert {r["quant"] for r in rows} == {"none", "awq"}
    assert [r["gpus"] for r in rows if r["quant"] == "awq"] == [1, 2, 4, 8, 16]
    assert [r["fits"] for r in rows if r["quant"] == "awq"] == [False, False, False, True, True]


def test_terminal_output_names_verdict_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    spec = run_of("glm-4.7", "awq", "a100-80gb-sxm", 2)
    run(spec, explicit=frozenset({"quant", "gpus"}), catalogue=catalogue())
    text = capsys.readouterr().out
    assert "does not fit" in text
    assert "bench fit model=glm-4.7 quant=awq gpu=a100-80gb-sxm gpus=4" in text
    run(spec, explicit=frozenset(), catalogue=catalogue())
    assert "are bounds" in " ".join(capsys.readouterr().out.split())


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


def device(index: int, name: str, gib: float, *, mig: bool = False) -> GpuDevice:
    size = round(gib * 1024**3)
    uuid = f"GPU-{index}"
    return GpuDevice(index=index, uuid=uuid, name=name, memory_total_bytes=size, mig_enabled=mig)


def test_what_nvml_lists_becomes_the_catalogues_gpu() -> None:
    """The whole list, not one device: their number, their least memory, and none assumed."""
    gpus = catalogue()
    h200 = [device(i, "NVIDIA H200", 140.4 - i / 100) for i in range(2)]
    gpu, count = identified(GpuList(devices=tuple(h200)), gpus)
    assert (gpu.name, count) == ("h200-sxm", 2)
    assert gpu.memory_gib == pytest.approx(140.39)
    h100 = device(0, "NVIDIA H100 80GB HBM3", 79.6)
    assert identified(GpuList(devices=(h100,)), gpus)[0].name == "h100-sxm"
    assert identified(GpuList(devices=(), told="none", reason="no driver"), gpus)[0].kind == "cpu"
    with pytest.raises(InputError, match=r"partitioned \(MIG\)"):
        identified(GpuList(devices=(device(0, "NVIDIA H200", 140.4, mig=True),)), gpus)
    with pytest.raises(InputError, match="choose one kind"):
        identified(GpuList(devices=(h200[0], h100)), gpus)
    with pytest.raises(InputError, match=r"'NVIDIA X1' .* is not in the catalogue"):
        identified(GpuList(devices=(device(0, "NVIDIA X1", 80),)), gpus)


def test_nobody_can_tell_is_not_no_gpu() -> None:
    gpus = catalogue()
    with pytest.raises(InputError, match="cannot be told which GPUs"):
        identified(GpuList(devices=(), told="unknown", reason="NVML does not start"), gpus)
    with pytest.raises(InputError, match="does not tell its memory"):
        identified(GpuList(devices=(device(0, "NVIDIA H200", 0),)), gpus)


def test_cuda_visible_devices() -> None:
    boards = [Found(place=i, uuid=f"GPU-{i}", name="x") for i in range(3)]

    def places(setting: str | None) -> list[int]:
        return [f.place for f in choose(boards, boards, setting).found]

    assert places(None) == [0, 1, 2]
    assert places("2,0") == [2, 0]
    assert places("GPU-1") == [1]
    assert places("") == []
    assert places("0,7,1") == [0]


def test_what_cannot_be_told_behind_a_silent_board() -> None:
    """CUDA numbers the boards that answer: behind a silent one a number is not what it says."""
    boards = [
        Found(place=0, uuid="GPU-0"),
        Found(place=1, why="GPU is lost"),
        Found(place=2, uuid="GPU-2"),
    ]

    def chosen(setting: str | None) -> Chosen:
        return choose(boards, boards, setting)

    assert (chosen(None).told, len(chosen(None).found)) == ("these", 2)
    assert [f.uuid for f in chosen("0").found] == ["GPU-0"]
    assert (chosen("2").told, chosen("2").found) == ("unknown", ())
    assert [f.uuid for f in chosen("GPU-2").found] == ["GPU-2"]
    assert chosen("-1").told == "none"
    assert chosen("MIG-1").told == "unknown"


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


def test_an_answer_of_fit_needs_neither_torch_nor_vectors() -> None:
    """The whole answer, with its rents: the price book once brought numpy, a sixth of the time."""
    code = (
        "import atexit, sys\n"
        "from bench.cli.main import main\n"
        "heavy = {'torch', 'vllm', 'numpy', 'pandas', 'scipy'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules)), file=sys.stderr))\n"
        "main(['fit', 'model=llama-3.1-8b', 'gpu=h100-sxm', 'gpus=1', '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert '"usd_per_h_low"' in done.stdout


def test_what_only_a_run_looks_at_is_named_and_left_aside(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The words of a run may be given to fit as they are; what they change nothing of is said."""
    from bench.cli.main import main

    words = ["fit", "model=llama-3.1-8b", "gpu=h100-sxm", "quant=none", "gpus=1", "--json"]
    said = []
    for more in ([], ["load.repeats=9", "seed=3", "meter=none"], ["load.concurrency=[32]"]):
        with pytest.raises(SystemExit) as ended:
            main([*words, *more])
        assert ended.value.code == 0
        said.append(capsys.readouterr())
    aside = "bench: without effect on bench fit, for a run alone: load.repeats, meter, seed\n"
    assert [s.err for s in said] == ["", aside, ""]
    assert said[0].out == said[1].out != said[2].out


@pytest.mark.parametrize("verb", ["fit", "predict"])
def test_what_is_counted_anyway_may_be_typed(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [verb, "model=llama-3.1-8b", "quant=fp8", "gpu=h100-sxm", "gpus=1"]
    said = []
    for more in ([], ["workload.turns=1", "workload.file=null"]):
        with pytest.raises(SystemExit) as ended:
            main([*words, *more])
        assert ended.value.code == 0
        said.append(capsys.readouterr())
    assert said[0] == said[1]
