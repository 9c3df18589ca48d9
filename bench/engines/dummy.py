"""A model directory from configuration alone: config.json and a tokenizer, no weights.

vLLM's `--load-format dummy` fills it with random weights: the same bytes move, so speed, memory
and power are real; there is no quality to score. The tokenizer covers every id of the vocabulary,
since a random model emits any of them and a streamed answer needs text for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.values.errors import InputError
from bench.values.json_text import json_text
from bench.values.spec import ModelSpec, QuantSpec

_CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
)


def write_model(model: ModelSpec, quant: QuantSpec, directory: Path) -> None:
    """Write everything but the weights of `model` in `quant` into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    config = hf_config(model, quant)
    tokenizer, tokenizer_config = tokenizer_files(config, model.max_context_tokens)
    files = {
        "config.json": config,
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": tokenizer_config,
        "generation_config.json": {},  # no sampling defaults but those of the requests
    }
    for name, content in files.items():
        (directory / name).write_text(json_text(content, ensure_ascii=False))


def hf_config(model: ModelSpec, quant: QuantSpec) -> dict[str, Any]:
    """The model's config.json with the quantisation that its checkpoint for `quant` carries.

    That is the native one where the checkpoint is the native one under another name (FP8 of a
    model published in FP8), then the checkpoint's own, then the general one of `quant`.
    """
    config = dict(model.config)
    native, chosen = model.checkpoints.get("none"), model.checkpoints.get(quant.name)
    if native and chosen and (native.repo, native.revision) == (chosen.repo, chosen.revision):
        return config
    carried = (chosen and chosen.quantization_config) or quant.hf_quantization_config
    if carried is not None:
        config["quantization_config"] = dict(carried)
    return config


def tokenizer_files(
    config: Mapping[str, Any], max_context_tokens: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """tokenizer.json and tokenizer_config.json: byte-level BPE without merges.

    Text encodes to its bytes; the ids above them decode to a word of their own (" t4711").
    """
    text = config.get("text_config") or config
    size = text.get("vocab_size")
    if not isinstance(size, int) or size < 260:
        raise InputError("model.config.vocab_size: dummy weights need at least 260 tokens.")
    special = _special_ids(text, size)
    free = (i for i in range(size) if i not in special)
    # The bytes take the lowest free ids, so that every text can be encoded.
    vocab = {character: next(free) for character in _byte_alphabet()}
    vocab |= {f"Ġt{i}": i for i in free}
    vocab |= {name: i for i, name in special.items()}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token(i, name) for i, name in sorted(special.items())],
        "normalizer": None,
        "pre_tokenizer": _byte_level(),
        "post_processor": None,
        "decoder": _byte_level(),
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    }
    names = {i: name for i, name in special.items() if name in ("<s>", "</s>")}
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_context_tokens,
        "clean_up_tokenization_spaces": False,
        "chat_template": _CHAT_TEMPLATE,
        "eos_token": "</s>",
        **({"bos_token": "<s>"} if "<s>" in names.values() else {}),
    }
    return tokenizer, tokenizer_config


def _special_ids(text: Mapping[str, Any], size: int) -> dict[int, str]:
    """Name by id of the special tokens that the configuration gives, </s> at least."""
    eos = text.get("eos_token_id")
    ends = [i for i in (eos if isinstance(eos, list) else [eos]) if isinstance(i, int) and i < size]
    special = {i: f"<end{n}>" for n, i in enumerate(ends)}
    special[ends[0] if ends else size - 1] = "</s>"
    bos = text.get("bos_token_id")
    if isinstance(bos, int) and bos < size and bos not in special:
        special[bos] = "<s>"
    return special


def _byte_alphabet() -> list[str]:
    """The character that stands for each byte in byte-level BPE, in the order of the bytes.

    Printable Latin-1 stands for itself; the others are moved up to U+0100 and beyond (GPT-2).
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    moved = iter(range(0x100, 0x200))
    return [chr(b) if b in printable else chr(next(moved)) for b in range(256)]


def _byte_level() -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def _added_token(number: int, name: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": name, **flags, "special": True}
