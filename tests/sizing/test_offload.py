"""llama.cpp's layout over host and GPUs, held against what llama.cpp itself logged."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.arguments import parse
from bench.cli.conflicts import refuse_without_effect
from bench.config.compose import compose, run_spec
from bench.engines import llamacpp
from bench.sizing.declared import geometry_of
from bench.sizing.fit import fit
from bench.sizing.gguf_mix import INPUT
from bench.sizing.offload import Piece, pieces_of, pieces_of_file, placed
from bench.values.errors import InputError
from bench.values.spec import RunSpec

MIB, GIB = 2**20, 2**30


def spec_of(*words: str) -> RunSpec:
    found: RunSpec = run_spec(compose(["gpus=1", *words]), detect_gpus=False)
    return found


def test_qwen3_30b_as_llamacpp_laid_it_out() -> None:
    """github.com/ggml-org/llama.cpp/issues/13729: 30 of 49 layers, CUDA0 10750.86 MiB, CPU_Mapped
    6940.48 MiB. That build (5466) kept the output on the host, where today's takes it first."""
    geometry = geometry_of(spec_of("model=qwen3-30b-a3b").model)
    pieces, layers = pieces_of(geometry, "q4_k_m"), len(geometry.sequence)
    body = [p for p in pieces if p.layer != layers]
    output = sum(p.bytes for p in pieces if p.layer == layers)
    put = placed(body, layers, 31)
    assert put.first_on_gpu == 18  # layers 18 to 47
    assert put.gpu_bytes / MIB == pytest.approx(10750.86, abs=0.01)
    assert (put.host_bytes + output) / MIB == pytest.approx(6940.48, abs=0.01)


# Two layers of 10 bytes beside 100 of experts, of which a token reads a quarter.
PIECES = (
    Piece(layer=INPUT, role="embedding", bytes=7, read=0),
    *(Piece(layer=i, role="attention", bytes=10, read=10) for i in (0, 1)),
    *(Piece(layer=i, role="routed_expert", bytes=100, read=25) for i in (0, 1)),
    Piece(layer=2, role="lm_head", bytes=5, read=5),
)


@pytest.mark.parametrize(
    ("gpu_layers", "moe", "gpu", "host", "host_read"),
    [
        (0, 0, 0, 232, 75),  # nothing but the host: 7 + 20 + 200 + 5; 20 + 50 + 5 are read
        (1, 0, 5, 227, 70),  # the output alone
        (2, 0, 115, 117, 35),  # and the last layer
        (3, 0, 225, 7, 0),  # all but the table of embeddings
        (3, 1, 125, 107, 25),  # the experts of the first layer stay
        (3, 2, 25, 207, 50),
        (2, 1, 115, 117, 35),  # the first layer was on the host anyway
        (9, 0, 225, 7, 0),
    ],
)
def test_what_lies_where(gpu_layers: int, moe: int, gpu: int, host: int, host_read: float) -> None:
    put = placed(PIECES, 2, gpu_layers, moe)
    assert (put.gpu_bytes, put.host_bytes, put.host_read) == (gpu, host, host_read)
    assert put.gpu_read + put.host_read == 75


def test_a_tied_table_is_copied_to_the_gpu_and_read_where_it_is() -> None:
    tied = (*PIECES[:-1], Piece(layer=2, role="embedding", bytes=7, read=7))
    whole, none = placed(tied, 2, 3), placed(tied, 2, 0)
    assert (whole.gpu_bytes, whole.host_bytes) == (227, 7)
    assert (none.gpu_bytes, none.host_bytes, none.host_read) == (0, 227, 77)


def test_one_user_waits_for_both_memories() -> None:
    """35 bytes of the host at 10 a second and 40 of the GPU at 100: 3.5 + 0.4 s a token."""
    assert placed(PIECES, 2, 2).user_bound(100.0, 10.0) == pytest.approx(1 / 3.9)


