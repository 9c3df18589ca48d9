"""What a search for the highest load tried, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.page.blocks import Block, Section, Table, Text, number, rounded, word
from bench.report.page.material import Material
from bench.report.search_table import answer, load_unit


def search(m: Material) -> Section | None:
    """The answer in a sentence and every load tried, for each run that searched."""
    blocks: list[Block] = []
    for one in m.runs:
        found = one.run.load_search
        if found is not None:
            said = answer(found, one.measurement, load_unit(found))
            blocks += [Text(lead=m.name(one), text=f"{said}."), _tried(found, m.name(one))]
    return Section(name="search", heading="Load search", blocks=blocks) if blocks else None


def _tried(found: Mapping[str, Any], name: str) -> Table:
    seen = sorted({key for step in found["tried"] for key in step["seen"]})
    rows = [
        [
            number(step["load"], "g"),
            word(step["verdict"]),
            number(step["repeats"]),
            number(step["requests"]),
            *(rounded(step["seen"].get(key)) for key in seen),
            word(step["criterion"].replace("_", " ")),
        ]
        for step in found["tried"]
    ]
    columns = (
        load_unit(found),
        "verdict",
        "repeats",
        "requests",
        *(key.replace("_", " ") for key in seen),
        "nearest to its limit",
    )
    return Table(
        caption=f"{name}: every load tried for {found['criteria']}",
        columns=columns,
        rows=rows,
        left=(1, len(columns) - 1),
    )
