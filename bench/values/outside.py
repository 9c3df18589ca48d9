"""Text that comes from outside, made fit to be stored and shown: one gate for every source of it.

Names of models, error bodies, log lines and answers of servers may hold escape sequences that move
a terminal's cursor, direction marks that turn a line around, or a megabyte. Whatever takes such a
text in passes it through `plain` once.
"""

from __future__ import annotations

import errno
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.values.errors import InputError

MOST_FILE_BYTES = 256 * 2**20

LIMIT = 2_000
"""Characters that are kept of one text from outside, unless its reader says otherwise."""

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|.?)",
    re.DOTALL,
)
"""Control sequences of ECMA-48 (CSI, OSC and other strings, two-character escapes), each whole."""

_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""C0 and C1 but tab and newline; marks of direction and of no width; halves of surrogate pairs."""


def plain(text: str, limit: int = LIMIT) -> str:
    """`text` without what only a terminal or a renderer acts on, cut at `limit` characters."""
    shown = _CONTROLS.sub("", _ESCAPES.sub("", text[: 4 * limit]))
    return shown if len(shown) <= limit and len(text) <= 4 * limit else f"{shown[:limit]}…"


def regular(path: Path) -> Path:
    """`path`, if it is a regular file: a FIFO would be waited for, a device may have no end.

    Raises OSError where it is none, or is not there: whoever reads a file expects that one.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "is no file", str(path))
    return path


def text_file(path: str | Path, key: str, most_bytes: int = MOST_FILE_BYTES) -> str:
    """The text of a user's file; InputError, in one line under `key`, where it is none."""
    try:
        with regular(Path(path).expanduser()).open("rb") as file:
            content = file.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise InputError(f"{key}: {path}: larger than {most_bytes:,} bytes.")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{key}: {path} is not a text file.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{key}: {path}: {getattr(error, 'strerror', None) or error}.") from error


def plain_data(value: Any, limit: int = LIMIT) -> Any:
    """The same of every text in parsed data, names of keys included."""
    if isinstance(value, str):
        return plain(value, limit)
    if isinstance(value, Mapping):
        return {plain(str(k), limit): plain_data(v, limit) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(v, limit) for v in value]
    return value
