"""A measuring instrument for self-hosted LLM inference.

    import bench
    run = bench.open_run("latest")     # a stored run; run.points, run.requests: pandas tables
    bench.fits(model="llama-3.1-8b", gpu="h100-sxm", gpus=1)
    bench.costs(run, tco="cpu-host")

`bench.api` says more. Nothing of it is imported before it is used: the command line starts fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.api import StoredRun, costs, fits, open_run, runs

__version__ = "0.1.0"
__all__ = ["StoredRun", "__version__", "costs", "fits", "open_run", "runs"]

_MEANT = {"load": "open_run", "fit": "fits", "tco": "costs"}
"""Packages whose names are also verbs, and the function that answers what the verb does."""


def __getattr__(name: str) -> object:
    if name in __all__:
        import bench.api

        return getattr(bench.api, name)
    if name in _MEANT:
        text = f"bench.{name} is a package (import bench.{name}.…); the function is bench."
        raise AttributeError(text + _MEANT[name])
    raise AttributeError(f"module 'bench' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
