"""A model directory from configuration alone, and the tokenizer that covers its vocabulary."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from bench.config.compose import compose, run_spec
from bench.engines.dummy import hf_config, tokenizer_files, write_model
from bench.values.errors import InputError
from bench.values.spec import Checkpoint, ModelSpec, QuantSpec, RunSpec

Spec = Callable[..., RunSpec]


def tokenizer(**config: object) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(tokenizer_files(config, 64)[0]))


def test_any_text_is_encoded_and_decoded() -> None:
    built = tokenizer(vocab_size=300, bos_token_id=0, eos_token_id=1)
    text = "Grüße, 世界! \t\n\x00 ok"
    ids = built.encode(text).ids
    assert len(ids) == len(text.encode())  # a token for each byte
    assert built.decode(ids) == text


def test_every_id_has_a_text_of_its_own() -> None:
    built = tokenizer(vocab_size=300, bos_token_id=0, eos_token_id=1)
    assert built.get_vocab_size() == 300
    assert built.id_to_token(0) == "<s>"
    assert built.id_to_token(1) == "</s>"
    assert built.decode([299]) == " t299"
    texts = {built.id_to_token(i) for i in range(300)}
    assert None not in texts
    assert len(texts) == 300


def test_several_ends_and_none() -> None:
    many = tokenizer(vocab_size=300, bos_token_id=5, eos_token_id=[7, 8])
    assert [many.id_to_token(i) for i in (5, 7, 8)] == ["<s>", "</s>", "<end1>"]
    assert tokenizer(vocab_size=300).id_to_token(299) == "</s>"


def test_the_vocabulary_of_a_nested_configuration() -> None:
    assert tokenizer(text_config={"vocab_size": 512}).get_vocab_size() == 512


@pytest.mark.parametrize("size", [None, 100, "many"])
def test_a_vocabulary_without_room_for_bytes_is_refused(size: object) -> None:
    with pytest.raises(InputError, match="vocab_size"):
        tokenizer_files({"vocab_size": size}, 64)


def with_checkpoints(model: ModelSpec, **checkpoints: Checkpoint) -> ModelSpec:
    return ModelSpec(**{**vars(model), "checkpoints": checkpoints})


def test_the_quantisation_that_the_checkpoint_carries(run_spec: Spec) -> None:
    spec = run_spec(quant="int8")
    model, int8 = spec.model, spec.quant
    general = hf_config(model, int8)["quantization_config"]
    assert general == int8.hf_quantization_config
    assert "quantization_config" not in hf_config(model, QuantSpec(name="none", title=""))
    own = Checkpoint(repo="org/m-int8", quantization_config={"quant_method": "own"})
    assert hf_config(with_checkpoints(model, int8=own), int8)["quantization_config"] == {
        "quant_method": "own"
    }
    native = Checkpoint(repo="org/m", revision="1")
    assert "quantization_config" not in hf_config(
        with_checkpoints(model, none=native, int8=native), int8
    )


def test_what_is_written(run_spec: Spec, tmp_path: Path) -> None:
    spec = run_spec()
    write_model(spec.model, spec.quant, tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    }
    assert json.loads((tmp_path / "model" / "config.json").read_text())["vocab_size"] == 2048


@pytest.mark.parametrize(
    ("model", "quant", "method", "bits"),
    [
        ("deepseek-r1-distill-llama-8b", "fp8", "compressed-tensors", 8),
        ("deepseek-r1-distill-llama-8b", "awq", "compressed-tensors", 4),
        ("deepseek-r1-distill-llama-8b", "gptq", "compressed-tensors", 4),
        ("deepseek-r1-distill-llama-70b", "gptq", "compressed-tensors", 4),
        ("qwen3-30b-a3b", "fp8", "fp8", None),
    ],
)
def test_the_variants_of_the_gpu_evidence_carry_their_quantisation(
    model: str, quant: str, method: str, bits: int | None
) -> None:
    words = [f"model={model}", f"quant={quant}", "model.weights=dummy", "gpu=h100-sxm", "gpus=1"]
    spec = run_spec(compose(words), detect_gpus=False)
    config = hf_config(spec.model, spec.quant)["quantization_config"]
    assert config["quant_method"] == method
    if bits is None:  # published in blocks, whose kernels are others than those of channels
        assert config["weight_block_size"] == [128, 128]
        assert "model.layers.47.mlp.gate" in config["modules_to_not_convert"]
    else:
        assert config["config_groups"]["group_0"]["weights"]["num_bits"] == bits
