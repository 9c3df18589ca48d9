"""`bench report`: one HTML page of runs, variants, costs and claims, or its pictures as files."""

from __future__ import annotations

import re
import shlex
import sys
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from bench import __version__
from bench.ask.costs import answered, cost_question
from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.composed import allowed, claim_folders
from bench.cli.verb import Flag, Verb
from bench.config.compose import catalogue, claim_costs, split_results_dir
from bench.values.errors import InputError, StoreError, nearest
from bench.values.json_text import json_text

if TYPE_CHECKING:
    from bench.claims.verdict import Assessment
    from bench.compare.compare import Comparison
    from bench.compare.variant import Measured
    from bench.money.spec import TcoRequest
    from bench.report.page.blocks import Page
    from bench.report.page.material import Material

FORMATS = ("html", "png", "svg")
VERB = Verb(
    usage=(
        "bench report [RUN ... | latest] [tco=NAME KEY=VALUE ...] [--claim NAME | --claims]",
        "             [--format html|png|svg] [--out PATH] [--open] [--json]",
    ),
    more="Several runs are compared, the first is the baseline.\n"
    "Any key of bench tco adds its cost answer, --claim and --claims verdicts:\n"
    "  bench report latest                     the last run\n"
    "  bench report RUN RUN                    variants beside each other\n"
    "  bench report latest tco=cpu-host        the last run and what its tokens cost\n"
    "  bench report tco=worked-example         a cost answer alone\n"
    "  bench report --claims                   every claim, as bench claim --all\n"
    "  bench report latest --format png        the pictures alone, a file each\n"
    "The page is one file that needs no network: results/reports/NAME.html unless --out says.",
    keys=(("tco=NAME", "add the answer to a cost question, with any key of it"), keys.RESULTS_DIR),
    flags=(
        Flag(name="--claim", value="NAME", what="add the verdict on a published number"),
        Flag(name="--claims", what="add the verdicts on all of them"),
        Flag(name="--format", value="FORMAT", what="the page or its pictures", choices=FORMATS),
        Flag(name="--out", value="PATH", what="the file, for pictures the folder"),
        Flag(name="--open", what="show it in the browser"),
        keys.ALLOW,
    ),
    words="runs",
)


def call(arguments: Arguments) -> int:
    """Write what was asked for."""
    results_dir, overrides = split_results_dir(arguments.overrides)
    request = Request(
        names=arguments.words,
        question=_question(arguments, overrides),
        question_name=next(
            (o.partition("=")[2] for o in overrides if o.startswith("tco=")), "cost"
        ),
        judge=_judge(arguments, results_dir),
        allow=allowed(arguments),
        format=arguments.option("--format") or "html",
        out=arguments.option("--out"),
        show="--open" in arguments.flags,
        results_dir=results_dir,
        as_json=arguments.as_json,
    )
    return run(request)


def _question(arguments: Arguments, overrides: Sequence[str]) -> TcoRequest | None:
    """The cost question that the keys ask; None without keys."""
    if not overrides:
        return None
    return cost_question(overrides, arguments.config_dirs, measured=bool(arguments.words))


def _judge(arguments: Arguments, results_dir: str) -> Callable[[], Sequence[Assessment]] | None:
    """The verdicts on the claims asked for, once the page wants them; None when none was."""
    names, everything = arguments.options.get("--claim", ()), "--claims" in arguments.flags
    if not names and not everything:
        return None
    if names and everything:
        raise InputError(f"--claims is every claim: leave --claim {names[0]} or --claims out.")
    from bench.cli.verbs import claim

    request = claim.Request(
        names=names,
        everything=everything,
        folders=claim_folders(arguments.config_dirs),
        results_dir=results_dir,
    )
    known, costs = catalogue(arguments.config_dirs), claim_costs(arguments.config_dirs)
    return lambda: claim.assessed(request, known, *costs)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `bench report` was asked. `question` adds a cost answer and `judge` verdicts on claims;
    `out` is a file for HTML and a folder for pictures."""

    names: tuple[str, ...] = ()
    question: TcoRequest | None = None
    question_name: str = "cost"
    judge: Callable[[], Sequence[Assessment]] | None = None
    allow: tuple[str, ...] = ()
    format: str = "html"
    out: str | None = None
    show: bool = False
    results_dir: str = "results"
    as_json: bool = False


def run(request: Request) -> int:
    """Write the page or the pictures, print where they are, and return 0."""
    from bench.store import find_runs

    said = request.format
    if said not in FORMATS:
        raise InputError(
            f"--format: {said!r} is none of {', '.join(FORMATS)}."
            + (" JSON is typed --json." if said == "json" else nearest(said, FORMATS))
        )
    if request.format == "html" and request.out is not None and Path(request.out).is_dir():
        page_in = Path(request.out) / "page.html"
        raise InputError(f"--out {request.out} is a folder: name the page, --out {page_in}.")
    _check_out(request)
    names = request.names
    if not names and request.question is None and request.judge is None:
        names = ("latest",)
    paths = find_runs(names, request.results_dir)
    runs = [_measured(path) for path in paths]
    material = _material(request, paths, runs)
    from bench.report.page.build import page

    made = page(material, _title(request, material))
    target = Path(request.out) if request.out else _default(request, paths)
    written = (
        _write_page(made, target) if request.format == "html" else _draw(request, made, target)
    )
    if request.as_json:
        print(json_text({"files": [str(p) for p in written]}))
    else:
        for path in written:
            print(path)
    if request.show and written:
        webbrowser.open(written[0].absolute().as_uri())
    return 0


def _check_out(request: Request) -> None:
    """InputError for a picture's name where a page is written, and the other way round."""
    out = PurePath(request.out or "")
    kind = out.suffix.lower().removeprefix(".")
    if request.format == "html" and kind in FORMATS and kind != "html":
        raise InputError(
            f"--out {out} is no page, which is HTML: --out {out.with_suffix('.html')}, or "
            f"--format {kind} --out FOLDER for the pictures."
        )
    if request.format != "html" and kind in FORMATS:
        raise InputError(
            f"--out {out}: pictures are a file each, so name their folder, --out {out.stem}."
        )


