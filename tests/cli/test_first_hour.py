"""What someone new types wrongly in the first hour is answered in one line: what to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.main import main
from bench.config.compose import compose, run_spec
from bench.store import model_folder

SKELETON = "who: null\nwhere: here\nas_of: null\nquote: null\nsays: {kind: serving}\n"


def code_of(typed: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(typed.split(" "))
    return ended.value.code


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("acme.yaml").write_text(SKELETON)
    Path("mine").mkdir()
    Path("mine/config.json").write_text("{}")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("fit model=mine gpu=l4", "A folder is model.path=…: model.path=mine."),
        ("claim acme", "Did you mean the file acme.yaml?"),
        ("claim acme.yml", "Did you mean 'acme.yaml'?"),
        ("claim acme.yaml", "fill in who, as_of, quote:"),
    ],
)
def test_what_lies_in_the_folder_is_named(
    typed: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(typed) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("time", ["'30'", "04:00:00", "1-12", "2-00:30:00", "UNLIMITED"])
def test_slurms_own_ways_to_write_a_time_are_taken(
    time: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"submit slurm -m engine=truth seed=1,2 cluster.time={time} --dry-run"
    assert code_of(words) == 0
    plain = time.strip("'")
    assert f"#SBATCH --time={plain}\n" in capsys.readouterr().out


def test_a_claim_that_no_run_can_settle_says_why_nothing_was_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert code_of("claim r1-2xa100 --measure") == 0
    assert "nothing was measured: its source does not say quant" in capsys.readouterr().err


def test_a_claim_about_ones_own_machine_is_settled_once_it_names_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = "model: tiny, quant: none, gpu: cpu, gpus: 0, form_factor: null, engine: vllm"
    load = "engine_version: '0.32.0', input_tokens: 64, output_tokens: 32, concurrency: 4"
    Path("own.yaml").write_text(
        "who: me\nwhere: here\nas_of: '2026'\nquote: 2,000 tokens/s\nsays:\n  kind: serving\n"
        f"  conditions: {{{known}, {load}}}\n  metric: output_tokens_per_s\n"
        "  definition: output tokens per second\n  stated: {value: 2000, unit: tokens/s}\n"
    )
    assert code_of("claim own.yaml --measure") == 0
    said = capsys.readouterr()
    assert "own.yaml --measure  # once the file says host_cpu and host_cpu_count" in said.out
    assert "(of this machine: host_cpu: " in said.err


def test_a_servers_runs_are_kept_under_its_own_model() -> None:
    """The composed default, tiny, is not what a server at an address serves."""
    at = ["engine=endpoint", "engine.base_url=http://127.0.0.1:1/v1", "gpus=0"]
    named = run_spec(compose([*at, "engine.served_model=ORG/Own"]))
    assert model_folder(named) == "ORG-Own"
    assert model_folder(run_spec(compose(at))) == "endpoint"
    told = run_spec(compose([*at, "engine.expects_model=tiny", "engine.served_model=x"]))
    assert model_folder(told) == "tiny"
    assert model_folder(run_spec(compose(["engine=truth", "gpus=0"]))) == "tiny"
