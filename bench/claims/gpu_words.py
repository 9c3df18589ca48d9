"""GPUs as sources write them, in the catalogue's words: `NVIDIA H100 SXM5 80GB` is h100-sxm."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAKERS = ("nvidia", "amd", "instinct", "geforce", "tesla")
SIZED = ("a100",)
"""GPUs that the catalogue tells apart by their memory."""


@dataclass(frozen=True, kw_only=True)
class GpuWords:
    """A GPU's name, its form factor and memory where the words hold them, and how many share one
    rack or board by its name (NVL72: 72)."""

    gpu: str
    form_factor: str | None
    memory_gb: float | None
    together: int | None


def read_gpu(gpu: str, form_factor: str | None) -> GpuWords:
    """The words taken apart; what is not understood stays in the name, for the catalogue to
    refuse."""
    words = [w for w in _split(gpu) if w not in MAKERS]
    form, memory, together = None, None, None
    rest = []
    for word in (*words, *_split(form_factor or "")):
        size = re.fullmatch(r"(\d+)(?:gb|g)", word)
        rack = re.fullmatch(r"nvl(\d+)", word)
        if size is not None:
            memory = float(size.group(1))
        elif rack is not None:
            together = int(rack.group(1))
        elif re.fullmatch(r"(?:hgx-)?sxm\d?", word):
            form = "sxm"
        elif word in ("pcie", "nvl") or word == form_factor:
            form = word
        else:
            rest.append(word)
    name = "-".join(rest)
    if name in SIZED and memory is not None:
        name, memory = f"{name}-{memory:g}gb", None
    return GpuWords(gpu=name, form_factor=form, memory_gb=memory, together=together)


def _split(text: str) -> list[str]:
    """Words in lower case; what is written together (gb200nvl72, rtx4090) stands apart."""
    plain = re.sub(r"(?<=\d)(?=nvl\d)|(?<=rtx)(?=\d)", "-", text.strip().casefold())
    plain = re.sub(r"(?<=\d)\s(?=gb?\b)", "", plain)
    return [w for w in re.split(r"[\s_-]+", plain) if w]
