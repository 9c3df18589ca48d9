"""Which kernel a quantised variant really ran on: why it is, or is no, faster."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.values.record import Run

# Names that say that weights are expanded, or that no specialised kernel took the layer.
_FALLBACK = re.compile(r"dequant|emulat|fallback|naive|reference", re.IGNORECASE)
# torch's own scaled matmul is a real FP8 kernel on GPUs; a CPU has none and computes wider.
_FALLBACK_CPU = re.compile(r"torch.*fp8|fp8.*torch", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """The kernels by their names in the engine's log, and whether that is a fallback.

    `names` is empty where the log names none (an unquantised model, or an engine without log);
    `note` is what is to be said of it, None for nothing.
    """

    names: tuple[str, ...]
    fallback: bool
    note: str | None


def kernel_of(run: Run) -> Kernel:
    """What the engine's log says about the quantised layers of a run."""
    quantised = run.spec.quant.name != "none"
    if run.spec.engine.kind == "none":
        note = "scored in-process: no engine ran, there is no speed to speak of"
        return Kernel(names=(), fallback=False, note=note)
    names = tuple((run.engine_facts or {}).get("quantisation_kernels") or ())
    slow = [n for n in names if _FALLBACK.search(n)]
    if run.spec.gpus == 0:
        slow += [n for n in names if _FALLBACK_CPU.search(n)]
    if slow:
        note = (
            f"{slow[0]} is a fallback: the weights are {run.spec.quant.name}, the arithmetic is "
            "not, so this speed is not that of a quantised kernel"
        )
        return Kernel(names=names, fallback=True, note=note)
    if quantised and not names and run.engine_facts is not None:
        note = "the engine's log names no kernel for the quantised layers"
        return Kernel(names=(), fallback=False, note=note)
    return Kernel(names=names, fallback=False, note=None)
