"""Flags that the installed vLLM does not have are refused before it is started."""

from __future__ import annotations

import importlib.util

import pytest

from bench.engines.vllm_flags import _SURE, check_flags, flags
from bench.values.errors import InputError

installed = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"
)


@installed
def test_its_flags_are_found() -> None:
    assert flags() >= _SURE | {"tensor-parallel-size", "kv-cache-dtype", "chat-template"}


@installed
@pytest.mark.parametrize(
    "args",
    [
        ("--max-num-seqs", "64", "--enforce-eager"),
        ("--max_num_seqs=64", "--no-enable-prefix-caching"),
        ("--compilation-config.level=3", "--max-num-s=4"),
        ("-tp", "2", "--tool-call-parser", "hermes"),
        ("--disable-uvicorn-access-log", "--enable-auto-tool-choice", "--api-key", "x"),
    ],
)
def test_what_it_takes_is_taken(args: tuple[str, ...]) -> None:
    check_flags(args)


@installed
@pytest.mark.parametrize("word", ["--no-such-flag", "--max-num-seqz=3", "--no_such_flag=1"])
def test_what_it_does_not_take_is_refused_by_name(word: str) -> None:
    with pytest.raises(
        InputError, match=r"engine\.args: the installed vLLM has no flag"
    ) as refused:
        check_flags(("--max-num-seqs", "64", word))
    assert "seqz=3" not in str(refused.value)
    assert "flag=1" not in str(refused.value)
    assert len(str(refused.value)) < 200


def test_without_its_files_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.engines.vllm_flags.flags", frozenset)
    check_flags(("--no-such-flag",))
