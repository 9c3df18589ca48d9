"""A sweep through a real one-node Slurm: one fails, one is preempted, one is cancelled.

Slurm comes from Debian's packages (`apt-get install slurm-wlm`) and is started here with its own
configuration, ports and folder. Without it, or without root, these tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bench.store import load_run
from bench.sweep import slurm
from bench.sweep.asked import Sweep, find

WORDS = (
    *("engine=truth", "gpus=0", "meter=none", "load.concurrency=[1,2]", "load.repeats=1"),
    *("load.duration_s=1.5", "load.warmup_requests=1", "load.calibrate=false"),
    *("workload.input_tokens=16", "workload.output_tokens=8", "engine.ttft_ms=5"),
)
PATIENCE_S = 120.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def until(holds: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {PATIENCE_S:g} s: {what}")


def conf(folder: Path, host: str) -> str:
    """slurm.conf of one node: no accounts, no munge, a folder and ports of its own."""
    return f"""
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/d.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/d.log
SchedulerParameters=sched_interval=2,bf_interval=2
MailProg=/bin/true
KillWait=10
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running Slurm; the folder of its configuration."""
    if any(shutil.which(name) is None for name in ("slurmctld", "slurmd", "sbatch")):
        pytest.skip("Slurm is not installed here (apt-get install slurm-wlm)")
    if os.geteuid() != 0:
        pytest.skip("slurmd starts as root alone")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().partition(".")[0]
    (folder / "slurm.conf").write_text(conf(folder, host))
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    daemons = []
    try:
        for name in ("slurmctld", "slurmd"):
            words = [name, "-D", "-f", str(folder / "slurm.conf")]
            with (folder / f"{name}.out").open("w") as out:
                daemons.append(
                    subprocess.Popen(words, stdout=out, stderr=out, start_new_session=True)
                )
        try:
            until(lambda: "idle" in asked("sinfo", "-h", "-o", "%T"), "Slurm's node is idle")
        except AssertionError:  # a machine on which Slurm itself does not run: nothing of ours
            last = (folder / "slurmd.out").read_text().splitlines()[-1:]
            pytest.skip(f"Slurm does not start on this machine: {last}")
        yield folder
    finally:
        asked("scancel", "--me")
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(20)
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before


def asked(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.cli", *words], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def story(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Six runs: two of a port that is taken fail, one is requeued in its second load point, one is
    cancelled, two have their way."""
    root = tmp_path_factory.mktemp("swept")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = f"engine.port={free_port()},{taken.getsockname()[1]},{free_port()}"
        words = ["submit", "slurm", "-m", *WORDS, "quant=none,int8", ports]
        words += [f"cluster.command=[{sys.executable},-m,bench.cli]", "cluster.at_once=1"]
        words += [f"results_dir={root}"]
        dry = bench(*words, "--dry-run")
        kept = list(root.iterdir())
        done = bench(*words)
        assert done.returncode == 0, done.stderr
        again = bench(*words)
        sweep = find(None, str(root))
        cancelled = bench("jobs", f"results_dir={root}", "--cancel", f"{sweep.job}_5")
        wrong = bench("jobs", f"results_dir={root}", "--cancel", f"{sweep.job}")
        preempt(sweep, 3)
        shown = bench("jobs", f"results_dir={root}", "--wait", "--json")
    return {
        **{"root": root, "dry": dry, "kept": kept, "again": again, "sweep": sweep},
        **{"cancelled": cancelled, "wrong": wrong, "shown": shown},
    }


def preempt(sweep: Sweep, number: int) -> None:
    """Requeue one element once its first load point is stored, and let it begin at once again."""
    folder = sweep.folder(sweep.elements[number])
    until(lambda: list(folder.glob("points/000-*/point.json")), "the first load point")
    name = f"{sweep.job}_{number}"
    asked("scontrol", "requeue", name)
    assert sweep.job is not None
    job = sweep.job
    until(lambda: (h := slurm.queue(job).get(number)) and not h.runs, f"{name} waits again")
    asked("scontrol", "update", f"JobId={name}", "StartTime=now")


def test_a_dry_run_prints_one_array_and_keeps_nothing(story: dict[str, Any]) -> None:
    lines = story["dry"].stdout.splitlines()
    assert "#SBATCH --array=0-5%1" in lines
    assert "#SBATCH --requeue" in lines
    assert "#SBATCH --signal=B:USR1@120" in lines
    assert sum("--run-id tiny/int8-x0-" in line for line in lines) == 3
    assert not any("--gres" in line for line in lines)
    assert story["kept"] == []


def test_the_same_sweep_does_not_run_twice_at_once(story: dict[str, Any]) -> None:
    assert story["again"].returncode == 2
    assert f"at work already, as {story['sweep'].name}" in story["again"].stderr


def test_only_exact_ids_are_cancelled(story: dict[str, Any]) -> None:
    assert story["cancelled"].returncode == 0, story["cancelled"].stderr
    assert story["wrong"].returncode == 2
    assert f"{story['sweep'].job}_0" in story["wrong"].stderr


def test_each_end_is_told_and_the_sweep_failed(story: dict[str, Any]) -> None:
    assert story["shown"].returncode == 1, story["shown"].stderr
    documents = json.loads(story["shown"].stdout)
    assert [d.get("status") for d in documents] == [
        *("complete", None, "complete"),
        *("complete", None, None),
    ]
    assert all("cannot be used" in documents[n]["error"] for n in (1, 4))
    assert documents[5]["error"] == "cancelled"
    assert "3 of 6 runs of the sweep failed" in story["shown"].stderr


def test_the_preempted_one_went_on(story: dict[str, Any]) -> None:
    sweep = story["sweep"]
    run = load_run(sweep.folder(sweep.elements[3]))
    assert [launch.ended_by for launch in run.earlier] == ["SIGTERM"]
    # A repeat that was disturbed is measured again (`points.grid`), and then by the second launch.
    launches = {(d.point.label, d.point.repeat): d.launch for d in run.points}
    assert {key: launches[key] for key in (("c1", 0), ("c2", 0))} == {("c1", 0): 0, ("c2", 0): 1}
    assert all(launch == 1 for (_, repeat), launch in launches.items() if repeat)
    assert run.status == "complete"


def test_the_end_compares_what_is_complete(story: dict[str, Any]) -> None:
    shown = bench("jobs", f"results_dir={story['root']}")
    assert shown.returncode == 1
    assert "3 done, 2 failed, 1 cancelled" in shown.stdout
    assert "int8" in shown.stdout.partition("cancelled\n")[2] or "no comparison" in shown.stderr


def test_a_resume_does_only_what_is_missing(story: dict[str, Any]) -> None:
    """The three that are complete are not measured again; the port is free by now."""
    sweep = story["sweep"]
    stamps = {
        n: (sweep.folder(sweep.elements[n]) / "run.json").stat().st_mtime_ns for n in (0, 2, 3)
    }
    port = sorted({w for e in sweep.elements for w in e.words if w.startswith("engine.port")})
    ports = "engine.port=" + ",".join(
        dict.fromkeys(w.partition("=")[2] for e in sweep.elements for w in e.words if w in port)
    )
    words = ["-m", *WORDS, "quant=none,int8", ports, f"results_dir={story['root']}"]
    done = bench(*words, "--resume", "--json")
    documents = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert [d["run_id"] for d in documents] == [e.run for e in sweep.elements]
    assert all(d["status"] == "complete" for d in documents)
    for n, stamp in stamps.items():
        run = sweep.folder(sweep.elements[n]) / "run.json"
        assert run.stat().st_mtime_ns == stamp
    assert done.stderr.count("complete already") == 3
