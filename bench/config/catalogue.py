"""What can be chosen, as values: models, quantisations and GPUs, and which GPU a device is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.values.errors import InputError
from bench.values.spec import GpuSpec, ModelSpec, QuantSpec

# NVML's total and the catalogue's differ by what ECC and the driver reserve; two sizes of one
# product (40 and 80 GB) differ by far more.
MEMORY_TOLERANCE = 0.08


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Every option of the groups a fit looks through, by name."""

    models: Mapping[str, ModelSpec] = field(default_factory=dict)
    quants: Mapping[str, QuantSpec] = field(default_factory=dict)
    gpus: Mapping[str, GpuSpec] = field(default_factory=dict)

    def folder_quants(self) -> tuple[QuantSpec, ...]:
        """The quantisations that a checkpoint folder can have: not GGUF's, which are files."""
        return tuple(q for q in self.quants.values() if not q.is_gguf)

    def planning_gpus(self) -> tuple[GpuSpec, ...]:
        """The entries that are a GPU with known memory (not `auto`, not a CPU)."""
        known = (g for g in self.gpus.values() if g.kind == "gpu")
        return tuple(g for g in known if g.memory_gib is not None or g.memory_gb is not None)


def match_gpu(nvml_name: str, memory_total_bytes: int, gpus: Mapping[str, GpuSpec]) -> GpuSpec:
    """The catalogue's entry for a device, by NVML's exact name and its memory.

    Never assumes: an unknown name, or a known one with another memory size, is an InputError that
    names the device and says what to write.
    """
    gib = memory_total_bytes / 1024**3
    name = " ".join(nvml_name.split())
    named = [
        g
        for g in gpus.values()
        if g.kind == "gpu" and name.casefold() in {n.casefold() for n in g.nvml_names}
    ]
    close = [g for g in named if _same_memory(g, gib)]
    if len(close) == 1:
        return close[0]
    if len(close) > 1:
        options = " or ".join(f"gpu={g.name}" for g in close)
        raise InputError(f"gpu=auto: {name!r} ({gib:.1f} GiB) could be {options}: choose one.")
    if named:
        sizes = ", ".join(f"{g.name} {g.memory_gib or g.memory_gb}" for g in named)
        raise InputError(
            f"gpu=auto: {name!r} reports {gib:.1f} GiB, the catalogue knows it as {sizes}: a "
            "partition (MIG) or another variant. Write conf/gpu/NAME.yaml for it and use gpu=NAME."
        )
    raise InputError(
        f"gpu=auto: {name!r} ({gib:.1f} GiB) is not in the catalogue. Choose a close gpu=… "
        f"yourself, or write conf/gpu/NAME.yaml with nvml_names: [{name}] from its datasheet."
    )


def _same_memory(gpu: GpuSpec, gib: float) -> bool:
    known = gpu.memory_gib if gpu.memory_gib is not None else gpu.memory_gb
    return known is not None and abs(known - gib) <= MEMORY_TOLERANCE * known
