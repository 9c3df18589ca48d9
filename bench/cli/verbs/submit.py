"""`bench submit`: hand a sweep to Slurm as one job array, or print it for Kubernetes or Ray."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.composed import run_asked
from bench.cli.sweeps import asked_sweep
from bench.cli.verb import Flag, Verb
from bench.config.compose import check_sweep, compose, options
from bench.values.count_words import count
from bench.values.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.sweep.cluster import ClusterSpec, Job
    from bench.values.spec import RunSpec

SCHEDULERS = ("slurm", "k8s", "ray")

VERB = Verb(
    usage=(
        "bench submit slurm -m KEY=A,B ... [cluster=NAME] [--dry-run]",
        "bench submit k8s -m ... > job.yaml        an Indexed Job for kubectl apply -f",
        "bench submit ray -m ... | sh              a line of ray job submit per run",
    ),
    more="Each run is a plain bench command with its --run-id: one that is preempted, requeued or\n"
    "near the end of its time goes on where it stopped. bench jobs shows what became of them.\n"
    "conf/cluster/NAME.yaml describes a site; any key of it may be typed: cluster.partition=gpu.",
    keys=(
        *keys.WHAT_IS_SERVED,
        ("cluster=NAME", "the site: partition, account, gres, time, modules, container, image"),
        ("cluster.nodes=N nodes=slurm", "several nodes for each run; gpus are those of all"),
        keys.RESULTS_DIR,
    ),
    flags=(
        Flag(name="--dry-run", what="print what would be submitted; nothing is kept"),
        Flag(name="--resume", what="of the same sweep begun before, do what is missing"),
        Flag(name="--strict", what="runs that are NOT VALID exit 5"),
    ),
    words="any",
    sweeps=True,
)


def call(arguments: Arguments) -> int:
    """Write the sweep down and submit it, or print it."""
    import yaml

    from bench.sweep import slurm
    from bench.sweep.asked import keep
    from bench.sweep.cluster import kubernetes_job, ray_commands, slurm_script

    scheduler = _scheduler(arguments)
    job, cluster, known = _job(arguments)
    if scheduler == "k8s":
        text = yaml.safe_dump(kubernetes_job(job, cluster), sort_keys=False, width=1000)
    elif scheduler == "ray":
        text = "\n".join(ray_commands(job, cluster)) + "\n"
    else:
        text = slurm_script(job, cluster)
    if not known:
        print(f"bench: {_UNKNOWN}", file=sys.stderr)
    if "--dry-run" in arguments.flags:
        print(text, end="")
        return 0
    sweep = keep(replace(job.sweep, scheduler=scheduler, writer={}))
    if scheduler != "slurm":
        print(text, end="")
        return 0
    script = Path(sweep.path) / "job.sh"
    script.touch(mode=0o700)
    script.write_text(text)
    sweep = keep(replace(sweep, job=slurm.submit(str(script))))
    print(
        f"bench: {count(len(sweep.elements), 'run', 'wait')} as Slurm job {sweep.job}.",
        file=sys.stderr,
    )
    print(
        f"bench: how they fare: bench jobs {sweep.name} results_dir={sweep.results_dir}",
        file=sys.stderr,
    )
    return 0


def _scheduler(arguments: Arguments) -> str:
    if len(arguments.words) != 1 or arguments.words[0] not in SCHEDULERS:
        word = " ".join(arguments.words)
        raise InputError(
            f"{f'bench submit {word}'.strip()}: to which scheduler?{nearest(word, SCHEDULERS)}"
        )
    return arguments.words[0]


_UNKNOWN = (
    "gpu=auto: which GPUs the jobs get is not known here, so nothing was checked to fit them; "
    "gpu=NAME checks it first."
)


def _job(arguments: Arguments) -> tuple[Job, ClusterSpec, bool]:
    """The sweep's runs, the site that they are for, and whether it is known on which GPUs."""
    from bench.sweep.asked import ask
    from bench.sweep.cluster import ClusterSpec, Job, check_words
    from bench.values.codec import decode

    site = [o for o in arguments.overrides if o.startswith(("cluster=", "cluster."))]
    words = [o for o in arguments.overrides if o not in site]
    for name in (o.partition("=")[2] for o in site if o.startswith("cluster=")):
        known = options("cluster", arguments.config_dirs)
        if name not in known:
            raise InputError(f"cluster={name}: there is no such cluster.{nearest(name, known)}")
    composed = check_sweep(words, arguments.config_dirs)
    combinations = [c for c, _ in composed]
    check_words(combinations)
    cluster = decode(
        ClusterSpec, compose(site, arguments.config_dirs, "submit")["cluster"], "cluster"
    )
    if not any(o.startswith("gpus=") for o in words) and not _without_gpus(words):
        raise InputError("gpus: say how many; this machine's are not those of the jobs.")
    if cluster.nodes > 1 and not any(o.startswith("nodes=") for o in words):
        raise InputError(f"cluster.nodes={cluster.nodes}: say nodes=slurm, so that runs use them.")
    specs = [run_asked(data, arguments) for _, data in composed]
    counts = sorted({spec.gpus for spec in specs})
    if len(counts) > 1:
        several = ", ".join(map(str, counts))
        raise InputError(f"gpus={several}: the runs of one array ask for the same; submit each.")
    _look_before(combinations, specs, arguments)
    where = specs[0].results_dir
    if "--dry-run" in arguments.flags:
        sweep = ask(specs, combinations, where)
    else:
        sweep = asked_sweep(specs, combinations, where, resume="--resume" in arguments.flags)
    flags = [f"--config-dir={d}" for d in arguments.config_dirs]
    flags += ["--strict"] if "--strict" in arguments.flags else []
    job = Job(
        sweep=sweep,
        combinations=tuple(combinations),
        gpus=counts[0],
        folder=os.getcwd(),  # noqa: PTH109 -- as the shell will see it
        flags=tuple(flags),
    )
    left_open = (s.gpu.kind == "auto" and s.gpus and s.engine.kind == "vllm" for s in specs)
    return job, cluster, not any(left_open)


def _look_before(
    combinations: Sequence[Sequence[str]], specs: Sequence[RunSpec], arguments: Arguments
) -> None:
    """InputError, a line for each, where runs cannot work on the GPUs that they name: nothing is
    queued that ends before it begins. Which GPUs `gpu=auto` will be is not known here."""
    from bench.config.compose import catalogue
    from bench.preflight import refusal

    known = catalogue(arguments.config_dirs)
    refused = {
        " ".join(words): why
        for words, spec in zip(combinations, specs, strict=True)
        if (why := refusal(spec, known)) is not None
    }
    if not refused:
        return
    # What force does not send (a pair without weights) is not promised to be.
    forced = all(why.forced for why in refused.values())
    if len(specs) == 1:
        force = "; fit.force=true sends it all the same" if forced else ""
        raise InputError("".join(f"{w}: {why.text}{force}." for w, why in refused.items()))
    for words, why in refused.items():
        print(f"bench: will not run: {words}: {why.text}", file=sys.stderr)
    where = " on the GPUs they name" if forced else ""
    force = "; fit.force=true sends them all the same" if forced else ""
    raise InputError(
        f"{len(refused)} of {count(len(specs), 'run')} cannot work{where}: take them out{force}."
    )


def _without_gpus(words: list[str]) -> bool:
    """Whether what serves needs no GPU of the job's."""
    return any(w.startswith("engine=") and "vllm" not in w for w in words)
