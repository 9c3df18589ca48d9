"""What is submitted where no scheduler is: the texts themselves, and what is refused."""

from __future__ import annotations

import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import preflight
from bench.cli.main import main
from bench.config.compose import catalogue, compose, run_spec
from bench.sweep import slurm
from bench.values.errors import BenchError

WORDS = ("-m", "model=llama-3.1-8b", "quant=none,fp8", "gpus=2")


Bench = Callable[..., "Said"]


@dataclass(frozen=True)
class Said:
    """What a command printed and its exit code, run in this process."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Iterator[Bench]:
    def call(*words: str) -> Said:
        with pytest.raises(SystemExit) as left:
            main(words)
        out, err = capsys.readouterr()
        return Said(int(left.value.code or 0), out, err)

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    usual = {number: signal.getsignal(number) for number in numbers}
    yield call
    for number, handler in usual.items():
        signal.signal(number, handler)


def test_the_array_has_the_lines_of_the_site(tmp_path: Path, bench: Bench) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "ours.yaml").write_text(
        "name: ours\npartition: gpu\naccount: p1\ntime: '02:00:00'\ngres: 'gpu:h100:{gpus}'\n"
        "before: [module load cuda]\ncommand: [srun, --container-image=/i.sqsh, bench]\n"
    )
    site = ("--config-dir", str(tmp_path), "cluster=ours", "cluster.sbatch=[--exclusive]")
    done = bench("submit", "slurm", *WORDS, *site, f"results_dir={tmp_path}/r", "--dry-run")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for line in ("partition=gpu", "account=p1", "time=02:00:00", "gres=gpu:h100:2", "exclusive"):
        assert f"#SBATCH --{line}" in lines
    assert "module load cuda" in lines
    commands = [
        shlex.split(line.partition("set -- ")[2].removesuffix(" ;;"))
        for line in lines
        if "set --" in line
    ]
    assert [c[:4] for c in commands] == [["srun", "--container-image=/i.sqsh", "bench", "run"]] * 2
    assert [[w for w in c if w.startswith("quant=")] for c in commands] == [
        ["quant=none"],
        ["quant=fp8"],
    ]
    assert all(f"results_dir={tmp_path}/r" in c for c in commands)
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0
    assert not (tmp_path / "r").exists()


def test_a_kubernetes_job_has_an_index_per_run(bench: Bench) -> None:
    site = ("cluster.image=registry/bench:1", "cluster.volume_claim=results")
    done = bench("submit", "k8s", *WORDS, *site, "--dry-run")
    assert done.returncode == 0, done.stderr
    job: dict[str, Any] = yaml.safe_load(done.stdout)
    assert (job["kind"], job["spec"]["completions"]) == ("Job", 2)
    assert job["spec"]["completionMode"] == "Indexed"
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    script = container["command"][2]
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0
    assert "results_dir=/results" in script
    ends = {
        rule["action"]: rule["onExitCodes"]["values"]
        for rule in job["spec"]["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
    }
    assert ends == {"Ignore": [75], "FailIndex": [1, 2]}


def test_ray_gets_a_line_per_run(bench: Bench) -> None:
    done = bench("submit", "ray", *WORDS, "--dry-run")
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    assert [line[:3] for line in lines] == [["ray", "job", "submit"]] * 2
    assert all(line[line.index("--entrypoint-num-gpus") + 1] == "2" for line in lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("slrum", *WORDS), "Did you mean 'slurm'?"),
        (("slurm", *WORDS, "cluster=defualt"), "Did you mean 'default'?"),
        (("slurm", "-m", "seed=1,2"), "gpus: say how many"),
        (("slurm", "-m", "gpus=1,2"), "the runs of one array ask for the same"),
        (("slurm", *WORDS, "engine.args=[--api-key,abcdefgh123]"), "a key stands among the words"),
        (("slurm", *WORDS, "hydra.job.chdir=true"), "would have no effect"),
        (("slurm", *WORDS, "cluster.gress=x"), "gres"),
        (("slurm", *WORDS, "cluster.nodes=2"), "say nodes=slurm"),
        (("slurm", *WORDS, "cluster.nodes=3", "nodes=slurm"), "do not divide"),
        (("k8s", *WORDS), "cluster.image"),
    ],
)
def test_what_is_refused_is_said_in_a_line(words: tuple[str, ...], said: str, bench: Bench) -> None:
    done = bench("submit", *words, "--dry-run")
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


R1 = ("-m", "gpu=a100-80gb-sxm", "gpus=2")


@pytest.mark.parametrize("scheduler", ["slurm", "k8s", "ray"])
def test_what_does_not_fit_the_gpus_it_names_is_not_queued(
    scheduler: str, tmp_path: Path, bench: Bench
) -> None:
    """671 B weights of a byte each are 625 GiB, two A100 have 160 GB: half of it is too much for
    each. Nothing is written down, and nothing reaches a scheduler."""
    site = ("cluster.image=i", "cluster.volume_claim=c", f"results_dir={tmp_path}/r")
    one = bench("submit", scheduler, *R1, "model=deepseek-r1", *site)
    assert (one.returncode, one.stdout) == (2, "")
    assert "model=deepseek-r1" in one.stderr
    assert "does not fit: weights 315.0 GiB" in one.stderr
    assert "what would: deepseek-r1 none on 16×a100-80gb-sxm" in one.stderr
    assert len(one.stderr.strip().splitlines()) == 1
    of_two = bench("submit", scheduler, *R1, "model=llama-3.1-8b,deepseek-r1", *site)
    assert (of_two.returncode, of_two.stdout) == (2, "")
    said = of_two.stderr.strip().splitlines()
    assert said[0].startswith("bench: will not run: ")
    assert "deepseek-r1" in said[0]
    assert said[1:] == [
        "bench: 1 of 2 runs cannot work on the GPUs they name: take them out; fit.force=true sends "
        "them all the same."
    ]
    assert not (tmp_path / "r").exists()
    forced = bench(
        "submit", scheduler, *R1, "model=deepseek-r1", "fit.force=true", *site, "--dry-run"
    )
    assert (forced.returncode, forced.stderr) == (0, "")


def test_a_pair_without_weights_is_not_queued(bench: Bench) -> None:
    done = bench("submit", "ray", *R1, "model=deepseek-r1", "quant=int8", "--dry-run")
    assert done.returncode == 2
    assert "no checkpoint of deepseek-r1 is listed for 'int8'" in done.stderr
    # Whatever GPU it gets: the README's own example queued one that ended before it began.
    done = bench("submit", "slurm", "model=tiny", "quant=int8", "gpus=1", "--dry-run")
    assert (done.returncode, done.stdout) == (2, "")
    assert "make it with bench quantize" in done.stderr


def test_force_is_promised_only_where_it_helps(bench: Bench) -> None:
    """fit.force skips the fit; a pair without weights ends before it begins, forced or not."""
    pair = (*R1, "model=deepseek-r1", "quant=int8", "--dry-run")
    for words in ((), ("fit.force=true",), ("seed=1,2",)):
        done = bench("submit", "slurm", *pair, *words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert "no checkpoint of deepseek-r1 is listed for 'int8'" in done.stderr
        assert "all the same" not in done.stderr


def test_the_memory_of_this_host_says_nothing_of_the_job_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run on the processor of another host: what is free on the one that submits it is not its
    memory. Was refused as too large for it."""
    monkeypatch.setattr(preflight, "host_memory_bytes", lambda: 1)
    spec = run_spec(compose(["model=llama-3.1-8b", "gpu=h100-sxm", "gpus=0"]))
    assert preflight.refusal(spec, catalogue()) is None


