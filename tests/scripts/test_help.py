"""Every script answers --help with what it is for, at once, and does nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[2] / "scripts").glob("*.py"))
WITHOUT = "torch transformers vllm lm_eval safetensors pynvml playwright hypothesis pytest datasets"
"""Packages that a machine may lack on which somebody asks what a script is for."""
LIMIT_S = 60
"""A second or two on a quiet machine: the limit tells a run from an answer."""

ABSENT = f"""
import runpy, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {WITHOUT.split()!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
script = sys.argv[1]
sys.path.insert(0, script.rpartition("/")[0])
sys.argv = [script, "--help"]
runpy.run_path(script, run_name="__main__")
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=[s.stem for s in SCRIPTS])
def test_help_is_answered_and_nothing_done(script: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ABSENT, str(script)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(script.parents[1]), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    text = script.read_text(encoding="utf-8")
    first = text[text.index('"""') + 3 :].partition("\n")[0].rstrip('"')
    assert first[:40] in " ".join(done.stdout.split()), "its docstring"
    assert not list(tmp_path.iterdir()), "help leaves nothing behind"
