"""Reading the head of a GGUF file: what model it says it is, and every tensor's type and size.

Only the head is read, never a weight. The file is not trusted: every count and length is bounded
before anything is read by it, and offsets are held against the file's size. Layout:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bench.values.errors import InputError, nearest
from bench.values.ggml import TYPES
from bench.values.outside import regular

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
_SCALARS |= {12: "d"}
_STRING, _ARRAY = 8, 9
# Far above what any public file has (a vocabulary of 262,144 words, 2,000 tensors).
MOST_KEYS, MOST_TENSORS, MOST_ITEMS, MOST_TEXT = 10_000, 100_000, 8_000_000, 16 * 2**20
MOST_HEAD_BYTES = 512 * 2**20
# Arrays up to this are kept (heads per layer); longer ones are passed over.
_KEPT_ITEMS = 4096


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor: `weights` numbers stored in `bytes` as `kind`."""

    name: str
    kind: str
    weights: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class GgufFile:
    """The head of a file, or of all parts of a split one. Long arrays stand as their length."""

    keys: Mapping[str, Any]
    tensors: tuple[Tensor, ...]

    @property
    def architecture(self) -> str:
        return str(self.keys.get("general.architecture") or "")

    @property
    def weights(self) -> int:
        return sum(t.weights for t in self.tensors)

    @property
    def bytes(self) -> int:
        return sum(t.bytes for t in self.tensors)


def is_gguf(path: str) -> bool:
    return path.lower().endswith(".gguf")


def read_gguf(path: str | Path) -> GgufFile:
    """The head of a GGUF file and of the other parts where it is split; InputError otherwise."""
    parts = [_read_one(part) for part in _parts(Path(path).expanduser())]
    tensors = tuple(t for _, found in parts for t in found)
    if not tensors:
        raise InputError(f"model.weights: {path} holds no tensors.")
    return GgufFile(keys=parts[0][0], tensors=tensors)


def _parts(path: Path) -> Sequence[Path]:
    """NAME-00001-of-00003.gguf stands for all three, which must be there."""
    found = re.fullmatch(r"(.*)-(\d{5})-of-(\d{5})\.gguf", path.name)
    if found is None:
        return [path]
    count = int(found[3])
    names = [f"{found[1]}-{i:05}-of-{count:05}.gguf" for i in range(1, min(count, 1000) + 1)]
    missing = next((name for name in names if not path.with_name(name).is_file()), None)
    if missing:
        raise InputError(
            f"model.weights: {path.name} is one of {count} files, {missing} is not here."
        )
    return [path.with_name(name) for name in names]


def _read_one(path: Path) -> tuple[Mapping[str, Any], list[Tensor]]:
    try:
        size = regular(path).stat().st_size
        with path.open("rb") as file:
            head = _Head(file, path, min(size, MOST_HEAD_BYTES))
            keys, tensors = head.read()
            end = head.data_start(keys) + head.data_end
    except OSError as error:
        raise InputError(f"model.weights: {path} cannot be read ({error.strerror}).") from error
    if end > size:
        raise InputError(
            f"model.weights: {path} is {size:,} bytes long and its tensors end at {end:,}: it is "
            "not whole. Fetch it anew."
        )
    return keys, tensors


class _Head:
    """A cursor over the head of one file. Every read is held against what is left."""

    def __init__(self, file: BinaryIO, path: Path, size: int) -> None:
        self.file, self.path, self.left = file, path, size
        self.at = 0
        self.data_end = 0

    def bad(self, what: str) -> InputError:
        return InputError(f"model.weights: {self.path} is no GGUF file that can be read: {what}.")

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise self.bad("it ends within its head")
        data = self.file.read(count)
        if len(data) != count:
            raise self.bad("it ends within its head")
        self.left -= count
        self.at += count
        return data

    def number(self, form: str) -> Any:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0]

    def count(self, form: str, most: int, what: str) -> int:
        value = int(self.number(form))
        if value > most:
            raise self.bad(f"{value:,} {what} are more than any model has")
        return value

    def text(self) -> str:
        length = self.count("Q", MOST_TEXT, "bytes of a text")
        return self.take(length).decode("utf-8", errors="replace")

    def read(self) -> tuple[dict[str, Any], list[Tensor]]:
        if self.take(4) != b"GGUF":
            raise self.bad("it does not begin with GGUF")
        version = self.number("I")
        if version not in (2, 3):
            raise self.bad(f"its version is {version}, known are 2 and 3 (little-endian)")
        tensors = self.count("Q", MOST_TENSORS, "tensors")
        keys = self.count("Q", MOST_KEYS, "keys")
        found = {}
        for _ in range(keys):
            name = self.text()
            found[name] = self.value(self.number("I"))
        return found, [self.tensor() for _ in range(tensors)]

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY or depth > 1:
            raise self.bad(f"a key has a value of unknown kind {kind}")
        of = self.number("I")
        length = self.count("Q", MOST_ITEMS, "items of a list")
        if of in _SCALARS:
            data = self.take(length * struct.calcsize(f"<{_SCALARS[of]}"))
            if length > _KEPT_ITEMS:
                return length
            return list(struct.unpack(f"<{length}{_SCALARS[of]}", data))
        kept = []
        for _ in range(length):
            item = self.value(of, depth + 1)
            if length <= _KEPT_ITEMS:
                kept.append(item)
        return kept if length <= _KEPT_ITEMS else length

    def tensor(self) -> Tensor:
        name = self.text()
        sides = [int(self.number("Q")) for _ in range(self.count("I", 4, "sides of a tensor"))]
        kind, offset = self.number("I"), int(self.number("Q"))
        if kind not in TYPES:
            known = ", ".join(t[0] for t in TYPES.values())
            raise self.bad(f"tensor {name!r} has type {kind}, known are {known}")
        label, block, size = TYPES[kind]
        weights = math.prod(sides)
        if not 0 < weights < 2**50 or sides[0] % block:
            raise self.bad(f"tensor {name!r} of {sides} numbers cannot be {label}")
        stored = weights // block * size
        self.data_end = max(self.data_end, offset + stored)
        return Tensor(name=name, kind=label, weights=weights, bytes=stored)

    def data_start(self, keys: Mapping[str, Any]) -> int:
        step = keys.get("general.alignment", 32)
        step = step if isinstance(step, int) and step > 0 else 32
        return -(-self.at // step) * step


# Decoders that llama.cpp and Hugging Face name differently; the rest of these has one name.
_ARCHITECTURES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen2moe": "qwen2_moe",
    "qwen3moe": "qwen3_moe",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "phi3": "phi3",
    "granite": "granite",
    "starcoder2": "starcoder2",
    "olmo2": "olmo2",
    "gpt-oss": "gpt_oss",
    "smollm3": "smollm3",
    "mistral3": "ministral3",
}
_KEYS = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "sliding_window": "attention.sliding_window",
    "num_experts": "expert_count",
    "num_local_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
}