def test_where_the_gpus_are_not_known_here_that_is_said(bench: Bench) -> None:
    unknown = bench("submit", "ray", "-m", "model=deepseek-r1", "gpus=2", "--dry-run")
    assert unknown.returncode == 0
    assert unknown.stderr.startswith("bench: gpu=auto: which GPUs the jobs get is not known here")
    assert len(unknown.stderr.strip().splitlines()) == 1
    for words in (
        (*R1, "model=llama-3.1-8b"),
        ("-m", "engine=truth", "seed=1,2"),
        ("-m", "model=deepseek-r1", "gpu=h100-sxm", "gpus=16", "cluster.nodes=2", "nodes=slurm"),
    ):
        fine = bench("submit", "slurm", *words, "--dry-run")
        assert (fine.returncode, fine.stderr) == (0, ""), words


def test_jobs_of_nothing_and_of_a_sweep_that_is_not_there(tmp_path: Path, bench: Bench) -> None:
    done = bench("jobs", f"results_dir={tmp_path}")
    assert done.returncode == 2
    assert "there is no sweep" in done.stderr


def test_slurm_s_refusal_names_its_command_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a Slurm 22.05 said to a partition that it does not have."""
    said = (
        "sbatch: error: invalid partition specified: gpu\n"
        "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
    )
    refused = subprocess.CompletedProcess((), 1, stdout="", stderr=said)
    monkeypatch.setattr(slurm, "_asked", lambda words: refused)
    with pytest.raises(BenchError) as caught:
        slurm.submit("job.sh")
    assert str(caught.value) == (
        "sbatch: invalid partition specified: gpu; Batch job submission failed: Invalid partition "
        "name specified. The script is job.sh."
    )
