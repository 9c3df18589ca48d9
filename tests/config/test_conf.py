"""Every option of conf/model, conf/gpu and conf/quant is a valid value with a source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.values.codec import decode
from bench.values.ggml import TYPES
from bench.values.spec import GpuSpec, ModelSpec, QuantSpec

CONF = Path(__file__).parents[2] / "conf"

MODELS = {
    "deepseek-r1",
    "deepseek-v3.2",
    "glm-4.7",
    "llama-4-scout",
    "qwen3-30b-a3b",
    "deepseek-r1-distill-llama-70b",
    "deepseek-r1-distill-llama-8b",
    "deepseek-r1-distill-qwen-32b",
    "deepseek-r1-distill-qwen-14b",
    "deepseek-r1-distill-qwen-7b",
    "deepseek-r1-distill-qwen-1.5b",
    "tiny",
}
GPUS = {
    "a100-40gb-sxm",
    "a100-40gb-pcie",
    "a100-80gb-sxm",
    "a100-80gb-pcie",
    "h100-sxm",
    "h100-pcie",
    "h100-nvl",
    "h200-sxm",
    "b200-sxm",
    "l40s",
    "l4",
    "auto",
    "cpu",
}
QUANTS = {"none", "awq", "gptq", "int8", "fp8"}


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _options(group: str) -> list[Path]:
    return sorted((CONF / group).glob("*.yaml"))


def _names(group: str) -> set[str]:
    return {path.stem for path in _options(group)}


def _model(name: str) -> ModelSpec:
    return decode(ModelSpec, _load(CONF / "model" / f"{name}.yaml"), "model")


def _gpu(name: str) -> GpuSpec:
    return decode(GpuSpec, _load(CONF / "gpu" / f"{name}.yaml"), "gpu")


def _quant(name: str) -> QuantSpec:
    return decode(QuantSpec, _load(CONF / "quant" / f"{name}.yaml"), "quant")


def test_the_promised_options_exist() -> None:
    """Further models and GPUs may be added; none of these may go."""
    assert _names("model") >= MODELS
    assert _names("gpu") >= GPUS
    assert _names("quant") >= QUANTS


@pytest.mark.parametrize("path", _options("model"), ids=lambda p: p.stem)
def test_model_decodes(path: Path) -> None:
    model = decode(ModelSpec, _load(path), f"model={path.stem}")
    assert model.name == path.stem
    assert model.config["architectures"]
    assert model.config["model_type"]
    assert "none" in model.checkpoints
    assert set(model.checkpoints) <= _names("quant")
    assert set(model.siblings) <= _names("model") - {model.name}
    text = model.config.get("text_config", model.config)
    assert text["vocab_size"] > 0
    assert text["max_position_embeddings"] == model.max_context_tokens
    assert model.total_params_b is not None
    assert model.active_params_b is not None
    assert model.active_params_b <= model.total_params_b


@pytest.mark.parametrize("path", _options("model"), ids=lambda p: p.stem)
def test_model_numbers_are_numbers(path: Path) -> None:
    """YAML 1.1 reads 1e-06 as text; the engines would get a string for an epsilon."""

    def leaves(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [leaf for v in value.values() for leaf in leaves(v)]
        if isinstance(value, list):
            return [leaf for v in value for leaf in leaves(v)]
        return [value]

    for leaf in leaves(_load(path)["config"]):
        if isinstance(leaf, str):
            with pytest.raises(ValueError):
                float(leaf)


@pytest.mark.parametrize("path", _options("gpu"), ids=lambda p: p.stem)
def test_gpu_decodes(path: Path) -> None:
    gpu = decode(GpuSpec, _load(path), f"gpu={path.stem}")
    assert gpu.name == path.stem
    if gpu.kind != "gpu":
        assert gpu.memory_gb is None
        assert gpu.nvml_names == ()
        return
    # NVIDIA's alone have a compute capability, and names by which NVML tells them
    assert bool(gpu.nvml_names) is (gpu.compute_capability is not None)
    assert gpu.memory_gb is not None
    if gpu.memory_gib is None:
        assert "memory_gib" in gpu.unverified_fields
    else:
        # What NVML reports lies within a tenth of the advertised size, in either kind of unit.
        assert 0.9 * gpu.memory_gb < gpu.memory_gib * 1.073741824 < 1.1 * gpu.memory_gb
    assert {f.split(".")[0] for f in gpu.unverified_fields} <= set(_load(path))
    assert gpu.verified is not bool(gpu.unverified_fields)
    price = gpu.price
    if price.low_usd_per_gpu_h is not None:
        assert price.high_usd_per_gpu_h is not None
        assert 0 < price.low_usd_per_gpu_h <= price.high_usd_per_gpu_h


def test_nvml_names_are_unique() -> None:
    names = [name for path in _options("gpu") for name in _gpu(path.stem).nvml_names]
    assert len(names) == len(set(names))


MAIN_TYPE = {
    **{name: name.upper() for name in ("iq1_s", "iq1_m", "iq3_s")},
    **{"q3_k_l": "Q3_K", "iq2_s": "IQ2_XS", "iq2_m": "IQ2_S", "iq3_xs": "IQ3_S", "iq3_m": "IQ3_S"},
}
"""What llama.cpp's llama_ftype_get_default_type gives most tensors of these mixtures."""


