"""A claim's names and units: what is misspelt is refused, what the source says so is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.main import main

CLAIM = """\
who: X
where: blog
as_of: "2026-01-01"
quote: 1000 tok/s
says:
  kind: serving
  conditions: {model: llama-3.1-8b, quant: fp8, gpu: h100, form_factor: sxm, gpus: 1, engine: vllm,
    engine_version: null, input_tokens: 1024, output_tokens: 1024, concurrency: 16}
  metric: output_tokens_per_s
  definition: null
  stated: {value: 1000, unit: tokens/s}
"""


def asked(
    folder: Path, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[object, str, str]:
    """Exit code, standard output and the error's line of `bench claim` on a file."""
    monkeypatch.chdir(folder)
    (folder / "c.yaml").write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["claim", "c.yaml"])
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


WRONG = (
    ("gpu: h100,", "gpu: l44,", "gpu: 'l44' is unknown. Did you mean 'l4'?"),
    ("gpu: h100,", "gpu: h10,", "gpu: 'h10' is unknown. Did you mean"),
    ("llama-3.1-8b", "lama-3.1-8b", "model: 'lama-3.1-8b' is unknown. Did you mean 'llama-3.1-8b'"),
    ("llama-3.1-8b", "acme-7", "Where the source really says so: unlisted: [model]."),
    ("quant: fp8", "quant: fp88", "quant: 'fp88' is unknown. Did you mean 'fp8'?"),
    ("engine: vllm", "engine: vlm", "engine: 'vlm' is unknown. Did you mean 'vllm'?"),
    (
        "gpus: 1,",
        "gpus: 1, architecture: qwen3-8,",
        "'qwen3-8' is unknown. Did you mean 'qwen3-8b'",
    ),
    ("unit: tokens/s", "unit: ms", "'ms' is no unit of output_tokens_per_s, which is in tokens/s."),
    ("gpus: 1,", "gpus: 1, unlisted: [gpu],", "unlisted: 'h100' is a name that is known: take gpu"),
    ("gpus: 1,", "gpus: 1, unlisted: [gpuu],", "Did you mean 'gpu'?"),
)


@pytest.mark.parametrize(("old", "new", "line"), WRONG)
def test_a_wrong_name_or_unit_is_a_wrong_input(
    old: str,
    new: str,
    line: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, out, said = asked(tmp_path, CLAIM.replace(old, new), capsys, monkeypatch)
    assert (code, out) == (2, "")
    assert line in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gpu: h100,", "gpu: l44, unlisted: [gpu],"),
        ("llama-3.1-8b", "acme-7, unlisted: [model]"),
        ("llama-3.1-8b", "acme-7, architecture: llama-3.1-8b"),
        ("quant: fp8", "quant: fp88, unlisted: [quant]"),
        ("engine: vllm", "engine: vlm, unlisted: [engine]"),
        ("engine: vllm", "engine: mk1"),
    ],
)
def test_a_name_that_the_source_says_is_not_comparable_and_no_error(
    old: str,
    new: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, out, _ = asked(tmp_path, CLAIM.replace(old, new), capsys, monkeypatch)
    assert code == 0
    assert "NOT COMPARABLE" in out


def test_all_missing_keys_are_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = CLAIM.replace("where: blog\n", "").replace("quant: fp8, ", "").replace("gpus: 1, ", "")
    code, _, said = asked(tmp_path, text, capsys, monkeypatch)
    assert code == 2
    assert "the key 'where' is missing; " in said
    assert "the keys 'quant', 'gpus' are missing." in said
    assert "Where the source does not say: quant: null, gpus: null." in said
    assert said.count("\n") == 1
