"""Write a deliberately damaged copy of a checkpoint: weights rounded to 3 bits, stored dense.

    python scripts/rtn_control.py bench/assets/models/tiny OUT
    bench engine=none quality=tiny
    bench engine=none quality=tiny model.weights=OUT
    bench compare RUN RUN

The positive control of the quality verdict: round-to-nearest without calibration, with one scale
per matrix, must come out as worse. The copy is served like the original, in its own data type: only
the values are coarse, so its speed says nothing.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def main() -> None:
    """Copy the folder and round the weights of every linear layer but the output head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--bits", type=int, default=3)
    parser.add_argument("--group", type=int, help="weights that share a scale; default: all")
    args = parser.parse_args()
    from safetensors.torch import load_file, save_file

    shutil.copytree(args.source, args.output)
    tensors = load_file(args.output / "model.safetensors")
    for name, weight in tensors.items():
        if "_proj." in name:
            tensors[name] = rounded(weight, args.bits, args.group)
    save_file(tensors, args.output / "model.safetensors", metadata={"format": "pt"})


def rounded(weight: torch.Tensor, bits: int, group: int | None) -> torch.Tensor:
    """Symmetric round-to-nearest in groups along the input (None: in one), dequantised again."""
    top = 2 ** (bits - 1) - 1
    groups = weight.float().reshape(-1, group or weight.numel())
    scale = groups.abs().amax(-1, keepdim=True) / top
    steps = (groups / scale).round().clamp(-top, top)
    return (steps * scale).view_as(weight).to(weight.dtype)


if __name__ == "__main__":
    main()
