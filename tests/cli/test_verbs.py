"""The table of verbs, flags on either side of a verb, help, and what the shell completes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.arguments import find_verb, parse
from bench.cli.completion import candidates
from bench.cli.help import of_verb, overview
from bench.cli.verb import names, summary, verb
from bench.cli.verbs.completion import SHELLS
from bench.compare.launches import ENOUGH_LAUNCHES
from bench.config.compose import GROUPS
from bench.values.errors import InputError

VERBS = names()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--json", "fit", "gpus=8"], ("fit", ["--json", "gpus=8"])),
        (["--config-dir", "fit", "fit"], ("fit", ["--config-dir", "fit"])),
        (["--format", "md", "runs"], ("runs", ["--format", "md"])),
        (["seed=1", "fit"], ("fit", ["seed=1"])),
        (["-m", "seed=1,2"], (None, ["-m", "seed=1,2"])),
        (["show", "run"], ("show", ["run"])),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_the_verb_stands_anywhere(words: list[str], found: tuple[str | None, list[str]]) -> None:
    assert find_verb(words, VERBS) == found


def test_a_word_that_is_no_verb() -> None:
    with pytest.raises(InputError, match=r"'fti' is no verb of bench\. Did you mean 'fit'\?"):
        find_verb(["--json", "fti", "show"], VERBS)


def test_flags_and_their_values() -> None:
    asked = parse(
        ["a", "--load=c4", "--margin", "0.9", "--rounds", "k=v"],
        ["--rounds"],
        ["--load", "--margin"],
    )
    assert (asked.words, asked.overrides, asked.flags) == (
        ("a",),
        ("k=v",),
        frozenset({"--rounds"}),
    )
    assert (asked.option("--load"), asked.number("--margin")) == ("c4", 0.9)
    with pytest.raises(InputError, match="--load needs a value"):
        parse(["--load"], (), ["--load"])


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_tells_itself_in_lines_that_fit(name: str) -> None:
    assert summary(name)
    text = of_verb(name)
    assert f"bench {name}" in text.replace("[run]", "run")
    for what in [*(k for k, _ in verb(name).keys), *verb(name).switches, *verb(name).options]:
        assert what in text
    assert max(map(len, text.splitlines())) <= 120
    assert f"  {name} " in overview()


def test_the_help_of_compare_states_how_many_launches_a_verdict_needs() -> None:
    assert ENOUGH_LAUNCHES == 3
    assert "A verdict needs three launches of each variant" in of_verb("compare")


def test_words_and_help_load_nothing_heavy() -> None:
    code = (
        "import sys; from bench.cli.help import of_verb; from bench.cli.verb import names\n"
        "for name in names(): of_verb(name)\n"
        "heavy = {'numpy', 'scipy', 'pandas', 'hydra', 'rich', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_completes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "results" / "tiny" / "none-x0-20260101-000000"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert candidates(["comp"]) == ["compare", "completion"]
    assert candidates(["mod"]) == ["model="]
    assert candidates(["fit", "quant=f"]) == ["quant=fp8"]
    assert candidates(["-m", "quant=awq,f"]) == ["quant=awq,fp8"]
    assert candidates(["quantize", "force=t"]) == ["force=true"]
    assert candidates(["show", "ti"]) == ["tiny/none-x0-20260101-000000"]
    assert candidates(["show", "results_dir=elsewhere", ""]) == ["latest", "results_dir="]
    assert candidates(["report", "--cl"]) == ["--claim", "--claims"]
    assert candidates(["report", "--format", ""]) == ["html", "png", "svg"]
    assert candidates(["--config-dir", ""]) == []
    assert candidates(["nonsense", ""]) == []
    assert {f"{group}=" for group in GROUPS} <= set(candidates([""]))


TYPED = {
    "bash": 'COMP_LINE="bench fit quant=f"; COMP_POINT=17; _bench; echo "${COMPREPLY[@]}"',
    "zsh": "words=(bench fit quant=f); CURRENT=3; _bench",
}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_shell_asks_and_is_answered(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    command = tmp_path / "bench"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bench.cli "$@"\n')
    command.chmod(0o755)
    stubs = (
        'compdef() { :; }\ncompadd() { shift $(( ${@[(i)--]} )); (( $# )) && print -r -- "$@"; }\n'
    )
    script = (
        f'PATH="{tmp_path}:$PATH"\n{stubs if shell == "zsh" else ""}{SHELLS[shell]}\n{TYPED[shell]}'
    )
    flags = {"bash": ["--norc"], "zsh": ["-f"]}[shell]
    done = subprocess.run(
        [shell, *flags, "-c", script], capture_output=True, text=True, check=False
    )
    # bash has the part behind the `=`, where it splits words itself; zsh the whole word
    assert done.stdout.split()[-1:] == [{"bash": "fp8", "zsh": "quant=fp8"}[shell]], done.stderr
