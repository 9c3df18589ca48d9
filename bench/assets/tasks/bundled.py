"""The bundled tasks' data as lm-eval wants it: read from this folder, wherever it is run from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_DATA = Path(__file__).parent / "data"


def facts_mc(**_: Any) -> dict[str, Any]:
    """Multiple choice over the facts of the tiny model's world: 960 items of 4 choices."""
    return _split("facts_mc")


def facts_gen(**_: Any) -> dict[str, Any]:
    """The same facts to be generated: 480 items with one right word each."""
    return _split("facts_gen")


def text_heldout(**_: Any) -> dict[str, Any]:
    """60 stories that the tiny model was not trained on."""
    return _split("text_heldout")


def _split(name: str) -> dict[str, Any]:
    from datasets import Dataset  # only lm-eval's own process needs it

    with (_DATA / f"{name}.jsonl").open(encoding="utf-8") as file:
        return {"test": Dataset.from_list([json.loads(line) for line in file])}
