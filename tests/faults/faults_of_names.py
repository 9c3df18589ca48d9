"""Faults of names (kind 5) and escape sequences in what others say (kind 7)."""

from __future__ import annotations

import json
from collections.abc import Callable

from fault import TRUTH, TWO, Place, fault, stored
from said import bench, refused

from bench.cli.summaries import summaries
from bench.cli.verbs.runs import derived
from bench.config.compose import compose, run_spec
from bench.store import create_run_dir, save_run
from bench.values.outside import plain
from bench.values.record import Anchor, Run


def named(key: str, name: str) -> Callable[[Place], None]:
    """A run of such a name lies below results_dir and is listed."""

    def do(place: Place) -> None:
        root = place.folder / "results"
        word = json.dumps(name, ensure_ascii=False)
        spec = run_spec(compose(["engine=truth", "gpus=0", f"results_dir={root}", f"{key}={word}"]))
        path = create_run_dir(spec)
        save_run(path, Run(spec=spec, anchor=Anchor(monotonic_ns=0, wall_iso="2026")))
        assert path.parents[1] == root, path
        assert [p.name for p in place.folder.iterdir()] == ["results"], "written elsewhere"
        rows = summaries(str(root), derived)
        assert [r["run"] for r in rows] == [str(path)]
        assert not any(c < " " for c in str(path))

    return do


for _key in ("model.name", "quant.name"):
    for _word in ("../../x", "/etc/x", "org/model", "a b", "x" * 200, "Ümlaut", "-rf", "a\tb"):
        fault(5, f"{_key}={_word[:12]!r}", "one folder below results_dir, and listed")(
            named(_key, _word)
        )


@fault(5, "a name of dots alone", TWO)
def _(place: Place) -> None:
    said = bench(*TRUTH, "model.name=..", f"results_dir={place.folder}")
    refused(said, 2, "model.name")
    assert not list(place.folder.iterdir())


ESCAPES = {
    "a cleared screen": "a\x1b[2Jb",
    "a title": "a\x1b]0;owned\x07b",
    "a string without an end": "a\x1bPqb",
    "C1 controls": "a\x9b2Jb",
    "text turned around": "a\u202eb",
    "no width": "a\u200bb",
    "half a surrogate": "a\ud800b",
    "a carriage return": "a\rb",
}


def harmless(text: str) -> Callable[[Place], None]:
    """Such a text leaves neither the terminal nor the page with a control character."""

    def do(place: Place) -> None:
        assert not set(plain(text)) & set("\x1b\x9b\x07\r\u202e\u200b\ud800")
        path = stored(place.folder, status="failed", failure=plain(f"the server said {text}"))
        shown = bench("show", str(path))
        page = place.folder / "page.html"
        made = bench("report", str(path), f"--out={page}")
        for said in (shown.out, shown.err, made.out, made.err, page.read_text()):
            assert not set(said) & set("\x1b\x9b\x07\r\u202e\u200b"), said[:300]

    return do


for _name, _text in ESCAPES.items():
    fault(7, f"{_name} in an error", "taken out before it is stored")(harmless(_text))


@fault(7, "escapes in what is typed", TWO)
def _(place: Place) -> None:
    for word in ("\x1b]0;x\x07", "model=\x1b[2Jtiny", "show\x9b"):
        refused(bench(word), 2)
