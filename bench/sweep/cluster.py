"""A sweep as a scheduler takes it: one readable text, each run a plain `bench` command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.sweep.asked import Element, Sweep
from bench.values.errors import InputError
from bench.values.redact import HIDDEN, redacted

SLURM_TIME = r"(\d+-)?\d+(:\d+){0,2}|UNLIMITED|INFINITE"
STOPPED_IN_TIME = 75
"""Exit code of a run that made way after SIGUSR1 (`bench.cli.streams`)."""


@dataclass(frozen=True, kw_only=True)
class ClusterSpec:
    """A site, as conf/cluster/NAME.yaml describes it. None leaves a choice to the scheduler.

    `gres` may hold {gpus}, those of each of a run's `nodes`. `signal_s` is how long before the end
    of its time a run is told to make way. `before` are lines of shell (modules, an environment),
    `command` is how bench is called there, with a container's words before it. `image`,
    `namespace`, `volume_claim`, `mount` and `gpu_resource` are Kubernetes' alone.
    """

    name: str
    command: tuple[str, ...] = ("bench",)
    before: tuple[str, ...] = ()
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gres: str | None = "gpu:{gpus}"
    nodes: int = 1
    time: str | None = None
    cpus: int | None = None
    memory: str | None = None
    at_once: int | None = None
    signal_s: int = 120
    sbatch: tuple[str, ...] = ()
    image: str | None = None
    namespace: str | None = None
    volume_claim: str | None = None
    mount: str = "/results"
    gpu_resource: str = "nvidia.com/gpu"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is submitted: the sweep, the words of each run as typed, and what every run needs."""

    sweep: Sweep
    combinations: tuple[tuple[str, ...], ...]
    gpus: int
    folder: str
    """Where the commands run: relative paths among the words begin there."""
    flags: tuple[str, ...] = ()

    def argv(
        self, cluster: ClusterSpec, element: Element, words: Sequence[str], results_dir: str
    ) -> tuple[str, ...]:
        """The command of one run."""
        mine = [w for w in words if not w.startswith("results_dir=")]
        run = ("--run-id", element.run)
        return (*cluster.command, "run", *mine, f"results_dir={results_dir}", *run, *self.flags)

    def commands(self, cluster: ClusterSpec, results_dir: str) -> list[tuple[str, ...]]:
        """The commands of all runs, in order."""
        pairs = zip(self.sweep.elements, self.combinations, strict=True)
        return [self.argv(cluster, e, words, results_dir) for e, words in pairs]


def check_words(combinations: Sequence[Sequence[str]]) -> None:
    """InputError for what cannot stand in a script: keys, and Hydra's own settings."""
    for words in combinations:
        if HIDDEN in " ".join(map(str, redacted(list(words)))):
            raise InputError(
                "a key stands among the words, and would stand in the script: put it into the "
                "environment of the job and name that with engine.api_key_env."
            )
        own = [w for w in words if w.startswith("hydra")]
        if own:
            raise InputError(f"{own[0]!r}: bench submit makes the jobs itself, without Hydra.")


def _check_site(cluster: ClusterSpec) -> None:
    """InputError for a time or a memory that sbatch would refuse."""
    if cluster.time is not None and not re.fullmatch(SLURM_TIME, cluster.time):
        raise InputError(
            f"cluster.time: {cluster.time!r} is no time of Slurm's: write 04:00:00 (hours, "
            "minutes, seconds), 1-12 (days, hours) or a number of minutes."
        )
    if cluster.memory is not None and not re.fullmatch(r"\d+[KMGT]?", cluster.memory):
        raise InputError(
            f"cluster.memory: {cluster.memory!r} is no memory of Slurm's: write 64G, or 0 for all."
        )


