"""What was installed beside this Python is found though its environment was not activated."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.values.interpreter import installed


def _program(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_a_program_beside_this_python_is_found_after_those_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = _program(tmp_path / "venv", "transformers")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "usr"))
    assert installed("transformers") == str(beside)
    on_path = _program(tmp_path / "usr", "transformers")
    assert installed("transformers") == str(on_path)
    assert installed("llama-server") is None
    assert installed(str(beside)) == str(beside)  # a file is not looked up
