"""The vision tower of a multimodal config.json as matrices, or an approximation that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.fit.geometry import Matrix


def _matrix(name: str, rows: int, cols: int = 1, *, quantisable: bool = False) -> Matrix:
    # active=0: a text token does not pass through the tower.
    return Matrix(name=name, role="vision", rows=rows, cols=cols, active=0, quantisable=quantisable)


def _encoder_layer(hidden: int, inner: int, index: int) -> tuple[Matrix, ...]:
    """A biased ViT layer: four projections, a two-matrix MLP and two LayerNorms."""
    prefix = f"vision_model.layers.{index}"
    return (
        *(
            _matrix(f"{prefix}.self_attn.{n}_proj", hidden, hidden, quantisable=True)
            for n in ("q", "k", "v", "o")
        ),
        _matrix(f"{prefix}.self_attn.bias", 4 * hidden),
        _matrix(f"{prefix}.mlp.fc1", inner, hidden, quantisable=True),
        _matrix(f"{prefix}.mlp.fc2", hidden, inner, quantisable=True),
        _matrix(f"{prefix}.mlp.bias", inner + hidden),
        _matrix(f"{prefix}.layer_norms", 4 * hidden),
    )


def vision_matrices(
    config: Mapping[str, Any], text_hidden: int
) -> tuple[tuple[Matrix, ...], tuple[str, ...]]:
    """The tower and projector of `config`, with notes where they are approximated.

    Llama 4's is exact: it adds up to the 871,932,416 parameters by which the published
    checkpoint's 108,641,793,536 exceeds the text model.
    """
    vision = config.get("vision_config")
    if not isinstance(vision, Mapping):
        return (), ()
    keys = ("hidden_size", "intermediate_size", "num_hidden_layers")
    if not all(isinstance(vision.get(k), int) for k in keys):
        return (), ("the vision tower is not counted: its config lacks " + ", ".join(keys),)
    hidden, inner, layers = (int(vision[k]) for k in keys)
    patch, channels = int(vision.get("patch_size", 14)), int(vision.get("num_channels", 3))
    tower = [m for i in range(layers) for m in _encoder_layer(hidden, inner, i)]
    tower.append(_matrix("vision_model.patch_embedding", hidden, channels * patch * patch))
    positions = (int(vision.get("image_size", 336)) // patch) ** 2
    tower.append(_matrix("vision_model.positional_embedding", hidden, positions + 1))
    if vision.get("model_type") != "llama4_vision_model":
        tower.append(_matrix("multi_modal_projector", text_hidden, hidden))
        return tuple(tower), ("the vision tower is approximated as a plain ViT",)
    shuffled = round(hidden / float(vision["pixel_shuffle_ratio"]) ** 2)
    joined, out = int(vision["projector_input_dim"]), int(vision["projector_output_dim"])
    tower += [
        _matrix("vision_model.class_embedding", hidden),
        _matrix("vision_model.outer_layer_norms", 4 * hidden),
        _matrix("vision_model.vision_adapter.mlp.fc1", joined, shuffled, quantisable=True),
        _matrix("vision_model.vision_adapter.mlp.fc2", out, joined, quantisable=True),
        _matrix("multi_modal_projector.linear_1", text_hidden, out, quantisable=True),
    ]
    return tuple(tower), ()