def config_of(file: GgufFile) -> dict[str, Any]:
    """A config.json from the keys of a file; InputError where they are not known here."""
    kind = _ARCHITECTURES.get(file.architecture)
    if kind is None:
        close = nearest(file.architecture, _ARCHITECTURES)
        raise InputError(
            f"model.weights: the keys of a {file.architecture or 'nameless'!r} GGUF file are not "
            f"read here.{close if 'mean' in close else ''} Name the model beside it (model=NAME or "
            "model.path=DIR with its config.json): its tensors' sizes are taken from the file."
        )
    prefix = file.architecture
    found = {ours: file.keys.get(f"{prefix}.{theirs}") for ours, theirs in _KEYS.items()}
    experts = bool(found["num_experts"])
    config = {k: v for k, v in found.items() if v is not None and (experts or "expert" not in k)}
    # Mixtral and its kin are "llama" with experts there.
    if kind == "llama" and experts:
        kind = "mixtral"
    names = {t.name: t for t in file.tensors}
    table = names.get("token_embd.weight")
    if table is None:
        raise InputError(
            "model.weights: this GGUF file has no token_embd.weight: no language model."
        )
    config["vocab_size"] = table.weights // int(found["hidden_size"] or 1)
    config["tie_word_embeddings"] = "output.weight" not in names
    config["attention_bias"] = "blk.0.attn_output.bias" in names
    return {"model_type": kind, "torch_dtype": "bfloat16", **config}


def quantisation_of(file: GgufFile) -> dict[str, Any]:
    """The file's tensors summed by what they are, in the form of a `quantization_config`; `layers`
    has the bytes of each layer besides, -1 before the first, their number behind the last."""
    sums: dict[str, list[int]] = {}
    layers: dict[str, dict[str, int]] = {}
    count = 1 + max((_layer(t.name) or 0 for t in file.tensors), default=0)
    for tensor in file.tensors:
        role, layer = _role(tensor.name), _layer(tensor.name)
        one = sums.setdefault(role, [0, 0])
        one[0] += tensor.weights
        one[1] += tensor.bytes
        if layer is None:
            layer = count if tensor.name.startswith("output") else -1
        held = layers.setdefault(str(layer), {})
        held[role] = held.get(role, 0) + tensor.bytes
    roles = {role: {"weights": w, "bytes": b} for role, (w, b) in sums.items()}
    return {"quant_method": "gguf", "tensors": roles, "layers": layers}


def _layer(name: str) -> int | None:
    """The layer of `blk.7.attn_q.weight`; None outside of layers."""
    found = re.match(r"blk\.(\d{1,5})\.", name)
    return None if found is None else int(found[1])


def _role(name: str) -> str:
    """The role of a tensor in `bench.sizing.geometry`'s words."""
    if name in ("token_embd.weight", "output.weight"):
        return "embedding" if name.startswith("token") else "lm_head"
    for part, role in (
        ("norm", "norm"),
        ("_exps", "routed_expert"),
        ("_shexp", "shared_expert"),
        ("ffn_gate_inp", "router"),
        (".bias", "bias"),
        ("ssm_", "recurrent"),
        ("attn_", "attention"),
        ("ffn_", "dense_ffn"),
    ):
        if part in name:
            return role
    return "bias"
