"""The evidence program: order, limits, resuming, packing; the steps themselves are rehearsed."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import gpu_evidence as evidence
import gpu_steps as plan
from gpu_steps import Step

from bench.config.compose import compose, run_spec


def step(name: str, code: str, estimate_s: float = 1) -> Step:
    return Step(name=name, command=(sys.executable, "-c", code), estimate_s=estimate_s)


def statuses(out: Path) -> dict[str, str]:
    return {p.stem: json.loads(p.read_text())["status"] for p in (out / "steps").glob("*.json")}


def test_steps_are_noted_one_by_one_and_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    steps = [
        step("first", f"open({str(mark)!r}, 'a').write('x')"),
        step("second", "import sys; print('why'); sys.exit(5)"),
        step("third", "print('fine')"),
    ]
    out = tmp_path / "out"
    out.mkdir()
    assert evidence.go(steps, out, 60, 30) == 1
    assert statuses(out) == {"first": "done", "second": "failed", "third": "done"}
    assert (out / "steps" / "second.log").read_text() == "why\n"
    assert evidence.go(steps, out, 60, 30) == 1
    assert mark.read_text() == "x"
    mended = [steps[0], step("second", "pass"), steps[2]]
    assert evidence.go(mended, out, 60, 30, retry=True) == 0


def test_an_answer_of_no_is_an_answer(tmp_path: Path) -> None:
    steps = [step("answers", "import sys; sys.exit(3)")]
    assert evidence.go(steps, tmp_path, 60, 30, retry=True) == 0
    note = json.loads((tmp_path / "steps" / "answers.json").read_text())
    assert (note["status"], note["exit"]) == ("done", 3)


def test_an_answer_that_is_unclear_is_no_evidence_but_a_rehearsal(tmp_path: Path) -> None:
    unclear = step("parity", "import sys; print('restless'); sys.exit(4)")
    for name, rehearse, code, status in (("gpu", False, 1, "unclear"), ("cpu", True, 0, "done")):
        out = tmp_path / name
        assert evidence.go([unclear], out, 60, 30, rehearse=rehearse) == code
        note = json.loads((out / "steps" / "parity.json").read_text())
        assert (note["status"], note["answer"]) == (status, "unclear")
        # Without --retry it is left as it is.
        assert evidence.go([unclear], out, 60, 30, rehearse=rehearse) == code
        assert not (out / "steps" / "earlier").exists()


def test_what_an_earlier_try_said_is_kept(tmp_path: Path) -> None:
    for code in (4, 4, 0):
        tried = step("parity", f"import sys; print('said {code}'); sys.exit({code})")
        evidence.go([tried], tmp_path, 60, 30, retry=True)
    earlier = tmp_path / "steps" / "earlier"
    assert sorted(p.name for p in earlier.iterdir()) == [
        "parity.1.json",
        "parity.1.log",
        "parity.2.json",
        "parity.2.log",
    ]
    assert (earlier / "parity.2.log").read_text() == "said 4\n"
    assert statuses(tmp_path) == {"parity": "done"}


def test_a_run_whose_figures_are_withheld_is_no_evidence(tmp_path: Path) -> None:
    """The step ends well, and its run's energy is not valid: the power is above the board's."""
    (tmp_path / "results").mkdir()
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    code = (
        f"import sys; sys.path[:0] = {paths!r}; from pathlib import Path; "
        "from stored_support import busy, stored; "
        f"stored(Path({str(tmp_path / 'results')!r}), busy(100.0, WATTS), source='nvml')"
    )
    sound = step("sound", code.replace("WATTS", "600.0"))
    broken = step("broken", code.replace("WATTS", "6000.0"))
    assert evidence.go([sound, broken], tmp_path, 600, 300) == 1
    assert statuses(tmp_path) == {"sound": "done", "broken": "unclear"}
    note = json.loads((tmp_path / "steps" / "broken.json").read_text())
    assert note["exit"] == 0
    assert any(why.endswith("c1: energy_reset") for why in note["withheld"])


def test_checkpoints_that_bench_quantize_made_are_taken_and_nothing_else(tmp_path: Path) -> None:
    for quant in ("gptq", "awq.part"):
        (tmp_path / "tiny" / quant).mkdir(parents=True)
        (tmp_path / "tiny" / quant / "bench_quantize.json").write_text("{}")
    (tmp_path / "tiny" / "gptq.log").write_text("")
    names = [s.name for s in plan.gpu_steps("h100-sxm", tmp_path, 470, tmp_path)]
    assert [n for n in names if n.startswith("quality")] == ["quality-none", "quality-gptq"]
    names = [s.name for s in plan.rehearsal_steps(tmp_path, tmp_path)]
    assert [n for n in names if n.startswith("quality")] == ["quality-none", "quality-gptq"]


@pytest.mark.parametrize("gpu", ["h100-sxm", "h200-sxm"])
def test_every_step_that_serves_is_given_the_time_that_its_load_takes(
    gpu: str, tmp_path: Path
) -> None:
    """Its windows alone, repeats and levels multiplied, are shorter than what is expected of it."""
    served = [s for s in plan.gpu_steps(gpu, tmp_path, 470, None) if "bench.cli" in s.command]
    assert len(served) > 10
    for one in served:
        load = run_spec(compose(list(one.command[3:])), detect_gpus=False).load
        assert load.duration_s is not None
        windows_s = load.repeats * len(load.concurrency) * load.duration_s
        assert windows_s + 60 <= one.estimate_s, one.name


def test_a_step_that_does_not_fit_waits_and_one_that_hangs_is_ended(tmp_path: Path) -> None:
    steps = [step("hangs", "import time; time.sleep(60)"), step("long", "pass", estimate_s=1000)]
    assert evidence.go(steps, tmp_path, 60, 1) == 1
    assert statuses(tmp_path) == {"hangs": "timeout"}


def test_a_call_that_is_killed_leaves_no_step_behind_and_the_next_one_takes_it_up(
    tmp_path: Path,
) -> None:
    here = tmp_path / "pid"
    hang = f"import os, time; open({str(here)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    code = (
        f"import sys; sys.path[:0] = {sys.path[:]!r}; import gpu_evidence as e, pathlib as p; "
        f"e.go([e.Step(name='x', command=(sys.executable, '-c', {hang!r}), estimate_s=1)], "
        f"p.Path({str(tmp_path)!r}), 600, 500)"
    )
    call = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: here.exists() and here.read_text() != "")
    call.kill()
    call.wait()
    wait_for(lambda: not Path(f"/proc/{here.read_text()}").exists())
    assert statuses(tmp_path) == {}
    assert evidence.go([step("x", "pass")], tmp_path, 60, 30) == 0


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_results_are_packed_in_pieces_without_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "results" / "m" / "r"
    (run / "model").mkdir(parents=True)
    (run / "run.json").write_text("{}")
    (run / "model" / "tokenizer.json").write_text("big")
    (whole,) = evidence.pack(tmp_path)
    with tarfile.open(whole) as tar:
        assert tar.getnames() == ["results/m/r/run.json"]
    monkeypatch.setattr(evidence, "CARRY_BYTES", 50)
    pieces = evidence.pack(tmp_path)
    assert len(pieces) > 1
    assert all(p.stat().st_size <= 50 for p in pieces)
    (tmp_path / "joined").write_bytes(b"".join(p.read_bytes() for p in pieces))
    with tarfile.open(tmp_path / "joined") as tar:
        assert tar.getnames() == ["results/m/r/run.json"]


@pytest.mark.parametrize("gpu", ["h100-sxm", "h200-sxm"])
def test_the_plan_begins_with_the_sensors_and_every_step_is_below_eight_minutes(
    gpu: str, tmp_path: Path
) -> None:
    steps = plan.gpu_steps(gpu, tmp_path, 470, None)
    names = [s.name for s in steps]
    assert names[0] == "selfcheck"
    assert max(s.estimate_s for s in steps) <= 470
    assert names[1:6] == ["8b-bf16-c64", "8b-fp8-c64", "parity", "8b-awq-c64", "8b-gptq-c64"]
    assert names.index("overhead") < names.index("8b-bf16-c1+16") < names.index("8b-fp8-c1+16")
    assert len(names) == len(set(names))
    # What half an hour on a board is good for, the start of its machine not counted.
    # (26.4 min at a flat 0.6 of the plan; a predicted request takes 19 s at 64 in flight, not 13.)
    assert sum(s.estimate_s for s in steps[:5]) < 28 * 60
    for prefix in ("8b-awq", "8b-gptq", "moe-bf16", "moe-fp8", "70b-w4", "quality", "overhead"):
        assert any(n.startswith(prefix) for n in names), prefix
    assert any(n.startswith("70b-fp8") for n in names) == (gpu == "h200-sxm")  # 71 GB


def test_steps_are_chosen_by_name(tmp_path: Path) -> None:
    steps = plan.rehearsal_steps(tmp_path)
    assert [s.name for s in evidence.chosen(steps, "parity", None)] == ["parity"]
    assert evidence.chosen(steps, None, "overhead")[0].name == "overhead"
    with pytest.raises(SystemExit, match="no step 'nope'; there are selfcheck"):
        evidence.chosen(steps, "nope", None)
