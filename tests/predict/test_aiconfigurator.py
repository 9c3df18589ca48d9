"""Another predictor's answer as a claim; its program stands beside, so that its output is data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.config.compose import compose, run_spec
from bench.predict.aiconfigurator import argv, parse
from bench.predict.question import Question, question
from bench.values.errors import InputError

# As aiconfigurator printed it on 2026-11-26 for Llama 3.1 8B, its data for vLLM 0.24.0.
SAID = """
  Performance Estimate (agg)
  System:           h100_sxm
  Backend:          vllm (0.24.0)
  TTFT:             95.112 ms
  TPOT:             12.534 ms
  Request Latency:  12917.011 ms
  tokens/s:         5,068.66
  tokens/s/gpu:     5,068.66
  tokens/s/user:    79.79
  Concurrency:      64
"""
WORDS = ("model=llama-3.1-8b", "gpu=h100-sxm", "gpus=1", "load.concurrency=[64]")


def asked(*words: str) -> Question:
    return question(run_spec(compose([*WORDS, *words]), detect_gpus=False))


def test_its_words() -> None:
    words = argv("aic", asked("quant=fp8", "workload=chat-1k-1k"), 64, "/model")
    said = dict(zip(words[3::2], words[4::2], strict=False))
    assert words[:3] == ["aic", "cli", "estimate"]
    assert said["--system"] == "h100_sxm"
    assert (said["--isl"], said["--osl"], said["--batch-size"]) == ("1024", "1024", "64")
    assert (said["--backend"], said["--gemm-quant-mode"]) == ("vllm", "fp8")
    with pytest.raises(InputError, match="has no data"):
        argv("aic", asked("gpu=rtx-4090"), 64, "/model")


def test_its_answer() -> None:
    found = parse(SAID, 64)
    assert found.figures == {
        "output_tokens_per_s": 5068.66,
        "ttft_mean_ms": 95.112,
        "tpot_mean_ms": 12.534,
    }
    assert found.backend == "vllm (0.24.0)"
    with pytest.raises(InputError, match="no estimate: Error: no such system"):
        parse("some\nError: no such system\n", 64)


def test_a_prediction_becomes_a_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "aiconfigurator"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{SAID}END\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    words = ["claim", "--predict", "aiconfigurator", "--command", str(program), *WORDS]
    with pytest.raises(SystemExit) as left:
        main([*words, "load=closed", "workload=chat-1k-1k", f"results_dir={tmp_path}"])
    shown = capsys.readouterr()
    assert left.value.code == 0, shown.err
    assert "claimed by aiconfigurator: 5,069 tokens/s, without a band" in shown.out
    assert "UNTESTED" in shown.out
    assert "of the bound, not forbidden" in shown.out
    (file,) = tmp_path.glob("aiconfigurator-*.yaml")
    claim = json.loads(file.read_text())
    assert claim["who"] == "aiconfigurator"
    assert claim["says"]["stated"]["value"] == 5068.66
    assert claim["says"]["conditions"]["engine_version"] == "0.24.0"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--predict", "aiconfig", *WORDS), "is no predictor"),
        (("--predict", "aiconfigurator", *WORDS[:3], "load.concurrency=[1,2]"), "takes one load"),
        (("--predict", "aiconfigurator", "--command", "/no/such", *WORDS), "is not there"),
    ],
)
def test_wrong_words_are_one_line(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["claim", *words])
    shown = capsys.readouterr()
    assert left.value.code == 2
    assert said in shown.err
    assert len(shown.err.strip().splitlines()) == 1
