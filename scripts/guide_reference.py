"""Write what of docs/guide is made from the code: reference/, the glossary and the notebook.

python scripts/guide_reference.py           # write the pages again
python scripts/guide_reference.py --check   # exit 1 when they are not what the code says
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import yaml
from asked_help import answer_help

from bench.cli.help import of_verb
from bench.cli.verb import names, summary, verb
from bench.config.compose import GROUPS, conf_dir, options
from bench.measure.metrics import METRICS
from bench.report.page.questions import QUESTIONS
from bench.report.words import WORDS

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "guide" / "reference"
MADE = "<!-- made by scripts/guide_reference.py; change the code, not this page -->\n\n"


def verbs_page() -> str:
    """Every verb: what it does, usage, keys and flags, as `bench VERB --help` prints them."""
    parts = [
        f"## {name}\n\n{summary(name)[:1].upper()}{summary(name)[1:]}.\n\n"
        f"```text\n{of_verb(name)}\n```\n"
        for name in names()
    ]
    text = "`bench VERB --help` prints the same. Without a verb it is `run`.\n\n"
    return f"# Verbs\n\n{MADE}{text}" + "\n".join(parts)


def keys_page() -> str:
    """Every group with its choices, and every key with type, default and a line."""
    from bench.money.prices.book import PricesSpec
    from bench.money.spec import PowerSpec, TcoSpec
    from bench.values.spec import RunSpec

    parts = []
    for group in GROUPS:
        parts.append(f"- `{group}=` {', '.join(f'`{o}`' for o in options(group))}")
    tables = [
        *_tables(RunSpec, "", "Of a run"),
        *_tables(TcoSpec, "tco", "Of a cost question"),
        *_tables(PowerSpec, "power", "Power of a server"),
        *_tables(PricesSpec, "prices", "The price book"),
    ]
    text = (
        "Typed as `KEY=VALUE`. A key's unit is the end of its name: `_ms`, `_s`, `_usd`, `_gib`, "
        "`_per_s`; other numbers are counts or shares. `required`: a group's file in conf/ gives "
        "it. A figure of a cost question is a number or `{value, low, high, source, as_of}`.\n\n"
    )
    chosen = "## Choices\n\n" + "\n".join(parts) + "\n\n"
    return f"# Keys\n\n{MADE}{text}{chosen}" + "\n".join(tables)


def _tables(kind: type, path: str, title: str) -> Iterator[str]:
    """A table of a value's own keys, then of each group of keys below it."""
    hints = typing.get_type_hints(kind)
    rows, below, given = [], [], _given(kind, path)
    for field in dataclasses.fields(kind):
        if not field.init or field.name == "known_gpus":
            continue
        name = f"{path}.{field.name}" if path else field.name
        kinds = [k for k in (hints[field.name], *typing.get_args(hints[field.name])) if _group(k)]
        if kinds:
            below += [(k, name) for k in kinds]
            continue
        shown = _type(hints[field.name])
        rows.append(f"| `{name}` | {shown} | {_default(field, given)} | {_comment(name)} |")
    doc = " ".join((kind.__doc__ or "").split()).replace("|", "\\|")
    head = f"## {title or path}\n\n{doc}\n"
    if rows:
        table = "| key | type | default | line |\n| --- | --- | --- | --- |\n"
        yield f"{head}\n{table}" + "\n".join(rows) + "\n"
    for kind_below, name in below:
        of = getattr(kind_below, "__name__", "")
        many = len([1 for _, n in below if n == name]) > 1
        yield from _tables(
            kind_below, name, f"{name} ({of.removesuffix('Spec')})" if many else name
        )


def _group(kind: object) -> bool:
    return dataclasses.is_dataclass(kind) and getattr(kind, "__name__", "") not in (
        *("Figure", "LengthSpec", "CheckpointSpec", "Checkpoint"),
    )


def _type(hint: object) -> str:
    names_ = {"NoneType": "null", "str": "text", "int": "whole number", "float": "number"}
    text = str(hint) if typing.get_origin(hint) else getattr(hint, "__name__", str(hint))
    text = re.sub(r"\b(?:\w+\.)+", "", text).replace("Literal", "one of ")
    text = re.sub(r"Union\[(.*)\]$", r"\1", text)
    for old, new in names_.items():
        text = re.sub(rf"\b{old}\b", new, text)
    text = re.sub(r"\bNone\b", "null", text).replace("Figure", "figure")
    return text.replace("|", "or").replace("bool", "true or false")


def _given(kind: type, path: str) -> dict[str, object]:
    """What conf/ gives the keys of one kind of a group: engine=truth has a file of its own."""
    named = typing.get_args(typing.get_type_hints(kind).get("kind"))
    file = conf_dir() / path / f"{named[0] if named else ''}.yaml"
    return yaml.safe_load(file.read_text("utf-8")) if named and file.is_file() else {}


def _default(field: dataclasses.Field[object], given: dict[str, object]) -> str:
    if isinstance(value := given.get(field.name), (str, int, float)):
        return f"`{value}`"
    if field.default is not dataclasses.MISSING:
        return "null" if field.default is None else f"`{field.default}`"
    return "" if field.default_factory is not dataclasses.MISSING else "required"


