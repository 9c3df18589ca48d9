"""Write a deliberately damaged copy of a checkpoint: weights rounded to a few bits, stored dense.

    python scripts/rtn_control.py bench/assets/models/tiny OUT --bits 2
    bench model.weights=OUT quality=tiny

The positive control of the quality verdict: round-to-nearest without calibration must come out as
worse. The copy is served like the original, in its own data type: only the values are coarse, so
its speed says nothing.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def main() -> None:
    """Copy the folder and round the weights of every linear layer but the output head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--bits", type=int, default=2)
    parser.add_argument("--group", type=int, default=128)
    args = parser.parse_args()
    shutil.copytree(args.source, args.output)
    tensors = load_file(args.output / "model.safetensors")
    for name, weight in tensors.items():
        if "_proj." in name:
            tensors[name] = rounded(weight, args.bits, args.group)
    save_file(tensors, args.output / "model.safetensors", metadata={"format": "pt"})


def rounded(weight: torch.Tensor, bits: int, group: int) -> torch.Tensor:
    """Symmetric round-to-nearest in groups along the input, dequantised again."""
    top = 2 ** (bits - 1) - 1
    groups = weight.float().view(weight.shape[0], -1, group)
    scale = groups.abs().amax(-1, keepdim=True) / top
    steps = (groups / scale).round().clamp(-top - 1, top)
    return (steps * scale).view_as(weight).to(weight.dtype)


if __name__ == "__main__":
    main()
