"""Tables of rotary positions by hand, as vLLM 0.32.0 makes them."""

from __future__ import annotations

from typing import Any

import pytest

from bench.sizing.architecture import from_config
from bench.sizing.rotary import rotary_bytes

LLAMA = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 100,
    "max_position_embeddings": 8192,
}
ROW = 64 * 2  # one position of a head of 64 in 16 bits


@pytest.mark.parametrize(
    ("config", "rows"),
    [
        ({}, 8192),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 8192),
        # The config's context is that before scaling.
        ({"rope_scaling": {"rope_type": "linear", "factor": 8.0}}, 65536),
        (
            {
                "rope_scaling": {
                    "type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 4096,
                }
            },
            16384,
        ),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, 8192),
        (
            {"rope_scaling": {"type": "longrope", "original_max_position_embeddings": 4096}},
            8192 + 4096,
        ),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [8, 12, 12]}}, 4 * 8192),
        ({"partial_rotary_factor": 0.5}, 4096),
    ],
)
def test_one_table(config: dict[str, Any], rows: int) -> None:
    whole = {**LLAMA, **config}
    assert rotary_bytes(from_config(whole), whole, 2.0) == rows * ROW


def test_gemma_3_has_a_table_for_each_kind_of_layer() -> None:
    """gemma-3-12b: 1,048,576 scaled positions and 131,072 of the window's, 256 numbers each."""
    text = {
        **LLAMA,
        "model_type": "gemma3_text",
        "num_hidden_layers": 6,
        "head_dim": 256,
        "max_position_embeddings": 131072,
        "sliding_window": 1024,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    }
    assert rotary_bytes(from_config(text), text, 2.0) == (8 + 1) * 131072 * 256 * 2
