"""A GPU host in a box: from the command to the page on stand-ins for driver and engine.

The driver's library is tests/gpu_host/nvml_standin.c under the real binding, the engine a process
that prints vLLM's log of a GPU start and then serves an exact schedule. Everything between them is
bench's own. What comes out is labelled a rehearsal, and nobody takes it for a measurement.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import vllm_standin  # noqa: E402 -- beside this file
import vllm_starts  # noqa: E402
from box import BOARD_W, LONG, MODEL, SHORT, Box, commands  # noqa: E402
from build import build, compiler  # noqa: E402

from bench.derive import derive  # noqa: E402
from bench.engines.failures import classify  # noqa: E402
from bench.engines.log import parse_engine_log  # noqa: E402
from bench.report.document import run_document  # noqa: E402
from bench.store import load_run  # noqa: E402

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler to build the library")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """The stand-ins, and all runs on them side by side: most of each is waiting."""
    made = Box(tmp_path_factory.mktemp("box"))
    build(made.folder / "library")
    vllm_standin.package(made.folder / "package")
    runbook = commands()
    exact = ("engine=truth", "engine.itl_ms=30", "meter=nvml")
    started = {"one": made.start("one", 1, *runbook["6"], *LONG), "selfcheck": made.selfcheck()}
    for boards in (1, 2, 8):
        name = f"truth-{boards}"
        started[name] = made.start(name, boards, *exact, f"gpus={boards}", *LONG)
    started["eight"] = made.start("eight", 8, *runbook["7"], *SHORT)
    started["sweep"] = made.start("sweep", 1, "-m", MODEL, "quant=none,fp8", "gpus=1", *SHORT)
    replicas = "engine.args=[--data-parallel-size,2]"
    started["replicas"] = made.start("replicas", 2, MODEL, "quant=fp8", "gpus=2", replicas, *SHORT)
    turns = ("compare", "--interleave", "2", *runbook["8"][3:])
    started["turns"] = made.start("turns", 1, *turns, *SHORT)
    for name, process in started.items():
        made.said[name], _ = process.communicate()
        assert process.returncode == 0, made.said[name]
    return made


def test_one_board_from_the_command_to_the_numbers(box: Box) -> None:
    found = box.document("one", "fp8")
    assert found["rehearsal"] == "made up: the engine, its log, the driver"
    assert found["engine"]["engine_version"] == vllm_starts.VERSION
    (point,) = found["load_points"]
    # what the engine's log says, and what the fit had predicted
    facts = found["engine_facts"]
    assert (facts["device"], facts["weights_gib"]) == ("cuda", 8.49)
    assert facts["attention_backend"] == "FLASH_ATTN"
    assert facts["quantisation_kernels"] == ["CutlassFP8ScaledMMLinearKernel"]
    assert len(found["fit_errors"]) == 3
    # what the boards drew: the library's own truth
    power = point["power_mean_w"]
    assert shown(power) == pytest.approx(BOARD_W, rel=0.01)
    assert power["arose"] == "synthetic"
    assert {d["uuid"][:12] for d in found["power"]["devices"]} == {"GPU-b0a7d000"}
    said = {f["code"]: f["severity"] for f in point["findings"]}
    for code in (
        "gpu_set",
        "gpu_shared",
        "mig",
        "energy_reset",
        "energy_cross_check",
        "below_roof",
    ):
        assert said.get(code, "pass") == "pass", [f for f in point["findings"] if f["code"] == code]
    arose = {m["arose"] for m in point.values() if isinstance(m, dict) and m.get("value")}
    assert "measured" not in arose


def test_the_self_check_on_the_drivers_library(box: Box) -> None:
    found = json.loads((box.folder / "selfcheck" / "selfcheck.json").read_text())
    assert (found["source"], found["rehearsal"]) == ("nvml", True)
    assert "rehearsal" in found["driver"]
    verdicts = {a["question"]: a["verdict"] for a in found["answers"]}
    assert len(verdicts) == 11
    assert verdicts["fields supported"] == "ok"
    # The library's board draws the same whatever the load: a step in power is not to be found.
    assert set(verdicts.values()) > {"ok"}


@pytest.mark.parametrize("boards", [1, 2, 8])
def test_an_exact_server_on_the_drivers_library(box: Box, boards: int) -> None:
    """engine=truth meter=nvml from the command: as many boards, their watts, and 128 tokens/s."""
    (path,) = (box.folder / f"truth-{boards}").glob("*/*")
    run = load_run(path)
    found = run_document(run, derive(run))
    (point,) = found["load_points"]
    assert found["rehearsal"] == "made up: the driver"
    assert len(found["power"]["devices"]) == boards
    assert shown(point["power_mean_w"]) == pytest.approx(boards * BOARD_W, rel=0.01)
    rate = shown(point["output_tokens_per_s"])
    assert rate == pytest.approx(4 * 32 / (0.005 + 31 * 0.03), rel=0.05)
    assert shown(point["output_tokens_per_s_per_gpu"]) == pytest.approx(rate / boards)
    per_token = shown(point["energy_per_output_token_j"])
    assert per_token == pytest.approx(boards * BOARD_W / rate, rel=0.03)


PRINTS = {
    "3": ("GPU-b0a7d000-5afe-4000-8000-000000000000", "PCI 00000000:18:00.0", "energy_mj"),
    "5": (": fits", "memory per GPU: weights 8.5", "output tokens/s at any load"),
    "6": ("J/output token", "KV cache: predicted", "1 x h100-sxm"),
    "7": ("8 x h100-sxm", "KV cache: predicted"),
    "8": ("variants against none", "fp8", "--interleave 3"),
    "9": ("per M tokens", "the API is cheaper"),
    "10": ("page.html",),
}
"""What the runbook says that a step prints, where this machine's own state does not change it."""


