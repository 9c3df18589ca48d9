"""Which weights a model has for a quantisation, and what is said when there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.models.weights import Weights, resolve_weights
from bench.values.errors import InputError
from bench.values.spec import Checkpoint, Licence, ModelSpec, QuantSpec, RunSpec

NONE = QuantSpec(name="none", title="native")
AWQ = QuantSpec(name="awq", title="AWQ")
INT8 = QuantSpec(name="int8", title="INT8", hf_quantization_config={"quant_method": "x"})


def model(weights: str, **config: object) -> ModelSpec:
    return ModelSpec(
        name="m",
        weights=weights,
        max_context_tokens=64,
        licence=Licence(name="MIT"),
        checkpoints={
            "none": Checkpoint(repo="org/m", revision="abc"),
            "awq": Checkpoint(repo="org/m-awq"),
        },
        config=config,
    )


def test_the_hub() -> None:
    found = resolve_weights(model("hub"), NONE)
    assert found == Weights(source="hub", location="org/m", revision="abc")
    assert not found.is_local
    assert resolve_weights(model("hub"), AWQ).location == "org/m-awq"


def test_a_missing_pair_names_those_that_exist() -> None:
    with pytest.raises(InputError, match="model=m quant=awq, model=m quant=none") as caught:
        resolve_weights(model("hub"), INT8)
    assert "'int8'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_bundled_model(run_spec: Callable[..., RunSpec]) -> None:
    found = resolve_weights(run_spec().model, NONE)
    assert found.source == "bundled"
    assert (Path(str(found.location)) / "config.json").is_file()
    with pytest.raises(InputError, match="pairs that exist: model=tiny quant=none"):
        resolve_weights(run_spec().model, INT8)


def test_a_directory_of_ones_own_serves_any_quantisation() -> None:
    found = resolve_weights(model("/models/m-int8"), INT8)
    assert found == Weights(source="local", location="/models/m-int8")
    assert found.is_local


def test_dummy_weights_need_a_configuration() -> None:
    whole = model("dummy", architectures=["A"], model_type="a")
    assert resolve_weights(whole, INT8) == Weights(source="dummy", location=None)
    with pytest.raises(InputError, match=r"model\.config\.architectures is missing"):
        resolve_weights(model("dummy"), NONE)
    with pytest.raises(InputError, match=r"hf_quantization_config of 'fp8'"):
        resolve_weights(whole, QuantSpec(name="fp8", title="FP8"))
