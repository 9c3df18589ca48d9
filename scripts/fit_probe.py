"""A vLLM worker extension that says how many bytes of weights the worker loaded.

vLLM's CPU worker logs no weight memory, and its kernels replace weights by packed copies, so the
parameters are counted once, after loading and before that. Named to vLLM with
`--worker-extension-cls fit_probe.WeightBytes`; asked through its development endpoint
/collective_rpc (VLLM_SERVER_DEV_MODE=1).
"""

from __future__ import annotations

import sys
from typing import Any

if __name__ == "__main__":
    print(__doc__)  # an extension of vLLM's worker, no program
    sys.exit(0)

import vllm.model_executor.model_loader.base_loader as base_loader

_loaded: dict[str, int] = {}
_STEP = "process_weights_after_loading"  # a name vLLM imports there, not one it exports
_process_weights = vars(base_loader)[_STEP]


def _count_then_process(model: Any, *args: Any, **kwargs: Any) -> Any:
    # parameters() yields a tied matrix once.
    _loaded["bytes"] = sum(p.numel() * p.element_size() for p in model.parameters())
    _loaded["parameters"] = sum(p.numel() for p in model.parameters())
    return _process_weights(model, *args, **kwargs)


setattr(base_loader, _STEP, _count_then_process)


class WeightBytes:
    """Mixed into vLLM's worker."""

    def loaded_weights(self) -> dict[str, int]:
        """Bytes and parameters of the model as loaded; empty when loading was not seen."""
        return dict(_loaded)
