"""The report's pages in a real browser: nothing leaves them, nothing runs, and they say what
`--json` says."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import Tab, chromium, tab
from point_support import even, point

from bench.claims.verdict import Assessment, Check
from bench.report.claim_table import GRAVEST
from bench.report.numbers import quantity
from bench.report.page.build import html, page
from bench.report.page.material import Material
from bench.report.page.questions import QUESTIONS
from bench.store import (
    create_run_dir,
    list_runs,
    load_run,
    save_point,
    save_quality_items,
    save_run,
)
from bench.values.record import PointData, QualityItem, QualityResult, TaskScore
from bench.values.server import Server

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'$x$&amp;</svg>\x1b[31m"
LIMIT_BYTES = 6 * 2**20
HEADLINE = {
    "output tokens/s": "output_tokens_per_s",
    "per user, tokens/s": "output_tokens_per_s_per_user",
    "requests/s": "requests_per_s",
    "TTFT p50, ms": "ttft_p50_ms",
    "TTFT p99, ms": "ttft_p99_ms",
    "ITL p50, ms": "itl_p50_ms",
    "ITL p99, ms": "itl_p99_ms",
    "E2E p50, ms": "e2e_p50_ms",
    "errors": "error_rate",
}
RUN_HEADINGS = [
    "Verdict",
    "Headline numbers",
    "Throughput against interactivity",
    "Latency distributions",
    "Time line",
]
LAST_HEADINGS = ["Validity certificate", "Words", "Formulae and inputs", "How to reproduce"]
QUICK = ("load.repeats=3", "load.calibrate=false", "load.duration_s=0.5", "meter=synthetic")

needs_browser = pytest.mark.skipif(
    chromium() is None, reason="no Chromium here (Debian: apt-get install chromium)"
)


def bench(*words: str) -> str:
    """What `bench WORDS` prints on stdout; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.cli", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def report(*words: str) -> Path:
    """The page that `bench report WORDS` writes."""
    [name] = json.loads(bench("report", *words, "--json"))["files"]
    return Path(name)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run of the truth server: three loads, synthetic power."""
    folder = tmp_path_factory.mktemp("results")
    bench("engine=truth", "load.concurrency=[1,2,4]", *QUICK, f"results_dir={folder}")
    return folder


@pytest.fixture
def stored(results: Path, tmp_path: Path) -> Callable[..., Path]:
    """Stores a run like that of `results` with load points made by hand, which a busy machine
    cannot spoil; keywords replace parts of the run."""

    def store(points: Sequence[PointData], quant: str = "none", **changes: Any) -> Path:
        [path] = list_runs(str(results))
        run = replace(load_run(path), **changes)
        spec = replace(run.spec.quant, name=quant)
        run = replace(run, spec=replace(run.spec, quant=spec))
        target = create_run_dir(replace(run.spec, results_dir=str(tmp_path)))
        save_run(target, run)
        for data in points:
            save_point(target, data)
        return tmp_path

    return store


def steady(repeats: int = 3) -> list[PointData]:
    """One load point, one request at a time: 120 ms each, so 30 tokens take 6 windows' time."""
    shots = even(40, ttft=20, gap=2, tokens=30, rest=2)
    return [point(shots, repeat=n) for n in range(repeats)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """One browser for all pages."""
    with tab(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def opened(browser: Tab, page: Path) -> list[str]:
    """Opens a page that must be quiet and alone, narrow and wide; its headings."""
    assert page.stat().st_size < LIMIT_BYTES
    browser.requests.clear()
    browser.complaints.clear()
    browser.dialogs.clear()
    browser.media()
    browser.size(1280)
    browser.open(page)
    assert [r for r in browser.requests if not r.startswith("data:")] == [page.absolute().as_uri()]
    assert browser.complaints == []
    assert browser.dialogs == []
    for width in (1280, 390):
        browser.size(width)
        assert browser.value("document.documentElement.scrollWidth") == width
        if width == 1280:
            assert browser.value(_CUT) == []
    assert browser.value("document.scripts.length") == 0
    headings: list[str] = browser.value(
        "[...document.querySelectorAll('main h2')].map(h => h.textContent)"
    )
    anchors = browser.value(
        "[...document.querySelectorAll('a')].every(a => !a.hash || document.querySelector(a.hash))"
    )
    assert anchors
    ids = browser.value("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert browser.value(f"({_BARRIERS})()") == []
    for dark in (False, True):
        browser.media(dark=dark)
        assert browser.value(f"({_FAINT})()") == []
    browser.media()
    return headings


_CUT = """[...document.querySelectorAll('.wide')].filter(w => w.scrollWidth > w.clientWidth)
    .map(w => w.getAttribute('aria-label'))"""
"""Tables that have to be scrolled sideways."""

_BARRIERS = """() => {
    const found = [], all = s => [...document.querySelectorAll(s)];
    const need = (ok, what) => { if (!ok) found.push(what); };
    need(document.documentElement.lang === 'en', 'language');
    need(document.title.trim() && all('h1').length === 1 && all('main').length === 1, 'one title');
    let level = 0;
    for (const h of all('h1, h2, h3, h4')) {
        need(+h.tagName[1] <= level + 1 && h.textContent.trim(), 'heading ' + h.textContent);
        level = +h.tagName[1];
    }
    for (const t of all('table')) {
        const box = t.parentElement, name = box.getAttribute('aria-label');
        need(name && box.getAttribute('role') === 'region', 'table without a name');
        need(t.querySelector('tbody tr'), 'empty: ' + name);
        need([...t.tHead.rows[0].cells].every(c => c.scope === 'col' && c.textContent.trim()),
             'column headings: ' + name);
        need([...t.tBodies[0].rows].every(r => r.cells[0].scope === 'row' &&
             r.cells.length === t.tHead.rows[0].cells.length), 'rows: ' + name);
    }
    for (const s of all('section')) {
        need(document.getElementById(s.getAttribute('aria-labelledby')), 'section ' + s.id);
        need(s.children.length > 1, 'empty section ' + s.id);
    }
    for (const s of all('svg')) {
        const caption = document.getElementById(s.getAttribute('aria-labelledby'));
        need(s.getAttribute('role') === 'img' && caption.textContent.length > 20, 'picture');
    }
    for (const e of all('.wide, pre, a[href]')) need(e.tabIndex === 0, 'keyboard: ' + e.tagName);
    for (const d of all('details'))
        need(d.firstElementChild.tagName === 'SUMMARY' && d.firstElementChild.textContent.trim(),
             'fold without a title');
    return [...new Set(found)];
}"""
"""What would keep somebody with a screen reader or a keyboard out."""

_FAINT = """() => {
    const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => {
        v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const paper = light(getComputedStyle(document.body).backgroundColor);
    const faint = new Set();
    for (const e of document.querySelectorAll('main *, header *, footer *')) {
        const isText = e.namespaceURI.includes('svg') ? e.tagName === 'text' :
            [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
        if (!isText) continue;
        const style = getComputedStyle(e);
        const ink = light(e.tagName === 'text' ? style.fill : style.color);
        const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        if (ratio < 4.5) faint.add(`${e.tagName}: ${e.textContent} ${ratio.toFixed(1)}`);
    }
    return [...faint];
}"""
"""Texts whose contrast with the page is below 4.5 : 1 (WCAG 2.2, level AA)."""


def tables(browser: Tab, where: str) -> list[dict[str, Any]]:
    """Every table under a selector: caption, and per row heading -> [text, value, is it text]. The
    small print under a cell is left out."""
    found: list[dict[str, Any]] = browser.value(
        f"""[...document.querySelectorAll('{where} table')].map(t => {{
        const heads = [...t.tHead.rows[0].cells].map(c => c.textContent);
        const words = c => [...c.childNodes].filter(n => n.nodeName !== 'SMALL')
            .map(n => n.textContent).join('').trim();
        return {{caption: t.parentElement.previousElementSibling.textContent,
            rows: [...t.tBodies[0].rows].map(r => Object.fromEntries([...r.cells].map((c, i) =>
                [heads[i], [words(c), c.querySelector('data')?.value ?? null,
                            c.matches('.left, th')]])))}};
        }})"""
    )
    return found


def table(browser: Tab, section: str, number: int = 0) -> list[dict[str, Any]]:
    """The rows of one table of a section."""
    rows: list[dict[str, Any]] = tables(browser, f"#{section}")[number]["rows"]
    return rows


def numbers(document: Any) -> Iterator[float]:
    """Every number of a JSON document."""
    if isinstance(document, Mapping):
        document = list(document.values())
    if isinstance(document, list):
        for part in document:
            yield from numbers(part)
    elif isinstance(document, (int, float)) and not isinstance(document, bool):
        yield float(document)


def reads_as(text: str, value: float) -> bool:
    """Whether a cell's text is its number, rounded to the digits that it shows."""
    found = re.match(r"([<>] )?([-+]?[\d,]+(?:\.(\d+))?)(%?)", text)
    prefix = re.search(r" ([kMG])$", text)
    if found is None:
        return text == "over 100 years" and value > 1200
    shown = float(found[2].replace(",", ""))
    unit = 0.01 if found[4] else {"k": 1e3, "M": 1e6, "G": 1e9}[prefix[1]] if prefix else 1.0
    if found[1]:
        return value < shown * unit if found[1] == "< " else value > shown * unit
    return abs(shown * unit - value) <= 0.5001 * unit * 10.0 ** -len(found[3] or "")


def all_numbers_agree(browser: Tab, *documents: Any, derived: Sequence[float] = ()) -> int:
    """Every number in every table is one of `--json`'s to the last digit (or of `derived`, worked
    out by hand), and reads as it; how many there were. A time line's means are the page's own."""
    known = {n for d in documents for n in numbers(d)} | set(derived)
    count = 0
    for found in tables(browser, "section:not(#timeline)"):
        for row in found["rows"]:
            for heading, (text, value, is_text) in row.items():
                place = f"{found['caption']}: {heading}: {text}"
                if value is None:
                    is_interval = heading == "95 % interval"
                    assert is_text or is_interval or not re.search(r"\d", text), place
                    continue
                count += 1
                assert reads_as(text, float(value)), place
                assert float(value) in known, place
    return count


def agrees_with_json(browser: Tab, document: dict[str, Any]) -> None:
    """Every number of the headline table is the one that --json gives, to the last digit."""
    rows = table(browser, "headline")
    assert len(rows) == len(document["load_points"])
    for row, measured in zip(rows, document["load_points"], strict=True):
        for title, key in HEADLINE.items():
            metric = measured[key]
            if title not in row:  # no load has it
                assert metric["value"] is metric["withheld_value"] is None
                continue
            text, value, _ = row[title]
            if metric["value"] is None:
                assert value is None
                assert text == ("withheld" if metric["withheld_value"] is not None else "–")
            else:
                assert float(value) == metric["value"]
        fails = [f["withholds"] for f in measured["findings"] if f["severity"] == "fail"]
        stands = "partly" if "some" in fails else "ok"
        assert row["trust"][0] == (stands if measured["valid"] else "FAILED")


@needs_browser
def test_a_sweep(browser: Tab, results: Path) -> None:
    headings = opened(browser, report("latest", f"results_dir={results}"))
    document = json.loads(bench("show", f"results_dir={results}", "--json"))
    drawn = ("Throughput against interactivity", "Latency distributions")
    some = any(p["valid"] for p in document["load_points"])  # a busy machine may spoil them all
    first = [h for h in RUN_HEADINGS if some or h not in drawn]
    assert headings == [*first, "Energy", *LAST_HEADINGS]
    agrees_with_json(browser, document)
    verdict = browser.value("document.querySelector('#verdict').textContent")
    assert ("NOT VALID" in verdict) != document["valid"]
    assert "power is made up" in verdict
    assert all_numbers_agree(browser, document) > (30 if some else 5)
    checks = {f["code"] for p in document["load_points"] for f in p["findings"]}
    assert {row["check"][0] for row in table(browser, "certificate")} == checks


@needs_browser
def test_a_picture_follows_the_dark_and_the_page_prints(browser: Tab, results: Path) -> None:
    opened(browser, report("latest", f"results_dir={results}"))
    ink = "getComputedStyle(document.querySelector('#timeline svg text')).fill"
    light = browser.value(ink)
    browser.media(dark=True)
    assert browser.value(ink) != light
    browser.media(kind="print")
    assert browser.pdf().startswith(b"%PDF")


@needs_browser
def test_one_load_point(browser: Tab, stored: Callable[..., Path]) -> None:
    folder = stored(steady(), calibration=None, telemetry=None)
    headings = opened(browser, report(f"results_dir={folder}"))
    assert headings == [*RUN_HEADINGS, *LAST_HEADINGS]
    document = json.loads(bench("show", f"results_dir={folder}", "--json"))
    assert document["valid"]
    agrees_with_json(browser, document)
    [row] = table(browser, "throughput")
    assert row["tokens/s per user"][0].startswith("500")  # a token every 2 ms
    assert "VALID" in browser.value("document.querySelector('#verdict .good').textContent")
    assert all_numbers_agree(browser, document) > 30


def test_every_check_says_what_it_asks() -> None:
    """Each code that a finding of a run may carry has its question on the page."""
    codes: set[str] = set()
    for path in (Path(__file__).parents[2] / "bench").rglob("*.py"):
        if path.name == "doctor.py" or path.parent.name in ("compare", "claims"):
            continue  # theirs are about a machine, variants, or claims
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id in ("finding", "some", "energy") and isinstance(
                node.args[0], ast.Constant
            ):
                codes.add(str(node.args[0].value))
            if node.func.id == "Finding":
                codes |= {
                    str(k.value.value)
                    for k in node.keywords
                    if k.arg == "code" and isinstance(k.value, ast.Constant)
                }
    assert len(codes) > 40
    assert codes == set(QUESTIONS)


def test_the_image_of_a_container_stands_with_the_versions(
    stored: Callable[..., Path], results: Path
) -> None:
    """A tag moves; what served is told by its digest, and by words where it has none."""
    [path] = list_runs(str(results))
    image = {"program": "docker", "name": "vllm/vllm-openai:v0.19.1", "id": None}
    server = {**(load_run(path).server or {}), "image": {**image, "digest": "sha256:ab12"}}
    folder = stored(steady(), calibration=None, telemetry=None, server=server)
    text = report("latest", f"results_dir={folder}").read_text()
    assert "vllm/vllm-openai:v0.19.1" in text
    assert "sha256:ab12" in text


@needs_browser
def test_hostile_words_stay_words(browser: Tab, stored: Callable[..., Path]) -> None:
    """Names, failures and error bodies from outside are text, in pictures and tables too."""
    shots = even(40, ttft=20, gap=2, tokens=30, rest=2)
    bad = [replace(s, outcome="http_error") if n % 2 else s for n, s in enumerate(shots)]
    folder = stored(
        [replace(point(bad, repeat=n), errors={1: f"body {HOSTILE}"}) for n in range(3)],
        status="failed",
        failure=f"it said {HOSTILE}",
        server={"engine": "vllm", "engine_version": HOSTILE, "argv": [HOSTILE]},
        engine_facts={"attention_backend": f"log {HOSTILE}"},
        quality=QualityResult(preset="tiny", status="failed", failure=f"scores {HOSTILE}"),
        provenance={"command": [HOSTILE], "host_cpu": HOSTILE, "packages": {HOSTILE: HOSTILE}},
    )
    [path] = list_runs(str(folder))
    run = load_run(path)
    save_run(
        path, replace(run, spec=replace(run.spec, model=replace(run.spec.model, name=HOSTILE)))
    )
    headings = opened(browser, report(f"results_dir={folder}"))
    assert "Quality" in headings
    assert browser.value("document.images.length") == 0
    for place in (
        "h1",
        "#timeline figcaption",
        "#verdict",
        "#reproduce",
        "#certificate",
        "#quality",
        "#formulae",
        "title",
    ):
        assert "<script>alert(1)</script>" in browser.value(
            f"document.querySelector('{place}').textContent"
        )
    for text in ("it said", "body", "log", "scores"):
        assert f"{text} <script>" in browser.value("document.querySelector('main').textContent")
    assert "NOT VALID" in browser.value("document.querySelector('#verdict').textContent")


@needs_browser
def test_a_hostile_name_in_a_picture(browser: Tab, stored: Callable[..., Path]) -> None:
    """A name is drawn as text inside an SVG, too."""
    folder = stored(steady(), calibration=None, telemetry=None)
    [path] = list_runs(str(folder))
    run = load_run(path)
    save_run(
        path, replace(run, spec=replace(run.spec, model=replace(run.spec.model, name=HOSTILE)))
    )
    assert opened(browser, report(f"results_dir={folder}")) == [*RUN_HEADINGS, *LAST_HEADINGS]
    legend = browser.value("document.querySelector('#throughput svg').textContent")
    assert "<script>alert(1)</script>" in legend


@needs_browser
def test_a_hostile_claim(browser: Tab, tmp_path: Path) -> None:
    """Quotes, names, evidence and remedies of claims are text."""
    found = Check(kind="fit", verdict="impossible", evidence=(f"because {HOSTILE}",))
    claim = Assessment(
        claim=f"folder/{HOSTILE}",
        who=HOSTILE,
        quote=HOSTILE,
        checks=(found,),
        settle_with=HOSTILE,
        note=HOSTILE,
    )
    target = tmp_path / "claim.html"
    made = page(Material(claims=[claim], command=HOSTILE, version=HOSTILE), HOSTILE)
    target.write_text(html(made), encoding="utf-8")
    assert opened(browser, target) == ["Verdict", "Claims", "Words", "How to reproduce"]
    assert browser.value("document.images.length") == 0
    shown = browser.value("document.querySelector('#claims').textContent")
    assert shown.count("<script>alert(1)</script>") >= 6


@needs_browser
def test_a_search(browser: Tab, tmp_path: Path) -> None:
    """The answer in words, and every load tried as --json has it."""
    bench(
        "engine=truth",
        "load=slo",
        "load.over=concurrency",
        "load.concurrency=[1,4]",
        "load.min_requests=8",
        "load.duration_s=0.3",
        "load.repeats=1",
        "load.calibrate=false",
        "load.warmup_requests=1",
        f"results_dir={tmp_path}",
    )
    headings = opened(browser, report(f"results_dir={tmp_path}"))
    assert "Load search" in headings
    document = json.loads(bench("show", f"results_dir={tmp_path}", "--json"))
    tried = document["load_search"]["tried"]
    assert [float(r["in flight"][1]) for r in table(browser, "search")] == [
        s["load"] for s in tried
    ]
    assert all_numbers_agree(browser, document) > len(tried)


@needs_browser
def test_an_invalid_run_prints_no_headline(browser: Tab, stored: Callable[..., Path]) -> None:
    """Half of its requests failed: its numbers are nowhere on the page, folds included."""
    shots = even(40, ttft=20, gap=2, tokens=30, rest=2)
    bad = [replace(s, outcome="http_error") if n % 2 else s for n, s in enumerate(shots)]
    folder = stored([point(bad, repeat=n) for n in range(3)], calibration=None)
    headings = opened(browser, report(f"results_dir={folder}"))
    document = json.loads(bench("show", f"results_dir={folder}", "--json"))
    assert not document["valid"]
    assert headings == ["Verdict", "Headline numbers", "Time line", *LAST_HEADINGS]
    agrees_with_json(browser, document)
    verdict = browser.value("document.querySelector('#verdict').textContent")
    assert "NOT VALID Do not quote" in verdict
    assert "Meaning" not in verdict
    titles = browser.value("document.querySelector('#timeline svg').textContent")
    assert "FAILED its certificate" in titles
    withheld = {
        m["withheld_value"]
        for p in document["load_points"]
        for m in p.values()
        if isinstance(m, dict) and m.get("withheld_value")
    }
    assert len(withheld) > 5
    given = browser.value("[...document.querySelectorAll('data')].map(d => d.value)")
    assert withheld.isdisjoint(map(float, given))
    # As a word of its own: hashes may hold any digits. The numbers behind the time line's picture
    # are left out, for a mean of some bins is about the rate; they say that they are no result.
    [rate] = {p["output_tokens_per_s"]["withheld_value"] for p in document["load_points"]}
    shown = browser.value(
        "(() => { const page = document.body.cloneNode(true);"
        "page.querySelectorAll('#timeline table').forEach(t => t.remove());"
        "return page.textContent; })()"
    )
    for text in (quantity(rate), quantity(rate, 4), f"{rate:,.0f}", f"{rate:.2f}", f"{rate}"):
        assert not re.search(rf"(?<![\w.,:-]){re.escape(text)}(?![\w,:-]|\.\d)", shown), text


def scored(wrong: int) -> tuple[QualityResult, list[QualityItem]]:
    """400 questions of which the first `wrong` are answered wrongly."""
    name: dict[str, Any] = {"task": "t", "metric": "acc", "filter": "none"}
    value = 1 - wrong / 400
    score = TaskScore(**name, value=value, stderr=0.01, n=400, higher_is_better=True, chance=0.25)
    items = [
        QualityItem(**name, doc_id=n, sample=0, value=float(n >= wrong), item_hash=f"h{n}")
        for n in range(400)
    ]
    return QualityResult(preset="tiny", backend="endpoint", scores=(score,)), items


@needs_browser
def test_variants_with_quality(browser: Tab, stored: Callable[..., Path]) -> None:
    """40 more questions wrong of 400 (from 380 right): recovery 340 ÷ 380 = 89.47 %."""
    for quant, wrong in (("none", 20), ("int8", 60)):
        result, items = scored(wrong)
        folder = stored(steady(), calibration=None, telemetry=None, quality=result, quant=quant)
        path = next(p for p in list_runs(str(folder)) if p.name.startswith(quant))
        save_quality_items(path, items)
    names = [p.name for p in list_runs(str(folder))]
    names.sort(key=lambda n: not n.startswith("none"))
    headings = opened(browser, report(*names, f"results_dir={folder}"))
    assert headings == [*RUN_HEADINGS, "Quality", "Variants", *LAST_HEADINGS]
    [row] = table(browser, "quality")
    document = json.loads(bench("compare", *names, f"results_dir={folder}", "--json"))
    [task] = document["rows"][1]["quality"]
    assert float(row["recovery"][1]) == task["recovery"]["value"]
    assert row["recovery"][0] == "89.47%"
    assert row["verdict"][0] == "worse"
    runs = [json.loads(bench("show", n, f"results_dir={folder}", "--json")) for n in names]
    changes = [s["ratio"]["value"] - 1 for r in document["rows"] for s in r["speed"] if s["ratio"]]
    assert all_numbers_agree(browser, document, runs, derived=changes) > 100
    shown = {r["variant"][0]: r["verdict"][0] for r in table(browser, "variants")}
    assert shown == {r["name"]: r["verdict"] for r in document["rows"]}
    names = browser.value("[...document.querySelectorAll('figcaption')].map(c => c.id)")
    assert {"caption-recovery", "caption-pareto", "caption-throughput"} <= set(names)


@needs_browser
def test_a_cost_answer(browser: Tab, tmp_path: Path) -> None:
    page = report("tco=worked-example", f"results_dir={tmp_path}")
    assert opened(browser, page) == ["Verdict", "Cost", "Words", "How to reproduce"]
    document = json.loads(bench("tco", "tco=worked-example", "--json"))
    for row in table(browser, "cost"):
        part = row["tokens"][0]
        if part in ("input", "output", "blended"):
            for title, level in (("marginal", "marginal"), ("fully loaded", "loaded")):
                expected = document["levels"][level][f"usd_per_mtok_{part}"]
                assert float(row[title][1]) == expected
    curve = document["curve"]
    lines = [curve[name] for name in ("monthly_usd", "monthly_usd_p5", "monthly_usd_p95")]
    lines += [way["monthly_usd"] for way in curve["ways"].values()]
    per_mtok = [
        usd / n for line in lines for usd, n in zip(line, curve["mtok_per_month"], strict=True)
    ]
    for option in document["options"].values():
        parts = option.get("monthly_usd_parts", {}).values()
        per_mtok += [usd / document["model"]["demand_mtok_per_month"] for usd in parts]
    assert all_numbers_agree(browser, document, derived=per_mtok) > 50
    names = browser.value("[...document.querySelectorAll('#cost figcaption')].map(c => c.id)")
    drawn = ("ways", "waterfall", "breakeven", "tornado")
    assert names == [f"caption-{name}" for name in drawn]
    large = browser.value("document.querySelector('#verdict .figures').textContent")
    assert all(word in large for word in ("own servers", "rented servers", "the cheapest API"))


@needs_browser
def test_every_claim(browser: Tab, tmp_path: Path) -> None:
    page = report("--claims", f"results_dir={tmp_path}")
    assert opened(browser, page) == ["Verdict", "Claims", "Words", "How to reproduce"]
    document = json.loads(bench("claim", "--all", f"results_dir={tmp_path}", "--json"))
    verdicts = [row["verdict"][0].lower() for row in table(browser, "claims")]
    assert verdicts == sorted(verdicts, key=GRAVEST.index)
    shown = {row["claim"][0]: row["verdict"][0].lower() for row in table(browser, "claims")}
    assert shown == {a["claim"]: a["verdict"] for a in document}


@needs_browser
@pytest.mark.vllm
def test_a_real_vllm(browser: Tab, vllm_server: Server, tmp_path: Path) -> None:
    bench(
        "engine=endpoint",
        f"engine.base_url={vllm_server.base_url}",
        "gpu=cpu",
        f"engine.served_model={vllm_server.served_model}",
        "workload.output_tokens=32",
        "load.concurrency=[1,4]",
        "load.duration_s=1",
        "load.repeats=3",
        "load.calibrate=false",
        f"results_dir={tmp_path}",
    )
    headings = opened(browser, report(f"results_dir={tmp_path}"))
    assert headings[:2] == ["Verdict", "Headline numbers"]
    assert headings[-len(LAST_HEADINGS) :] == LAST_HEADINGS
    assert "Time line" in headings
    document = json.loads(bench("show", f"results_dir={tmp_path}", "--json"))
    agrees_with_json(browser, document)
    assert all_numbers_agree(browser, document) > 1


def test_pictures_as_files(stored: Callable[..., Path], tmp_path: Path) -> None:
    """One PNG or SVG per picture, none of it empty."""
    folder = stored(steady(), calibration=None)
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        words = ("report", "latest", "--format", kind, "--out", str(tmp_path / kind))
        files = json.loads(bench(*words, f"results_dir={folder}", "--json"))["files"]
        names = {Path(f).stem for f in files}
        assert names == {"throughput", "latency-ttft", "latency-itl", "latency-e2e", "timeline-c1"}
        assert all(Path(f).read_bytes().startswith(start) for f in files)


def test_a_wrong_format_names_the_right_ones() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.cli", "report", "--format", "pgn"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.strip().endswith("Did you mean 'png'?")