def test_the_runbooks_commands_print_what_it_says(box: Box) -> None:
    runbook = commands()
    assert list(runbook) == ["2", "3", "4", "5", "6", "7", "8", "9", "10"]
    assert "scripts/gpu_selfcheck.py" in runbook["4"]
    results = f"results_dir={box.folder / 'eight'}"
    said = {"6": box.said["one"], "7": box.said["eight"], "8": box.said["turns"]}
    for step, more, codes in (
        ("3", (), (0, 1)),  # 1: this machine's PyTorch knows no CUDA
        ("5", (), (0,)),
        ("9", (results, "tco.allow=[synthetic,invalid]"), (0,)),
        ("10", (results,), (0,)),
    ):
        code, said[step] = box.bench("", 1, *runbook[step], *more)
        assert code in codes, said[step]
    for step, words in PRINTS.items():
        for word in words:
            assert word in said[step], f"step {step}: {said[step]}"


def test_eight_boards(box: Box) -> None:
    found = box.document("eight", "fp8")
    (point,) = found["load_points"]
    assert len(found["power"]["devices"]) == 8
    argv = found["engine"]["argv"]
    assert argv[argv.index("--tensor-parallel-size") + 1] == "8"
    assert found["engine_facts"]["weights_gib"] == pytest.approx(8.49 / 8, abs=0.01)
    assert not {"gpu_set", "gpu_shared", "token_counts", "server_counter"} & failed(point)


def test_two_replicas_are_two_whole_engines(box: Box) -> None:
    """Data parallel: each board holds all weights and a cache of its own, the rate is of both."""
    found = box.document("replicas", "fp8")
    (point,) = found["load_points"]
    argv = found["engine"]["argv"]
    assert argv[argv.index("--data-parallel-size") + 1] == "2"
    assert "--tensor-parallel-size" not in argv
    assert found["engine_facts"]["weights_gib"] == 8.49
    (one,) = {
        e["measured"] for e in box.document("one", "fp8")["fit_errors"] if "KV" in e["quantity"]
    }
    (here,) = {e["measured"] for e in found["fit_errors"] if "KV" in e["quantity"]}
    assert here == one  # tokens are those of one replica
    assert len(found["power"]["devices"]) == 2
    rate, each = (point[k] for k in ("output_tokens_per_s", "output_tokens_per_s_per_gpu"))
    assert shown(each) == pytest.approx(shown(rate) / 2)
    assert not {"gpu_set", "gpu_shared", "token_counts", "server_counter"} & failed(point)


def test_a_sweep_and_the_page(box: Box) -> None:
    none, fp8 = (box.document("sweep", q)["run"] for q in ("none", "fp8"))
    page = box.folder / "page.html"
    code, said = box.bench("", 1, "report", none, fp8, "--out", str(page))
    assert code == 0, said
    text = page.read_text()
    assert text.count("REHEARSAL") >= 3  # the title, and each run's verdict
    assert "do not quote it" in text
    assert ">VALID<" not in text


