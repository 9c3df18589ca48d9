"""What an engineer wants to check: the certificate, formulae, inputs, and how to do it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from bench.compare.variant import Measured
from bench.power.table import EVERY_METRIC
from bench.report.numbers import load_words, quantity
from bench.report.page.blocks import (
    MOODS,
    Block,
    Cell,
    Fold,
    Glossary,
    Listing,
    Section,
    Table,
    Text,
    word,
)
from bench.report.page.material import Material, found_where
from bench.report.page.questions import QUESTIONS
from bench.report.words import WORDS, pieces
from bench.values.codec import encode
from bench.values.finding import Finding

_ORDER = {"pass": 0, "info": 1, "warn": 2, "fail": 3}


def certificate(m: Material) -> Section | None:
    """Every check at every load point, and the text of each."""
    blocks: list[Block] = [
        Text(
            text="PASS: as it should be. INFO: to be known. WARN: the numbers stand, with this "
            "doubt. FAIL: the numbers of this load point (or its energy alone) are withheld."
        )
    ]
    for one in m.runs:
        if one.measurement.points:
            name = m.name(one)
            blocks.append(
                Fold(title=f"Every check at every load: {name}", blocks=[_matrix(one, name)])
            )
        blocks += _texts(one, m.name(one))
    if len(blocks) == 1:
        return None
    return Section(name="certificate", heading="Validity certificate", blocks=blocks)


def _matrix(one: Measured, name: str) -> Table:
    points = one.measurement.points
    codes = dict.fromkeys(f.code for p in points for f in p.findings)
    rows = []
    for code in codes:
        cells = [Cell(text=code, note=QUESTIONS.get(code, ""))]
        for p in points:
            found = [f for f in p.findings if f.code == code]
            worst = max(found, key=lambda f: _ORDER[f.severity]) if found else None
            cells.append(word(None) if worst is None else _cell(worst))
        rows.append(cells)
    columns = ("check", *(load_words(p) for p in points))
    return Table(
        caption=f"{name}: every check at every load point",
        columns=columns,
        rows=rows,
        left=range(len(columns)),
    )


def _cell(f: Finding) -> Cell:
    """The outcome with the figure it rests on where that has a unit; the sentences say the rest."""
    figure = ""
    if f.figure is not None and f.unit is not None:
        figure = f"{f.figure:.1%}" if f.unit == "1" else f"{quantity(f.figure)} {f.unit}"
    return Cell(text=f.severity.upper(), mood=MOODS[f.severity], note=figure or _of_energy(f))


def _of_energy(f: Finding) -> str:
    """Said beside a failure that leaves the speed standing."""
    return "of the energy alone" if f.severity == "fail" and f.withholds == "energy" else ""


def _texts(one: Measured, name: str) -> list[Block]:
    """Each sentence once, the gravest first, with the load points that have it; passes folded."""
    where: dict[Finding, list[str]] = {}
    for place, f in found_where(one, "run"):
        where.setdefault(replace(f, figure=None, unit=None), []).append(place)
    rows = {
        passed: [
            [
                Cell(text=f.severity.upper(), mood=MOODS[f.severity], note=_of_energy(f)),
                word(f.code),
                word(f.text),
                word(", ".join(places)),
            ]
            for f, places in sorted(where.items(), key=lambda i: -_ORDER[i[0].severity])
            if (f.severity == "pass") == passed
        ]
        for passed in (False, True)
    }
    columns = ("outcome", "check", "finding", "where")
    blocks: list[Block] = []
    if rows[False]:
        caption = f"{name}: what is to be known of the checks that did not simply pass"
        blocks.append(
            Table(caption=caption, rows=rows[False], left=range(4), columns=columns, prose=True)
        )
    if rows[True]:
        table = Table(
            caption=f"{name}: what passed",
            rows=rows[True],
            left=range(4),
            columns=columns,
            prose=True,
        )
        blocks.append(Fold(title=f"What the checks that passed found: {name}", blocks=[table]))
    return blocks


def words(above: str) -> Section:
    """What the words of the page mean, for who has not read them before: those that occur in the
    text `above`, for a page of claims needs no 50."""
    met = {word for _, word in pieces(above) if word is not None}
    met |= {word for word in WORDS if word.term in "±–" and word.term in above}
    return Section(
        name="words", heading="Words", blocks=[Glossary(words=[w for w in WORDS if w in met])]
    )


def formulae(m: Material) -> Section | None:
    """Every formula and every input, behind folds."""
    blocks: list[Block] = []
    if m.runs:
        rows = [[word(d.name), word(d.unit), word(d.formula)] for d in EVERY_METRIC]
        table = Table(
            caption="Metrics and their formulae",
            rows=rows,
            left=(0, 1, 2),
            prose=True,
            columns=("metric", "unit", "formula"),
        )
        blocks.append(Fold(title="Formulae", blocks=[table]))
    for one in m.runs:
        name = m.name(one)
        for title, data in (
            ("Configuration", encode(one.run.spec)),
            ("Fit before the launch", one.run.fit),
            ("Calibration of the load generator", one.run.calibration),
            ("What the engine said", one.run.engine_facts),
        ):
            if data:
                blocks.append(Fold(title=f"{title}: {name}", blocks=[_inputs(title, data)]))
    if not blocks:
        return None
    return Section(name="formulae", heading="Formulae and inputs", blocks=blocks)


def _inputs(title: str, data: Mapping[str, Any]) -> Table:
    rows = [[word(key), word(value)] for key, value in _flat(data)]
    return Table(caption=title, columns=("key", "value"), rows=rows, left=(0, 1), prose=True)


def _flat(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and their values as text; None is shown as `null`."""
    for key, value in data.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        elif isinstance(value, (list, tuple)) and any(isinstance(v, (Mapping, str)) for v in value):
            for n, v in enumerate(value):
                yield from _flat({str(n): v}, f"{name}.")
        else:
            yield name, "null" if value is None else str(value)


