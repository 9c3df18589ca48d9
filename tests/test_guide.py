"""The guide does what it says: its blocks run, its links lead somewhere, nothing is stale."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import guide_reference as reference  # noqa: E402

GUIDE = ROOT / "docs" / "guide"
PAGES = [ROOT / "docs" / "index.md", *sorted(GUIDE.rglob("*.md"))]
RUN = [p for p in PAGES if "```bash\n" in p.read_text(encoding="utf-8")]


def blocks(page: Path) -> str:
    """What a reader would type, block after block."""
    return "\n".join(re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.S))


@pytest.mark.parametrize("page", RUN, ids=lambda p: p.stem)
def test_the_commands_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    few = "${@/load.requests=24/load.requests=8}"  # as many as are needed to go through all of it
    bench = f'bench() {{ {shlex.quote(sys.executable)} -m bench.cli "{few}"; }}\n'
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", bench + blocks(page)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_enough_of_the_guide_is_run() -> None:
    assert {p.stem for p in RUN} >= {"tutorial", "own-model", "variants", "claim", "cost"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT / "docs")))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_reference_is_what_the_code_says() -> None:
    assert reference.stale() == [], "run python scripts/guide_reference.py"


def test_the_site_lists_every_page() -> None:
    listed = set(re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    assert listed == {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")}