def slurm_script(job: Job, cluster: ClusterSpec) -> str:
    """A job array for sbatch. An element that is preempted or near its end makes way and waits."""
    sweep, count = job.sweep, len(job.sweep.elements)
    _check_site(cluster)
    most = "" if cluster.at_once is None else f"%{cluster.at_once}"
    if cluster.nodes < 1 or job.gpus % cluster.nodes:
        raise InputError(f"cluster.nodes={cluster.nodes}: gpus={job.gpus} do not divide over them.")
    each = job.gpus // cluster.nodes
    gres = cluster.gres.format(gpus=each) if cluster.gres and job.gpus else None
    options = {
        "job-name": f"bench-{sweep.name}",
        "array": f"0-{count - 1}{most}",
        "output": f"{sweep.path}/%a.log",
        "open-mode": "append",
        "nodes": cluster.nodes,
        "ntasks-per-node": 1,
        "signal": f"B:USR1@{cluster.signal_s}",
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "gres": gres,
        "time": cluster.time,
        "cpus-per-task": cluster.cpus,
        "mem": cluster.memory,
    }
    lines = ["#!/bin/bash", f"# {count} runs of bench; one that was stopped goes on by its run id."]
    lines += [f"#SBATCH --{key}={value}" for key, value in options.items() if value is not None]
    lines += ["#SBATCH --requeue", *(f"#SBATCH {words}" for words in cluster.sbatch), ""]
    lines += [f"cd {shlex.quote(job.folder)} || exit 1", *cluster.before]
    lines += ["case $SLURM_ARRAY_TASK_ID in"]
    for number, argv in enumerate(job.commands(cluster, sweep.results_dir)):
        lines.append(f"{number}) set -- {shlex.join(argv)} ;;")
    lines += ["esac", '"$@" &', "run=$!"]
    lines += ["trap 'kill -USR1 $run' USR1  # its time is nearly up"]
    lines += ["trap 'kill -TERM $run' TERM  # preempted, requeued or cancelled"]
    lines += ["while kill -0 $run 2>/dev/null; do wait $run; done", "wait $run", "code=$?"]
    lines += [f"[ $code = {STOPPED_IN_TIME} ] && scontrol requeue $SLURM_JOB_ID", "exit $code"]
    return "\n".join(lines) + "\n"


def kubernetes_job(job: Job, cluster: ClusterSpec) -> dict[str, Any]:
    """An Indexed Job (Kubernetes 1.29 on): an index per run.

    Exit codes 1 and 2 end an index; a pod that is evicted, or ends with 75, is made anew and goes
    on. A new pod begins only after the old one has ended (podReplacementPolicy).
    """
    for key in ("image", "volume_claim"):
        if getattr(cluster, key) is None:
            raise InputError(f"cluster.{key}: Kubernetes needs it; give it or a cluster=NAME.")
    sweep, count = job.sweep, len(job.sweep.elements)
    commands = job.commands(cluster, cluster.mount)
    cases = "\n".join(f"{n}) exec {shlex.join(argv)} ;;" for n, argv in enumerate(commands))
    script = "\n".join((*cluster.before, f"case $JOB_COMPLETION_INDEX in\n{cases}\nesac"))
    limits: dict[str, Any] = {cluster.gpu_resource: job.gpus} if job.gpus else {}
    limits |= {"cpu": cluster.cpus} if cluster.cpus else {}
    limits |= {"memory": cluster.memory} if cluster.memory else {}
    name = f"bench-{sweep.name}"
    container = {
        "name": "bench",
        "image": cluster.image,
        "command": ["/bin/sh", "-c", script],
        "env": [{"name": "BENCH_TURN", "value": name}],
        "resources": {"limits": limits},
        "volumeMounts": [
            {"name": "results", "mountPath": cluster.mount},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
    codes = {"containerName": "bench", "operator": "In"}
    metadata: dict[str, Any] = {"name": name}
    if cluster.namespace is not None:
        metadata["namespace"] = cluster.namespace
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "completionMode": "Indexed",
            "completions": count,
            "parallelism": min(count, cluster.at_once or count),
            "backoffLimitPerIndex": 3,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
                    {"action": "Ignore", "onExitCodes": {**codes, "values": [STOPPED_IN_TIME]}},
                    {"action": "FailIndex", "onExitCodes": {**codes, "values": [1, 2]}},
                ]
            },
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": max(30, cluster.signal_s),
                    "containers": [container],
                    "volumes": [
                        {
                            "name": "results",
                            "persistentVolumeClaim": {"claimName": cluster.volume_claim},
                        },
                        {"name": "shm", "emptyDir": {"medium": "Memory"}},
                    ],
                }
            },
        },
    }


def ray_commands(job: Job, cluster: ClusterSpec) -> list[str]:
    """`ray job submit` lines, one per run; RAY_ADDRESS says where."""
    lines = []
    commands = job.commands(cluster, job.sweep.results_dir)
    for number, argv in enumerate(commands):
        words = ["ray", "job", "submit", "--no-wait"]
        words += ["--submission-id", f"bench-{job.sweep.name}-{number}"]
        words += ["--entrypoint-num-gpus", str(job.gpus)]
        lines.append(shlex.join([*words, "--", *argv]))
    return lines