def reproduce(m: Material) -> Section:
    """The exact commands, versions and hashes."""
    blocks: list[Block] = [Text(text="This page again:"), Listing(text=m.command)]
    for one in m.runs:
        p = one.run.provenance
        blocks.append(Text(lead=m.name(one), text=f"the run in {one.run.path}:"))
        if p.get("command"):
            blocks.append(Listing(text=_command(p["command"])))
        server = one.run.server or {}
        if server.get("argv"):
            blocks.append(Text(text="which started the engine as:"))
            blocks.append(Listing(text=shlex.join(map(str, server["argv"]))))
        rows = [[word(k), word(v)] for k, v in _versions(one)]
        table = Table(
            caption=f"{m.name(one)}: versions and hashes",
            rows=rows,
            left=(0, 1),
            prose=True,
            columns=("what", "value"),
        )
        blocks.append(Fold(title=f"Versions and hashes: {m.name(one)}", blocks=[table]))
    return Section(name="reproduce", heading="How to reproduce", blocks=blocks)


def _command(argv: list[str]) -> str:
    """The command as one types it, however Python was told to start it."""
    name = PurePath(argv[0]).name
    return shlex.join(
        ["bench" if name in ("bench", "cli.py", "__main__.py") else argv[0], *argv[1:]]
    )


def _versions(one: Measured) -> Iterator[tuple[str, str]]:
    p = dict(one.run.provenance)
    packages, hashes = p.pop("packages", None) or {}, p.pop("weights_sha256", None) or {}
    p.pop("command", None)
    for key, value in p.items():
        yield key.replace("_", " "), "not known" if value is None else str(value)
    checkpoint = one.run.spec.model.checkpoints.get(one.run.spec.quant.name)
    if checkpoint is not None and one.run.spec.engine.kind != "endpoint":  # that has its own
        yield "checkpoint", f"{checkpoint.repo} @ {checkpoint.revision}"
    image = (one.run.server or {}).get("image")
    for key, value in (image or {}).items():
        yield f"image: {key}", "not known" if value is None else str(value)
    for name, version in packages.items():
        if version is not None:
            yield name, str(version)
    for name, digest in hashes.items():
        yield f"sha256 of {name}", str(digest)