def _comment(name: str) -> str:
    """What the command line's help says of a key, else the comment beside it in conf/."""
    for of in names():
        for typed, line in verb(of).keys:
            if typed.partition("=")[0] == name:
                return line.replace("|", "\\|")
    group, _, key = name.rpartition(".")
    folder = conf_dir() / group.partition(".")[0]
    for path in sorted(folder.glob("*.yaml")) if group else [conf_dir() / "config.yaml"]:
        found = re.search(rf"(?m)^ *{re.escape(key)}: .*?  # (.+)$", path.read_text("utf-8"))
        if found:
            return found[1].replace("|", "\\|")
    return ""


def metrics_page() -> str:
    """Every metric: unit, which way is better, and its definition."""
    rows = [f"| `{m.name}` | {m.unit} | {m.better} | {m.formula} |" for m in METRICS]
    table = "| metric | unit | better | definition |\n| --- | --- | --- | --- |\n"
    text = (
        "Rates and percentiles are of the steady part of a load point, over its repeats; ± is a "
        "95 % interval, or (from–to). Energy and memory have their own names beside these.\n\n"
    )
    return f"# Metrics\n\n{MADE}{text}{table}" + "\n".join(rows) + "\n"


def findings_page() -> str:
    """Every finding code: what is checked, and what is said of it, cause and remedy together."""
    codes: dict[str, list[tuple[str, str, str]]] = {}
    for path in sorted((ROOT / "bench").rglob("*.py")):
        for function, call in _calls(ast.parse(path.read_text("utf-8"))):
            code, severity, text = _said(call)
            if code:
                first = (ast.get_docstring(function) or "").split(". ")[0]
                entry = (severity, " ".join(first.split()).rstrip("."), text)
                codes.setdefault(code, []).append(entry)
    parts = []
    for code in sorted(codes):
        lines = [f"## {code}", ""]
        lines += [f"{QUESTIONS[code]}\n"] if code in QUESTIONS else []
        checked = dict.fromkeys(first for _, first, _ in codes[code] if first)
        lines += [f"{first}." for first in checked]
        severities = sorted({s for s, _, _ in codes[code] if s})
        lines += ["", f"Severity: {', '.join(severities) or 'as the figure decides'}."]
        lines += [f"- “{text}”" for text in dict.fromkeys(t for _, _, t in codes[code] if t)]
        parts.append("\n".join(lines) + "\n")
    text = (
        "A finding says what is wrong, why, and what to change. `fail` withholds figures (its text "
        "says which), `warn` leaves them, `info` explains. … stands for what a run fills in.\n\n"
    )
    return f"# Findings\n\n{MADE}{text}" + "\n".join(parts)


def _calls(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef, ast.Call]]:
    """Every call that makes a finding, with the function around it."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id in ("finding", "energy", "some", "Finding"):
                yield function, node


def _said(call: ast.Call) -> tuple[str, str, str]:
    """Code, severity and text of a call, as far as they are written there."""
    values = {k.arg: k.value for k in call.keywords}
    maker = getattr(call.func, "id", "")
    order = ("code", "text") if maker == "some" else ("code", "severity", "text")
    values.update(zip(order, call.args, strict=False))
    severity = "fail" if maker == "some" else _text(values.get("severity"))
    return _text(values.get("code")), severity, _text(values.get("text"))


def _text(node: ast.expr | None) -> str:
    """A literal text, … for what is filled in; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(v) if isinstance(v, ast.Constant) else "…" for v in node.values)
    return ""


def glossary_page() -> str:
    """Every word of a result, with its other spellings."""
    rows = [f"| {w.term}{', '.join(['', *w.also])} | {w.meaning} |" for w in WORDS]
    text = "`bench words WORD` prints the same, and what a metric or a check is.\n\n"
    return (
        f"# Glossary\n\n{MADE}{text}| word | what it is |\n| --- | --- |\n" + "\n".join(rows) + "\n"
    )


def notebook() -> str:
    """The page about Python as a notebook: its text and its blocks, cell by cell."""
    page = (ROOT / "docs" / "guide" / "python.md").read_text("utf-8")
    cells: list[dict[str, object]] = []
    for n, piece in enumerate(re.split(r"```python\n(.*?)```\n", page, flags=re.S)):
        kind = "code" if n % 2 else "markdown"
        cell: dict[str, object] = {
            "cell_type": kind,
            "id": f"cell-{n}",
            "metadata": {},
            "source": piece.strip(),
        }
        cells.append(cell | ({"execution_count": None, "outputs": []} if n % 2 else {}))
    python = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": cells, "metadata": {"kernelspec": python}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


PAGES = {
    "../python.ipynb": notebook,
    "../glossary.md": glossary_page,
    "verbs.md": verbs_page,
    "keys.md": keys_page,
    "metrics.md": metrics_page,
    "findings.md": findings_page,
}


def stale() -> list[str]:
    """The pages that are not what the code says."""
    return [
        name
        for name, page in PAGES.items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text("utf-8") != page()
    ]


def main() -> int:
    """Write the pages, or with --check say which are stale."""
    if "--check" in sys.argv[1:]:
        for name in stale():
            print(
                f"{FOLDER / name} is stale: run python scripts/guide_reference.py", file=sys.stderr
            )
        return 1 if stale() else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    answer_help(__doc__)
    sys.exit(main())
