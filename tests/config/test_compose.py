"""What is composed when nothing is said, and what typed keys do to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config.compose import compose, run_spec
from bench.values.spec import RunSpec


def composed(*overrides: str) -> RunSpec:
    spec = run_spec(compose(overrides), detect_gpus=False)
    assert isinstance(spec, RunSpec)
    return spec


@pytest.mark.parametrize(
    ("overrides", "workload", "concurrency"),
    [
        ((), "chat-short", (1, 4, 16)),
        (("gpus=2",), "chat-1k-1k", (1, 16, 64, 256)),
        (("gpu=h200-sxm",), "chat-1k-1k", (1, 16, 64, 256)),
        (("engine=truth",), "chat-short", (1, 4, 16)),
        (("gpus=2", "workload=chat-short", "load=closed"), "chat-short", (1, 4, 16)),
    ],
)
def test_the_load_suits_what_serves(
    overrides: tuple[str, ...], workload: str, concurrency: tuple[int, ...]
) -> None:
    spec = composed(*overrides)
    assert (spec.workload.name, spec.load.concurrency) == (workload, concurrency)


def test_typed_keys_stand_on_top_of_the_choice() -> None:
    spec = composed("gpus=1", "load.concurrency=[3]", "workload.slo.ttft_ms=5")
    assert spec.load.concurrency == (3,)
    assert spec.load.duration_s == 75.0  # conf/load/gpu.yaml's, kept
    assert (spec.workload.slo.ttft_ms, spec.workload.slo.tpot_ms) == (5.0, 50.0)


def test_a_workload_of_other_lengths_does_not_keep_its_name() -> None:
    """`chat-1k-1k: 16 tokens in, 32 out` stood above every table of such a run."""
    short = ("workload.input_tokens=16", "workload.output_tokens=32")
    for named in ("chat-1k-1k", "auto"):
        spec = composed(f"workload={named}", "gpus=1", *short)
        assert spec.workload.name == "chat-1k-1k (changed)"
        assert "those of chat-1k-1k" in spec.workload.source
    assert composed("workload.name=mine", "gpus=1", *short).workload.name == "mine"
    same = composed("workload=chat-1k-1k", "workload.input_tokens=1024", "workload.slo.ttft_ms=9")
    assert same.workload.name == "chat-1k-1k"


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ((), "mine"),
        (("workload.input_tokens=16",), "mine (changed)"),  # was mine
        (("workload.input_tokens=1024",), "mine"),  # chat-1k-1k's, on which it builds
        (("workload.turns=3",), "mine (changed)"),
        (("workload.turns=3", "workload.name=turns"), "turns"),
        (("workload.slo.ttft_ms=9",), "mine"),
    ],
)
def test_a_workload_of_ones_own_is_another_one_too(
    typed: tuple[str, ...], name: str, tmp_path: Path
) -> None:
    (tmp_path / "workload").mkdir()
    text = "defaults: [chat-1k-1k, _self_]\nname: mine\n"
    (tmp_path / "workload" / "mine.yaml").write_text(text, encoding="utf-8")
    data = compose(["workload=mine", "gpus=0", *typed], [str(tmp_path)])
    assert run_spec(data).workload.name == name


@pytest.mark.parametrize(
    ("named", "typed", "name"),
    [
        ("chat-short", "turns=3", "chat-short (changed)"),  # was chat-short
        ("chat-short", "turns=1", "chat-short"),
        ("multi-turn", "turn_gap_s=9", "multi-turn (changed)"),
        ("shared-prefix", "shared_prefix_tokens=10", "shared-prefix (changed)"),
        ("chat-short", "shared_prefix_tokens=3", "chat-short (changed)"),
        ("shared-prefix", "shared_prefix_count=4", "shared-prefix"),
    ],
)
def test_whatever_shapes_the_requests_changes_the_name(named: str, typed: str, name: str) -> None:
    spec = composed(f"workload={named}", "gpus=0", f"workload.{typed}")
    assert spec.workload.name == name
    assert (typed.partition("=")[0] in spec.workload.source) == (name != named)
