"""Slurm's commands: what the queue holds, and a job array made of a sweep."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from bench.values.errors import BenchError, InputError

_RUNNING = ("RUNNING", "COMPLETING", "STOPPED", "SUSPENDED", "SIGNALING", "STAGE_OUT")
_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Held:
    """One element that the queue holds: its exact id, whether it runs, else why it waits."""

    id: str
    runs: bool
    why: str


def queue(job: str) -> dict[int, Held]:
    """What the queue holds of a job array, by element; {} when all of it has ended.

    BenchError when Slurm does not answer: nothing is known then, which is not the same as nothing.
    """
    words = ("squeue", "--noheader", "--array", f"--jobs={job}", "--format=%i|%T|%r")
    done = _asked(words)
    if done.returncode != 0:
        if "Invalid job id" in done.stderr:  # it has ended, some minutes ago
            return {}
        raise BenchError(f"squeue does not answer: {_line(done.stderr)}")
    found = {}
    for line in done.stdout.splitlines():
        name, state, why = line.split("|", 2)
        if "_" in name and name.rpartition("_")[2].isdigit():
            runs = state in _RUNNING
            found[int(name.rpartition("_")[2])] = Held(id=name, runs=runs, why=why)
    return found


def submit(script: str) -> str:
    """Hand a script to sbatch; the job's id."""
    done = _asked(("sbatch", "--parsable", script))
    if done.returncode != 0:
        raise BenchError(f"sbatch: {_line(done.stderr)} The script is {script}.")
    return done.stdout.strip().partition(";")[0]


def cancel(ids: Sequence[str]) -> None:
    """End just these elements, by their exact ids."""
    done = _asked(("scancel", *ids))
    if done.returncode != 0:
        raise BenchError(f"scancel: {_line(done.stderr)}")


def _asked(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    if shutil.which(words[0]) is None:
        raise InputError(
            f"{words[0]} is not on this machine: do this where Slurm's commands are, or "
            "bench submit slurm … --dry-run prints the script."
        )
    try:
        return subprocess.run(
            words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{words[0]} did not answer within {_TIMEOUT_S:g} s.") from error


def _line(text: str) -> str:
    # Slurm begins each line with the command's name, which stands before it here already.
    lines = (re.sub(r"^\w+: error: ", "", line.strip()) for line in text.splitlines())
    said = "; ".join(line for line in lines if line)[:300]
    return f"{said.rstrip('.')}." if said else "it gave no reason."
