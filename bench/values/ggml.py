"""The tensor types of GGUF files: how many weights a block holds and how many bytes it takes."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Weights in one block and bytes of one block, by the number that files hold (ggml.h; the same as
# GGML_QUANT_SIZES of the gguf package 0.17).
TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}

DYNAMIC = (
    " a dynamic GGUF has a type per tensor that was chosen for that one model; its name does not "
    "say which. Give the file itself with model.weights=FILE.gguf."
)


def is_dynamic(name: str) -> bool:
    """Whether a file of that name has types that no rule gives: UD-Q4_K_XL, Q3_K_XL."""
    plain = name.casefold().replace("-", "_")
    return bool(re.fullmatch(r"ud_(iq|q|tq)\d\w*|q\d_k_xx?l|q[^3]_k_l", plain))
