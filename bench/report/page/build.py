"""From what is known to the page: every section that has data, then HTML."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from itertools import groupby

from bench.report.page import appendix, hardware, money, search, speed, variants, verdict
from bench.report.page.blocks import Block, Page, Picture, text_of
from bench.report.page.material import Material
from bench.report.words import pieces
from bench.values.outside import plain

_TEXT = 100_000

SECTIONS = (
    verdict.verdict,
    speed.headline,
    search.search,
    speed.throughput,
    speed.latency,
    speed.time_line,
    hardware.memory,
    hardware.energy,
    variants.quality,
    variants.variants,
    money.cost,
    money.claims,
    appendix.certificate,
)
"""In the order of the page; each gives None where it has nothing to show."""

INPUTS = (appendix.formulae, appendix.reproduce)
"""What follows the words."""


def page(material: Material, title: str) -> Page:
    """The page of the material."""
    shown = [s for make in SECTIONS if (s := make(material)) is not None]
    words = appendix.words("\n".join(text_of(s.blocks) for s in shown))
    inputs = [s for make in INPUTS if (s := make(material)) is not None]
    made = f"bench {material.version}, {material.made}"
    return Page(title=title, sections=[*shown, words, *inputs], made=made)


def html(made: Page) -> str:
    """The page as one HTML document that needs nothing else. All text is escaped."""
    import jinja2
    from markupsafe import Markup

    from bench.report.pictures import style

    def picture(p: Picture) -> Markup:
        with style.styled():
            return Markup(style.svg(p.draw(), p.name))

    folder = files("bench.report.page")
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    environment.filters["groupby_runs"] = _runs_of_a_kind
    environment.filters["pieces"] = pieces
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    css = Markup((folder / "page.css").read_text(encoding="utf-8"))
    return template.render(page=made, css=css, picture=picture)


def _runs_of_a_kind(blocks: Iterable[Block]) -> list[tuple[str, list[Block]]]:
    """Neighbouring blocks of one kind together: pictures stand beside each other."""
    return [(kind, list(group)) for kind, group in groupby(blocks, key=lambda b: b.kind)]


def _shown(value: object) -> object:
    """What a template prints: text from outside without what a browser acts on; markup as it is."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return plain(value, _TEXT)
    return value
