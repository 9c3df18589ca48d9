"""Precisions as sources name them: the fewest bits a weight can have, and what multiplies it.

A source's word leaves much unsaid (scales, what stays in 16 bits, the activations), so the reading
here is the one that lets the hardware do most: every weight in the fewest bits that the word
allows, and the fastest units that can multiply such numbers. Peaks are dense and per GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.sizing.formats import WeightFormat
from bench.values.spec import GpuSpec, ModelSpec

SMALLEST_BITS = 1.5625
"""Bits per weight of IQ1_S, the smallest format that a public engine serves (llama.cpp, 50 bytes
for 256 weights, https://github.com/ggml-org/llama.cpp, ggml-common.h)."""
SMALLEST_KV_BITS = 2.0
"""Bits per cache element of the smallest cache a public engine offers (transformers' quantised
cache with 2 bits, after KIVI, https://arxiv.org/abs/2402.02750)."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """`weight_bits` is the fewest a weight can have; `units` the peaks of `GpuSpec` that may be
    used, of which the highest counts."""

    name: str
    weight_bits: float
    units: tuple[str, ...]


_16 = ("bf16_tflops",)
FP8_UNITS = ("fp8_tflops", "bf16_tflops")
_8 = ("fp8_tflops", "int8_tops", "bf16_tflops")
_FP4 = ("fp4_tflops", *_8)
_ALL = ("int4_tops", *_FP4)

ATTENTION = Precision(name="attention", weight_bits=16.0, units=_FP4)
"""Attention may run in fewer bits than weights have (8-bit FlashAttention 3, FP4 SageAttention 3),
which no source says."""

UNSAID = Precision(name="unsaid", weight_bits=SMALLEST_BITS, units=_ALL)

# The bits of the formats, scales and what stays larger left out. 4-bit integers are kept with
# 16-bit activations, but kernels that quantise those to 8 bits while they run exist (QServe,
# Marlin), and nobody calls the checkpoint otherwise.
PRECISIONS: Mapping[str, Precision] = {
    name: Precision(name=name, weight_bits=bits, units=units)
    for names, bits, units in (
        ("fp32 float32", 32.0, _16),
        ("bf16 bfloat16 fp16 float16 half", 16.0, _16),
        ("fp8 fp8-dynamic fp8-e4m3 fp8-block e4m3 float8 mxfp8", 8.0, FP8_UNITS),
        ("int8 w8a8 smoothquant", 8.0, ("int8_tops", "bf16_tflops")),
        ("w8a16 int8-weights 8-bit 8bit", 8.0, _8),
        ("fp6 mxfp6 w6a6", 6.0, _FP4),
        ("nvfp4", 4.5, _ALL),
        ("mxfp4 mxfp4a8", 4.25, _ALL),
        ("w4a4 fp4 4-bit 4bit", 4.0, _ALL),
        ("awq gptq int4 int4-awq awq-int4 int4-gptq w4a16 w4a8 nf4 bnb-4bit q4", 4.0, _8),
        ("q8_0", 8.5, _8),
        ("q6_k", 6.5, _8),
        ("q5_k_m q5_k_s q5_k_xl q5_0 q5_1", 5.5, _8),
        ("q4_k_m q4_k_s q4_k_xl q4_0 q4_1 iq4_xs iq4_nl", 4.25, _8),
        ("q3_k_m q3_k_s q3_k_l q3_k_xl iq3_xxs iq3_xs iq3_s iq3_m", 3.06, _8),
        ("q2_k q2_k_s q2_k_xl q2_k_l iq2_xxs iq2_xs iq2_s iq2_m", 2.06, _8),
        ("iq1_m", 1.75, _8),
        ("iq1_s tq1_0 1.58-bit", SMALLEST_BITS, _8),
    )
    for name in names.split()
}


def precision(word: str | None, model: ModelSpec | None = None) -> Precision | None:
    """The precision a source names: `none` is the model's own data type, None of the source is
    `UNSAID`; None for a word that is not known."""
    if word is None:
        return UNSAID
    plain = word.strip().casefold().replace(" ", "-").removeprefix("ud-")
    if plain == "none":
        native = "bfloat16" if model is None else model.native_dtype.casefold()
        return PRECISIONS.get(native)
    return PRECISIONS.get(plain)


def precision_of(word: str, model: ModelSpec, fmt: WeightFormat) -> Precision | None:
    """The precision of weights served as `fmt`, which a file or the engine may hold in fewer bits
    than the quantisation's name says (a GGUF file, --quantization)."""
    named = precision(word, model)
    others = (other.bits for _, other in fmt.rules)
    given = (fmt.bits, *others, *(fmt.by_role or {}).values())
    bits = min((b for b in given if b is not None), default=16.0)
    if named is None or bits > named.weight_bits - 0.5:
        return named
    return Precision(name=fmt.name, weight_bits=bits, units=_ALL if bits <= 4.5 else _8)


def peak(gpu: GpuSpec, wanted: Precision) -> float | None:
    """The most operations per second of one GPU at this precision; None where none is published."""
    known = [v for unit in wanted.units if (v := getattr(gpu, unit)) is not None]
    return max(known) * 1e12 if known else None
