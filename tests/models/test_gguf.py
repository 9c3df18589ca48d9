"""GGUF heads written here byte by byte, read back, and counted by hand."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.models.gguf import config_of, quantisation_of, read_gguf
from bench.preflight import resolve_model
from bench.sizing.architecture import from_config
from bench.sizing.quantisations import from_hf, own_quantisation
from bench.sizing.sharding import checkpoint_bytes
from bench.values.errors import InputError
from bench.values.ggml import TYPES
from bench.values.spec import Licence, ModelSpec

NUMBER = {name: number for number, (name, _, _) in TYPES.items()}
HIDDEN, INNER, VOCAB = 256, 512, 512
KEYS: dict[str, Any] = {
    "general.architecture": "llama",
    "general.name": "small",
    "llama.embedding_length": HIDDEN,
    "llama.block_count": 1,
    "llama.feed_forward_length": INNER,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.context_length": 4096,
}
BLOCK = "blk.0."
NESTED = struct.pack("<IIQIQIQ", 9, 9, 1, 9, 1, 9, 1)
TENSORS = [
    ("token_embd.weight", (HIDDEN, VOCAB), "Q8_0"),
    ("output.weight", (HIDDEN, VOCAB), "F16"),
    ("output_norm.weight", (HIDDEN,), "F32"),
    (f"{BLOCK}attn_norm.weight", (HIDDEN,), "F32"),
    (f"{BLOCK}ffn_norm.weight", (HIDDEN,), "F32"),
    (f"{BLOCK}attn_q.weight", (HIDDEN, HIDDEN), "Q4_K"),
    (f"{BLOCK}attn_k.weight", (HIDDEN, HIDDEN // 2), "Q4_K"),
    (f"{BLOCK}attn_v.weight", (HIDDEN, HIDDEN // 2), "Q6_K"),
    (f"{BLOCK}attn_output.weight", (HIDDEN, HIDDEN), "Q4_K"),
    (f"{BLOCK}ffn_gate.weight", (HIDDEN, INNER), "Q4_K"),
    (f"{BLOCK}ffn_up.weight", (HIDDEN, INNER), "Q4_K"),
    (f"{BLOCK}ffn_down.weight", (INNER, HIDDEN), "Q6_K"),
]
# Q8_0 has 34 bytes for 32 weights, Q4_K 144 and Q6_K 210 for 256.
STORED = {
    "embedding": HIDDEN * VOCAB * 34 // 32,
    "lm_head": HIDDEN * VOCAB * 2,
    "norm": 3 * HIDDEN * 4,
    "attention": (2 * HIDDEN + HIDDEN // 2) * 144 + HIDDEN // 2 * 210,
    "dense_ffn": 2 * INNER * 144 + INNER * 210,
}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def head(tensors: list[Any] = TENSORS, keys: dict[str, Any] = KEYS, *, words: int = 3) -> bytes:
    made = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys) + 1)
    for key, value in keys.items():
        made += text(key)
        made += struct.pack("<I", 8) + text(value) if isinstance(value, str) else b""
        made += struct.pack("<II", 4, value) if isinstance(value, int) else b""
    made += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, words) + text("a") * words
    offset = 0
    for name, sides, kind in tensors:
        made += text(name) + struct.pack("<I", len(sides)) + struct.pack(f"<{len(sides)}Q", *sides)
        made += struct.pack("<IQ", NUMBER.get(kind, kind), offset)
        _, block, size = TYPES.get(NUMBER.get(kind, 0), ("", 1, 4))
        weights = 1
        for side in sides:
            weights *= side
        offset += -(-(weights // block * size) // 32) * 32
    return made + bytes(-len(made) % 32) + bytes(offset)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "small.gguf"
    found.write_bytes(head())
    return found


def test_every_tensor_is_read_with_its_size(path: Path) -> None:
    file = read_gguf(path)
    sums = quantisation_of(file)["tensors"]
    assert {role: one["bytes"] for role, one in sums.items()} == STORED
    assert file.bytes == sum(STORED.values())
    assert sums["attention"]["weights"] == 3 * HIDDEN * HIDDEN


def test_the_fit_counts_the_files_bytes(path: Path) -> None:
    blank = ModelSpec(name="x", max_context_tokens=1, licence=Licence(name="not asked"))
    typed = replace(blank, weights=str(path))
    model = resolve_model(typed, frozenset({"model.weights"}))
    geometry = from_config(model.config)
    fmt = from_hf(own_quantisation(model.config), "none")
    assert geometry.total_params == read_gguf(path).weights
    assert checkpoint_bytes(geometry, fmt, 2.0) == sum(STORED.values())
    assert model.name == "small"
    assert model.max_context_tokens == 4096
    assert own_quantisation(model.config)["quant_method"] == "gguf"


def test_weights_of_another_model_are_refused(path: Path) -> None:
    config = {**config_of(read_gguf(path)), "num_hidden_layers": 2}
    model = ModelSpec(
        name="two",
        max_context_tokens=1,
        licence=Licence(name="not asked"),
        weights=str(path),
        config=config,
    )
    with pytest.raises(InputError, match=r"holds 0\.001 B weights, and two has 0\.001 B"):
        resolve_model(model, frozenset({"model.weights", "model"}))


def test_a_split_file_is_read_whole(tmp_path: Path) -> None:
    first, second = (tmp_path / f"m-0000{i}-of-00002.gguf" for i in (1, 2))
    first.write_bytes(head(TENSORS[:3]))
    with pytest.raises(InputError, match="one of 2 files, m-00002-of-00002"):
        read_gguf(first)
    second.write_bytes(head(TENSORS[3:]))
    assert read_gguf(first).bytes == sum(STORED.values())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04", "does not begin with GGUF"),
        (b"", "ends within its head"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version is 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**40, 0), "tensors are more than any model has"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**40), "keys are more than any model has"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**60), "bytes of a text"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 4, 2**50),
            "items of a list",
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 4, 10**6),
            "ends within its head",
        ),
        # A list within a list within a list.
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + NESTED,
            "unknown kind 9",
        ),
        (head([("a.weight", (32,), 99)]), "'a.weight' has type 99"),
        (head([("a.weight", (33,), "Q8_0")]), "cannot be Q8_0"),
        (head([("a.weight", (2**60, 0, 2**60), "F32")]), "cannot be F32"),
        (head()[:-40], "it is not whole"),
    ],
)
def test_what_is_no_gguf_file_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    with pytest.raises(InputError, match=said):
        read_gguf(path)


def test_keys_of_an_unknown_architecture_ask_for_the_model(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(head(keys={**KEYS, "general.architecture": "rwkv6"}))
    with pytest.raises(InputError, match=r"'rwkv6' GGUF file are not read here\. Name"):
        config_of(read_gguf(path))