def _measured(path: Path) -> Measured:
    """A stored run with its raw points: distributions and time lines are made of them."""
    from bench.compare.variant import Measured
    from bench.derive import derive
    from bench.store import load_quality_items, load_run

    stored = load_run(path)
    return Measured(run=stored, measurement=derive(stored), items=load_quality_items(path))


def _material(request: Request, paths: Sequence[Path], runs: Sequence[Measured]) -> Material:
    """Everything that the page is made of, each part derived as its own verb does."""
    from bench.cli.verbs import tco
    from bench.report.page.material import Material

    cost = None
    if request.question is not None:
        names = [str(path) for path in paths]
        cost = answered(request.question, tco.stored(names, request.results_dir))
    return Material(
        runs=tuple(runs),
        comparison=_compared(runs, request.allow) if len(runs) > 1 else None,
        cost=cost,
        claims=tuple(request.judge()) if request.judge is not None else (),
        command=shlex.join(["bench", *sys.argv[1:]]),
        version=__version__,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _compared(runs: Sequence[Measured], allow: Sequence[str]) -> Comparison:
    from bench.compare.compare import compare
    from bench.compare.variant import apart

    return compare(apart(runs), allow=allow)


def _title(request: Request, material: Material) -> str:
    from bench.report.page.material import served_where

    parts = []
    if material.comparison is not None:
        parts.append(" against ".join(row.name for row in material.comparison.rows))
        parts.insert(0, material.comparison.model)
    elif material.runs:
        parts.append(served_where(material.runs[0]))
    if material.cost is not None:
        parts.append(f"cost: {material.cost.name}")
    if len(material.claims) == 1:
        parts.append(f"a published number put to the test: {material.claims[0].claim}")
    elif material.claims:
        parts.append("published numbers put to the test")
    if any(one.measurement.rehearsal for one in material.runs):
        parts.insert(0, "REHEARSAL")
    return " · ".join(parts)


def _default(request: Request, paths: Sequence[Path]) -> Path:
    """results/reports/NAME(.html): the name of the runs, the cost question, the claims."""
    parts = [f"{p.absolute().parent.name}-{p.absolute().name}" for p in paths[:1]]
    if len(paths) > 1:
        parts.append(f"and-{len(paths) - 1}-more")
    if request.question is not None:
        parts.append(f"tco-{request.question_name}")
    if request.judge is not None:
        parts.append("claims")
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts)).lstrip(".")
    folder = Path(request.results_dir).expanduser() / "reports"
    return folder / (f"{name}.html" if request.format == "html" else name)


def _write_page(made: Page, target: Path) -> list[Path]:
    from bench.report.page.build import html

    return [_write(target, html(made).encode("utf-8", errors="replace"))]


def _draw(request: Request, made: Page, folder: Path) -> list[Path]:
    """Each picture of the page as a file of its own."""
    from bench.report.pictures import style

    written = []
    for picture in made.pictures():
        with style.styled():
            data = style.image(picture.draw(), "png" if request.format == "png" else "svg")
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", picture.name)
        written.append(_write(folder / f"{name}.{request.format}", data))
    if not written:
        raise InputError("there is no picture to draw: nothing of this was measured.")
    return written


def _write(target: Path, data: bytes) -> Path:
    part = target.with_name(PurePath(target.name + ".part").name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(target)
    except OSError as error:
        raise StoreError(
            f"cannot write {target}: {error.strerror or error}. Choose another place with --out."
        ) from error
    return target
