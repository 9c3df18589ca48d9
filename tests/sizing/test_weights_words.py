"""One model's weights have several sizes; each says what it holds."""

from __future__ import annotations

import pytest

from bench.ask.fits import reports
from bench.config.compose import catalogue, compose, run_spec
from bench.sizing.fit import fit
from bench.sizing.headroom import to_fetch_bytes


def test_the_checkpoint_and_what_is_loaded_of_it_add_up() -> None:
    """DeepSeek-R1's index lists 688.59 GB; its MTP layer is 15.3 of them (its own head and
    embedding with it). One GPU would load the rest, 673.2; eight hold copies besides."""
    words = ("model=deepseek-r1", "quant=none", "gpu=h200-sxm")
    (one,) = reports((*words, "gpus=1"), catalogue())
    (eight,) = reports((*words, "gpus=8"), catalogue())
    fetched = (to_fetch_bytes(run_spec(compose(words), detect_gpus=False)) or 0) / 1e9
    assert fetched == pytest.approx(688.59, rel=3e-4)
    assert fetched - one.weights_gb == pytest.approx(15.3, abs=0.05)
    assert eight.weights_gb > one.weights_gb
    said = (
        "without the MTP layer (15.3 of the checkpoint's 688.5 GB), which speculation alone loads"
    )
    (told,) = (n for n in one.notes if "MTP" in n)
    assert told.endswith(said)
    (told,) = (n for n in eight.notes if "MTP" in n)
    assert told.endswith(f"{said}, and what each GPU holds a copy of is counted on each")


def test_a_host_says_that_it_widens_and_a_model_without_the_layer_says_nothing() -> None:
    host = fit(run_spec(compose(("model=deepseek-r1", "gpu=cpu")), detect_gpus=False))
    assert any(n.endswith("and in 32 bits what is not quantised") for n in host.notes)
    plain = fit(run_spec(compose(("model=llama-3.1-8b", "gpu=l4", "gpus=1")), detect_gpus=False))
    assert not any("MTP" in n for n in plain.notes)
