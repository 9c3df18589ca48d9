"""Where everything is printed."""

from __future__ import annotations

from rich.console import Console

_PIPED = 400


def console() -> Console:
    """Standard output; no width breaks a table when it is not a terminal."""
    probe = Console()
    return probe if probe.is_terminal else Console(width=_PIPED)
