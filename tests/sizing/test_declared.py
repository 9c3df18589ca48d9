"""Models whose layers nobody listed here, by declared parameters: worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fit_support import run_of

from bench.sizing.declared import geometry_of
from bench.sizing.fit import fit
from bench.values.errors import InputError

UNKNOWN = {
    "model_type": "zaya9",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128_000,
    "max_position_embeddings": 131_072,
}
RUN = run_of("llama-3.1-8b", "none", "h100-sxm", 1)
MODEL = replace(RUN.model, name="zaya", config=UNKNOWN, total_params_b=None, active_params_b=None)


def test_without_a_declaration_the_architecture_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"'zaya9' are not known here.*model.total_params_b=N"):
        geometry_of(MODEL)


def test_declared_parameters_are_counted_and_labelled() -> None:
    model = replace(MODEL, total_params_b=30.0, active_params_b=5.0)
    g = geometry_of(model)
    # Rows of whole matrices: off by less than a row of 4,096 in each of 32 layers.
    assert g.total_params == pytest.approx(30e9, abs=2 * 32 * 4096)
    assert g.active_params == pytest.approx(5e9, abs=32 * 4096)
    # 8 heads of 128 keys and values in 16 bits, in 32 layers.
    assert g.kv_bytes_per_token(2.0) == 32 * 8 * 256 * 2
    report = fit(replace(RUN, model=model))
    assert report.weights_gb == pytest.approx(60.0, rel=1e-3)
    assert report.notes[0].startswith("assumed: 30 B parameters as declared")


def test_a_latent_is_cached_as_one() -> None:
    config = {**UNKNOWN, "kv_lora_rank": 512, "qk_rope_head_dim": 64}
    g = geometry_of(replace(MODEL, config=config, total_params_b=30.0))
    assert g.kv_bytes_per_token(2.0) == 32 * 576 * 2


def test_what_is_counted_is_not_declared_away() -> None:
    known = replace(RUN.model, total_params_b=30.0)
    assert geometry_of(known).total_params == 8_030_261_248


@pytest.mark.parametrize(("total", "active"), [(1.0, None), (30.0, 31.0), (30.0, 1.0)])
def test_impossible_declarations(total: float, active: float | None) -> None:
    with pytest.raises(InputError, match=r"the embeddings alone have 1\.049 B"):
        geometry_of(replace(MODEL, total_params_b=total, active_params_b=active))


def test_a_cache_that_cannot_be_counted_is_refused() -> None:
    config = {k: v for k, v in UNKNOWN.items() if k != "num_hidden_layers"}
    with pytest.raises(InputError, match="num_hidden_layers is missing"):
        geometry_of(replace(MODEL, config=config, total_params_b=30.0))
