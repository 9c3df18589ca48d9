"""What tells a place that fsspec knows from a folder of this machine."""

from __future__ import annotations

import re


def is_address(results_dir: str) -> bool:
    """Whether `results_dir` is `scheme://…`."""
    return re.match(r"[A-Za-z][\w+.-]*://", results_dir) is not None
