"""YAML from a user's files, read without trusting it: size, depth and aliases have limits.

An alias repeats what it names, and nine lines of ten aliases each make a thousand million values.
Here the events of a file are counted, aliases with all that they stand for, before anything is
built of it. One reader for all YAML that is not shipped; Hydra's own is preceded by it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.values.errors import InputError, nearest
from bench.values.outside import plain

MOST_BYTES = 4 * 2**20
MOST_VALUES = 200_000
MOST_DEPTH = 50
_OTHER_BASE = re.compile(r"[-+]?(?:0[0-7_]+|[1-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)")
"""What YAML 1.1 reads in base 8 or 60 and nobody means so: 010 is 8 and 1:30 is 90."""


def load(path: Path) -> Any:
    """The parsed content; InputError in one line that names the file."""
    import yaml

    text = _text(path)
    check_text(text, str(path))
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, loader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: {_said(error)}.") from error


def check_text(text: str, name: str) -> None:
    """InputError for YAML that is broken, too deep or, with its aliases expanded, too large."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    sizes: dict[str, int] = {}
    open_anchors: list[tuple[str | None, int]] = []
    total = 0
    try:
        for event in yaml.parse(text, loader):
            if isinstance(event, yaml.AliasEvent):
                if event.anchor not in sizes:
                    raise InputError(f"{name}: *{event.anchor} names no finished value before it.")
                total += sizes[event.anchor]
            elif isinstance(event, yaml.CollectionStartEvent):
                open_anchors.append((event.anchor, total))
                total += 1
                if len(open_anchors) > MOST_DEPTH:
                    raise InputError(f"{name}: nested deeper than {MOST_DEPTH} levels.")
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, before = open_anchors.pop()
                if anchor is not None:
                    sizes[anchor] = total - before
            elif isinstance(event, yaml.ScalarEvent):
                total += 1
                if event.implicit[0] and _OTHER_BASE.fullmatch(event.value):
                    mark = event.start_mark
                    line = "" if mark is None else f"line {mark.line + 1}: "
                    raise InputError(f"{name}: {line}{_other_base(event.value)}.")
                if event.anchor is not None:
                    sizes[event.anchor] = 1
            if total > MOST_VALUES:
                raise InputError(f"{name}: more than {MOST_VALUES:,} values, aliases expanded.")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{name}: {_said(error)}.") from error


def _yaml_below(root: Path) -> list[Path]:
    def closed(error: OSError) -> None:
        raise InputError(f"--config-dir: {error.filename}: {error.strerror}.")

    found = [Path(at, name) for at, _, names in os.walk(root, onerror=closed) for name in names]
    return sorted(path for path in found if path.suffix == ".yaml")


def check_folders(folders: Sequence[str], overrides: Sequence[str] = ()) -> None:
    """Every YAML file of a user's configuration folders, before Hydra reads any. A cost question
    that cannot be read is passed over where nothing names it: Hydra reads what is named alone."""
    for folder in folders:
        root = Path(folder)
        if not root.is_dir():
            why = "is no folder" if root.exists() else "does not exist"
            raise InputError(f"--config-dir: {folder} {why}.")
        for path in _yaml_below(root):
            try:
                if not isinstance(load(path), dict):
                    raise InputError(f"{path}: a file of keys and values is expected.")
            except InputError:
                if path.parent != root / "tco" or _is_named(path, folders, overrides):
                    raise


def _is_named(question: Path, folders: Sequence[str], overrides: Sequence[str]) -> bool:
    """Whether a word or another file of these folders may have Hydra read a question; the shipped
    files name their own."""
    from bench.config.compose import conf_dir

    name = re.compile(rf"(?<![\w-]){re.escape(question.stem)}(?![\w-])")
    if any(o.lstrip("+").startswith("tco") and name.search(o) for o in overrides):
        return True
    if question.stem in {p.stem for p in (conf_dir() / "tco").glob("*.yaml")}:
        return True
    others = [p for folder in folders for p in _yaml_below(Path(folder)) if p != question]
    return any(name.search(said) for p in others for said in _defaults(p))


def _defaults(path: Path) -> list[str]:
    """The entries of a file's defaults list, as text; none of a file that cannot be read."""
    try:
        data = load(path)
    except InputError:
        return []
    listed = data.get("defaults") if isinstance(data, dict) else None
    return [str(entry) for entry in listed] if isinstance(listed, list) else []


def _text(path: Path) -> str:
    try:
        if not path.is_file():  # a FIFO would wait for ever
            raise InputError(f"{path}: {_is_no_file(path)}")
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: larger than {MOST_BYTES:,} bytes.")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}.") from error


def _is_no_file(path: Path) -> str:
    """What is wrong with a path, and the YAML file beside it that was probably meant."""
    if path.exists():
        return "is no file."
    beside = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    hint = nearest(path.name, beside)
    return f"there is no such file.{hint if 'Did you mean' in hint else ''}"


def _other_base(text: str) -> str:
    base = "60" if ":" in text else "8"
    return f"{text} is a number in base {base} to YAML: quote it, or write it plainly"


def _said(error: Exception) -> str:
    """A parser's complaint in one line: what, and where."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error) or type(error).__name__
    where = "" if mark is None else f" in line {mark.line + 1}"
    return plain(" ".join(str(problem).split()), 300) + where