@pytest.mark.parametrize("path", _options("quant"), ids=lambda p: p.stem)
def test_quant_decodes(path: Path) -> None:
    quant = decode(QuantSpec, _load(path), f"quant={path.stem}")
    assert quant.name == path.stem
    if quant.name == "none":
        assert quant.hf_quantization_config is None
        return
    assert quant.hf_quantization_config is not None
    if quant.is_gguf:
        assert quant.hf_quantization_config["file_type"] == quant.name
        main = MAIN_TYPE.get(quant.name) or quant.name.removesuffix("_s").removesuffix("_m").upper()
        sizes = {name: 8 * size / block for name, block, size in TYPES.values()}
        assert quant.weight_bits == sizes[main]
        return
    assert "lm_head" in quant.hf_quantization_config["ignore"]
    weights = quant.hf_quantization_config["config_groups"]["group_0"]["weights"]
    assert weights["num_bits"] == quant.weight_bits
    assert weights.get("group_size") == quant.group_size


def _figure_bearing() -> list[Path]:
    gpus = [p for p in _options("gpu") if _load(p).get("kind", "gpu") == "gpu"]
    return [*_options("model"), *gpus, *_options("quant")]


@pytest.mark.parametrize("path", _figure_bearing(), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_figures_carry_their_source_and_date(path: Path) -> None:
    data = _load(path)
    assert data["source"].strip()
    year, month, day = data["as_of"].split("-")
    assert (len(year), len(month), len(day)) == (4, 2, 2)


def test_published_parameter_counts() -> None:
    """The counts recomputed from the architectures elsewhere, in 1e9: total, active."""
    published = {
        "deepseek-r1": (671.03, 37.55),
        "glm-4.7": (352.8, 33.6),
        "llama-4-scout": (107.8, 17.2),
        "qwen3-30b-a3b": (30.53, 3.35),
    }
    for name, (total, active) in published.items():
        model = _model(name)
        assert model.total_params_b == pytest.approx(total, abs=0.05)
        assert model.active_params_b == pytest.approx(active, abs=0.05)


def test_native_fp8_models_offer_the_same_weights_as_fp8() -> None:
    for name in ("deepseek-r1", "deepseek-v3.2"):
        model = _model(name)
        assert model.config["quantization_config"]["weight_block_size"] == [128, 128]
        assert model.checkpoints["fp8"].repo == model.checkpoints["none"].repo
        assert model.checkpoints["fp8"].revision == model.checkpoints["none"].revision


def test_tiny_is_the_bundled_model() -> None:
    """conf repeats the shipped config.json, so that `weights: dummy` works for it too."""
    model = _model("tiny")
    shipped = CONF.parent / "bench" / "assets" / "models" / "tiny" / "config.json"
    assert model.weights == "bundled"
    assert dict(model.config) == json.loads(shipped.read_text(encoding="utf-8"))


def test_a100_has_no_fp8_units() -> None:
    for path in _options("gpu"):
        if path.stem.startswith("a100"):
            assert _gpu(path.stem).fp8_tflops is None


def test_quant_awq_has_zero_points_and_gptq_has_none() -> None:
    for name, symmetric in (("awq", False), ("gptq", True)):
        config = _quant(name).hf_quantization_config
        assert config is not None
        assert config["config_groups"]["group_0"]["weights"]["symmetric"] is symmetric