def test_r1_with_its_experts_on_the_host() -> None:
    """376.65 GiB (its published file) in all; 8 of 256 experts are read, so the host's bound is far
    above what all its bytes would allow."""
    words = ("model=deepseek-r1", "quant=q4_k_m", "gpu=h200-sxm", "engine=llamacpp")
    more = ("engine.cpu_moe_layers=61", "fit.host_gb_per_s=400", "load.concurrency=[1]")
    found = fit(spec_of(*words, *more))
    laid = found.offload
    assert laid is not None
    assert laid["gpu_weights_gib"] + laid["host_weights_gib"] == pytest.approx(376.65, abs=0.01)
    assert found.fits
    bound = found.bound_tokens_per_s_per_user
    assert bound is not None
    assert 400 / (laid["host_weights_gib"] * GIB / 1e9) < bound < 400 / 8
    assert fit(spec_of(*words, "engine.gpu_layers=62")).fits is False
    assert fit(spec_of(*words)).offload is None  # nothing was said: counted as before


def test_a_file_is_laid_out_as_its_name_would_be() -> None:
    """The same tensors, once by rule and once as a file's head sums them by layer and role."""
    geometry = geometry_of(spec_of("model=qwen3-30b-a3b").model)
    by_rule = pieces_of(geometry, "q4_k_m")
    layers: dict[str, dict[str, int]] = {}
    for p in by_rule:
        held = layers.setdefault(str(p.layer), {})
        held[p.role] = held.get(p.role, 0) + p.bytes
    by_file = pieces_of_file(geometry, layers)
    for count, moe in ((0, 0), (20, 0), (49, 0), (49, 30)):
        one, other = (placed(p, 48, count, moe) for p in (by_rule, by_file))
        assert (one.gpu_bytes, one.host_bytes) == (other.gpu_bytes, other.host_bytes)
        assert one.host_read == pytest.approx(other.host_read)


def test_as_many_layers_as_it_names_fit_and_one_more_does_not() -> None:
    words = ("model=qwen3-30b-a3b", "quant=q4_k_m", "gpu=l4", "engine=llamacpp")
    load = "load.concurrency=[64]"
    most = (fit(spec_of(*words, load, "engine.gpu_layers=1")).offload or {})["most_layers"]
    assert 0 < most < 49
    fits = [fit(spec_of(*words, load, f"engine.gpu_layers={n}")).fits for n in (most, most + 1)]
    assert fits == [True, False]


def test_the_cache_has_the_format_that_was_asked_for() -> None:
    """q8_0 takes 34 bytes for 32 elements, f16 64: 0.53125 of it, on both sides."""
    words = ("model=qwen3-30b-a3b", "quant=q4_k_m", "gpu=l4", "engine=llamacpp")
    plain, packed = (
        fit(spec_of(*words, "engine.gpu_layers=20", *more)).offload or {}
        for more in ((), ("engine.kv_type=q8_0",))
    )
    for side in ("gpu_cache_gib", "host_cache_gib"):
        assert plain[side] > 0
        assert packed[side] == pytest.approx(0.53125 * plain[side])


def test_the_command_says_it_on_gpus_alone() -> None:
    spec = spec_of("model=qwen3-30b-a3b", "quant=q4_k_m", "gpu=l4", "engine=llamacpp",
                   "engine.gpu_layers=20", "engine.cpu_moe_layers=7")  # fmt: skip
    words = " ".join(llamacpp.argv(spec, Path("/m.gguf"), 1, 1, ["llama-server"]))
    assert "-ngl 20 --n-cpu-moe 7" in words
    typed = parse(["run", "gpus=0", "engine=llamacpp", "engine.gpu_layers=20"])
    alone = run_spec(compose(typed.overrides), detect_gpus=False)
    with pytest.raises(InputError, match=r"engine\.gpu_layers would have no effect"):
        refuse_without_effect(alone, typed.typed_keys)
    for bad in ("engine.gpu_layers=-1", "engine.cpu_moe_layers=0"):
        with pytest.raises(InputError, match="at least"):
            spec_of("engine=llamacpp", bad)
    with pytest.raises(InputError, match="host_gb_per_s must be"):
        spec_of("fit.host_gb_per_s=0")
