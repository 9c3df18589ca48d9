"""One engine over two hosts that are namespaces of this machine: what a cluster would do, in small.

    python scripts/nodes_rehearsal.py truth            # meters, clocks and load on both (seconds)
    python scripts/nodes_rehearsal.py slurm            # the same as a job of a two-node Slurm
    python scripts/nodes_rehearsal.py vllm KEY=VALUE…  # vLLM's CPU build over both (minutes)

Needs root, iproute2 and util-linux; `slurm` needs slurm-wlm, `vllm` a vLLM for CPUs. The second
host's CLOCK_MONOTONIC is a day ahead (a time namespace), which is what the measured offset is held
against. What follows the mode goes to bench as it is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from asked_help import answer_help

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]

from two_hosts import AHEAD_S, HEAD, OTHER, TwoHosts, two_hosts, why_not  # noqa: E402

from bench.derive import derive  # noqa: E402
from bench.store import load_run  # noqa: E402

TRUTH = (
    *("engine=truth", "gpus=2", "meter=synthetic", "meter.watts=300", "meter.idle_s=1"),
    *("load.concurrency=[1,16,64]", "load.repeats=3", "load.duration_s=2", "load.calibrate=false"),
    *("workload.input_tokens=64", "workload.output_tokens=64"),
    *("engine.ttft_ms=50", "engine.itl_ms=10", "nodes.load=true"),
)
VLLM = (
    *("engine=vllm", "model=tiny", "gpus=0", "meter=none", "load.concurrency=[1,4]"),
    *("load.repeats=2", "load.duration_s=4", "load.calibrate=false", "engine.start_timeout_s=400"),
    *("workload.input_tokens=16", "workload.output_tokens=16"),
)


def last_of_each(words: Sequence[str]) -> list[str]:
    """The words, of those with one key the last."""
    return list({w.partition("=")[0]: w for w in words}.values())


def bench(hosts: TwoHosts, words: Sequence[str]) -> int:
    """bench on the first host, in the foreground."""
    words = last_of_each(words)
    command = (*hosts.head, sys.executable, "-m", "bench.cli", *words)
    return subprocess.run(command, check=False).returncode


def told(root: Path) -> None:
    """What the run knew of both hosts, held against what is known."""
    run = load_run(sorted(root.glob("*/*/run.json"))[-1].parent)
    for node in run.provenance.get("nodes", ()):
        print(
            f"joined: {node['host']} ({node['name']}, vLLM {node['vllm']}, bench {node['bench']})"
        )
    for file in Path(run.path).glob("telemetry/node-*/clock.jsonl"):
        offsets = [json.loads(line) for line in file.read_text().splitlines()]
        off = [o["offset_ns"] - AHEAD_S * 10**9 for o in offsets]
        errors = [o["error_ns"] for o in offsets]
        print(
            f"clock, asked {len(offsets)} times: off by at most {max(map(abs, off)) / 1e3:.1f} µs, "
            f"stated ± {min(errors) / 1e3:.1f} to {max(errors) / 1e3:.1f} µs, "
            f"{sum(abs(a) <= e for a, e in zip(off, errors, strict=True))} within"
        )
    for point in derive(run).points:
        data = [d for d in run.points if d.point.index == point.point.index]
        m = point.metrics
        shares = {w.node or "head": 0 for d in data for w in d.workers}
        for d in data:
            for number, w in enumerate(d.workers):
                shares[w.node or "head"] += int((d.requests["worker"] == number).sum())
        print(
            f"{point.point.label}: {m['output_tokens_per_s'].value} tokens/s, TTFT p50 "
            f"{m['ttft_p50_ms'].value} ms, ITL p50 {m['itl_p50_ms'].value} ms, power "
            f"{m['power_mean_w'].value} W, requests by client {shares}"
        )


def slurm_conf(folder: Path) -> str:
    """Two nodes, `one` and `two`, each a namespace; no accounts, no munge."""
    return f"""
ClusterName=bench
SlurmctldHost=one({HEAD})
SlurmUser=root
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/%n.log
SchedulerParameters=sched_interval=2,bf_interval=2
MailProg=/bin/true
ReturnToService=2
NodeName=one NodeAddr={HEAD} CPUs={os.cpu_count()} State=UNKNOWN
NodeName=two NodeAddr={OTHER} CPUs={os.cpu_count()} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def slurm(hosts: TwoHosts, folder: Path) -> Iterator[dict[str, str]]:
    """A Slurm of both hosts; the environment in which its commands find it."""
    for name in ("state", "spool-one", "spool-two"):
        (folder / name).mkdir()
    conf = folder / "slurm.conf"
    conf.write_text(slurm_conf(folder))
    env = {**os.environ, "SLURM_CONF": str(conf)}
    daemons = []
    for words, host, name in (
        (hosts.head, "one", "slurmctld"),
        (hosts.head, "one", "slurmd"),
        (hosts.other, "two", "slurmd"),
    ):
        start = f"hostname {host} && exec {name} -D -f {conf}"
        with (folder / f"{name}-{host}.out").open("w") as out:
            daemons.append(
                subprocess.Popen(
                    (*words, "unshare", "--uts", "sh", "-c", start),
                    stdout=out,
                    stderr=out,
                    env=env,
                    start_new_session=True,
                )
            )
    try:
        for _ in range(100):
            asked = (*hosts.head, "sinfo", "-h", "-o", "%D %T")
            if "2 idle" in subprocess.run(asked, capture_output=True, text=True, env=env).stdout:
                break
            time.sleep(0.2)
        else:
            said = "\n".join(
                (folder / f"{n}.out").read_text()[-500:]
                for n in ("slurmctld-one", "slurmd-one", "slurmd-two")
            )
            sys.exit(f"Slurm did not start:\n{said}")
        yield env
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(20)


def through_slurm(hosts: TwoHosts, root: Path, more: Sequence[str]) -> int:
    """bench submit, then bench jobs --wait, where Slurm's commands are."""
    own = ("seed=1,2", "cluster.nodes=2", "nodes=slurm")
    words = ["submit", "slurm", "-m", *last_of_each((*TRUTH, *own, *more))]
    words += [f"cluster.command=[{sys.executable},-m,bench.cli]", f"nodes.address={HEAD}"]
    words += ["cluster.gres=null", f"results_dir={root}"]
    with tempfile.TemporaryDirectory() as folder, slurm(hosts, Path(folder)) as env:
        for command in (words, ["jobs", "--wait", f"results_dir={root}"]):
            done = subprocess.run(
                (*hosts.head, sys.executable, "-m", "bench.cli", *command), env=env, check=False
            )
            if done.returncode:
                return done.returncode
    return 0


def main() -> int:
    """Rehearse one mode."""
    if (why := why_not()) is not None:
        sys.exit(why)
    mode, *more = sys.argv[1:] or ("truth",)
    if mode == "slurm" and shutil.which("slurmctld") is None:
        sys.exit("slurm-wlm is not installed here")
    root = Path(tempfile.mkdtemp(prefix="two-hosts-"))
    where = f"results_dir={root}"
    with two_hosts() as hosts:
        if mode == "slurm":
            code = through_slurm(hosts, root, more)
        else:
            own = TRUTH if mode == "truth" else VLLM
            code = bench(hosts, (*own, *hosts.words, where, *more))
    if list(root.glob("*/*/run.json")):
        told(root)
    print(f"kept in {root}")
    return code


if __name__ == "__main__":
    answer_help(__doc__)
    sys.exit(main())