def test_nobody_takes_it_for_a_measurement(box: Box) -> None:
    none, fp8 = (box.document("sweep", q)["run"] for q in ("none", "fp8"))
    code, said = box.bench(
        "", 1, "compare", fp8, "--baseline", none, "--fail-if", "output_tokens_per_s < -3%"
    )
    assert code == 4, said  # not enough evidence: there is none
    code, said = box.bench("", 1, "tco", fp8, "tco=default")
    assert code == 2, said
    assert "synthetic" in said
    code, said = box.bench("", 1, "tco", fp8, "tco=default", "tco.allow=[synthetic,invalid]")
    assert code == 0, said
    assert "SYNTHETIC" in said
    code, said = box.bench("", 1, "runs", f"results_dir={box.folder / 'sweep'}")
    assert said.count("rehearsal") == 2, said


@pytest.mark.parametrize(("kind", "boards"), [("nccl", 8), ("gated_weights", 1)])
def test_a_start_that_fails_from_the_command_to_its_one_line(
    box: Box, kind: str, boards: int
) -> None:
    words = (MODEL, "quant=fp8", f"gpus={boards}", *SHORT)
    code, said = box.bench(f"failed-{kind}", boards, *words, VLLM_STANDIN_FAIL=kind)
    assert code == 1
    assert "Traceback" not in said
    assert classify("\n".join(vllm_starts.failure_lines(kind, boards)), 1).remedy in said


@pytest.mark.parametrize("kind", vllm_starts.FAILURES)
@pytest.mark.parametrize("boards", [1, 8])
def test_every_failure_has_its_kind(kind: str, boards: int) -> None:
    found = classify("\n".join(vllm_starts.failure_lines(kind, boards)), 1)
    assert found.code == kind, found


@pytest.mark.parametrize("key", vllm_starts.STARTS, ids=str)
@pytest.mark.parametrize("boards", [1, 2, 8])
def test_what_a_start_says_is_read(key: tuple[str, str], boards: int) -> None:
    start = vllm_starts.STARTS[key]
    lines = vllm_starts.start_lines(
        start, model="m", boards=boards, utilisation=0.95, context=8192, port=1
    )
    found = parse_engine_log("\n".join(lines))
    memory = vllm_starts.memory(start, boards, 0.95)
    assert found.weights_gib == pytest.approx(memory.weights_gib, abs=0.006)
    assert found.kv_cache_tokens == memory.kv_tokens
    assert found.graph_capture_gib == pytest.approx(start.graphs_gib, abs=0.006)
    assert None not in (found.kv_cache_gib, found.engine_init_s, found.compile_s, found.device)
    if start.kernel or start.moe:
        assert found.quantisation_kernels == (start.kernel or start.moe,)


def test_figures_are_those_of_recorded_starts() -> None:
    """Rows of real starts (0.19: graphs were not yet taken off the cache's budget)."""
    rows = evidence()
    for start in vllm_starts.STARTS.values():
        row = rows[start.row]
        assert start.weights_gib == row["weights_gib"]
        assert start.graphs_gib == row["cudagraph_gib"]
        kv_gib = vllm_starts.memory(start, 1, 0.95).kv_gib + start.graphs_gib
        assert kv_gib == pytest.approx(row["kv_gib"], abs=0.03)
        tokens = row["kv_gib"] * 2**30 / start.kv_bytes_per_token
        assert tokens == pytest.approx(row["kv_tokens"], rel=0.001)


def evidence() -> dict[str, Any]:
    """Start-up logs of real vLLM, by row."""
    path = HERE.parents[0] / "data" / "evidence" / "engine-logs.jsonl"
    return {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed here")
@pytest.mark.parametrize("place", vllm_starts.FORMATS)
def test_every_line_has_the_format_of_the_pinned_version(place: str) -> None:
    source = vllm_package() / vllm_starts.SOURCES[place]
    strings = {
        node.value
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert vllm_starts.FORMATS[place] in strings


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed here")
def test_the_names_of_its_metrics_are_vllms_own() -> None:
    source = (Path(vllm_standin.__file__)).read_text()
    served = {w.strip('"') for w in source.replace("(", " ").split() if w.startswith('"vllm:')}
    known = "\n".join(p.read_text() for p in (vllm_package() / "v1" / "metrics").glob("*.py"))
    for name in {n.rstrip('",') for n in served}:
        assert f'"{name.removesuffix("_total")}"' in known, name


def vllm_package() -> Path:
    spec = find_spec("vllm")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations)))


def shown(metric: Mapping[str, Any]) -> float:
    """A figure, also where a busy machine has it withheld."""
    value = metric["value"] if metric["value"] is not None else metric["withheld_value"]
    assert value is not None, metric
    return float(value)


def failed(point: Mapping[str, Any]) -> set[str]:
    """The codes of a load point's failures."""
    findings: Sequence[Mapping[str, str]] = point["findings"]
    return {f["code"] for f in findings if f["severity"] == "fail"}
