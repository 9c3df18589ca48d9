"""What the model wrote can neither write, nor see, nor stop what is not its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.evaluators.sandbox import _outermost, check_sandbox, sandboxed
from bench.values.errors import InputError

TRIES = """
import os, sys
from pathlib import Path
def tried(what):
    try:
        what()
    except Exception as error:
        return type(error).__name__
    return "done"
secret, outside, own = map(Path, sys.argv[1:4])
print(tried(lambda: secret.read_text()))
print(tried(lambda: (outside / "x").write_text("x")))
print(tried(lambda: Path(sys.prefix, "x").write_text("x")))
print(tried(lambda: os.kill(int(sys.argv[4]), 0)))
print(tried(lambda: (own / "result").write_text("x")))
print(os.environ.get("HF_TOKEN"), os.environ.get("OPENAI_API_KEY"))
import bench, numpy
"""


def test_without_bubblewrap_it_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="apt install bubblewrap"):
        check_sandbox()


def test_a_link_is_followed_and_no_folder_hides_another(tmp_path: Path) -> None:
    """A checkout whose .venv is a link: the checkout, mounted last, hid what was mounted in it."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "checkout").mkdir()
    link = tmp_path / "checkout" / "venv"
    link.symlink_to(tmp_path / "elsewhere")
    assert _outermost([str(link), str(tmp_path / "checkout")]) == [
        str(tmp_path / "checkout"),
        str(tmp_path / "elsewhere"),
    ]


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_generated_code_in_the_sandbox(tmp_path: Path) -> None:
    secret = tmp_path / "home" / "secret"
    secret.parent.mkdir()
    secret.write_text("x")
    own = tmp_path / "own"
    env = {**os.environ, "HF_TOKEN": "plain-words", "OPENAI_API_KEY": "plain-words-2"}
    words = [sys.executable, "-c", TRIES, str(secret), str(secret.parent), str(own)]
    command = sandboxed([*words, str(os.getpid())], own, [], env)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:6] == [
        *("FileNotFoundError", "FileNotFoundError", "OSError", "ProcessLookupError", "done"),
        "None plain-words-2",
    ]
    assert (own / "result").read_text() == "x"
