"""Versions and engines as sources write them."""

from __future__ import annotations

import pytest

from bench.values.engine_words import same_engine, same_version


@pytest.mark.parametrize("other", ["0.11.0", "v0.11.0", "V0.11.0", " 0.11.0 ", "0.11.0+cu128"])
def test_spellings_of_one_version(other: str) -> None:
    assert same_version("0.11.0", other)


@pytest.mark.parametrize("other", ["0.11", "0.11.1", "0.11.0rc1"])
def test_a_series_or_a_candidate_is_another_version(other: str) -> None:
    """`0.11` may mean any of 0.11.x: a source that says no more does not say which."""
    assert not same_version("0.11.0", other)


def test_engines_in_any_spelling() -> None:
    assert same_engine("TensorRT-LLM", "trtllm")
    assert same_engine("llama.cpp", "llama-server")
    assert not same_engine("vllm", "sglang")
