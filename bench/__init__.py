"""A measuring instrument for self-hosted LLM inference.

    import bench
    run = bench.load("latest")         # a stored run; run.points, run.requests: pandas tables
    bench.fit(model="llama-3.1-8b", gpu="h100-sxm", gpus=1)
    bench.tco(run, tco="cpu-host")

`bench.api` says more. Nothing of it is imported before it is used: the command line starts fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.api import StoredRun, fit, load, runs, tco

__version__ = "0.1.0"
__all__ = ["StoredRun", "__version__", "fit", "load", "runs", "tco"]


def __getattr__(name: str) -> object:
    if name in __all__:
        import bench.api

        return getattr(bench.api, name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
