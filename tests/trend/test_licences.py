"""A change of a licence's terms is said wherever the model is used."""

from __future__ import annotations

from dataclasses import replace

from claims_support import conf_sources, every_claim
from fit_support import catalogue

from bench.claims.assess import assess
from bench.trend.licences import changes, of_model, read_terms, shipped_terms


def test_every_model_of_the_catalogue_has_its_terms_as_a_row() -> None:
    """A model whose terms differ from the newest row needs a new row in
    bench/assets/snapshots/licences.csv."""
    for name, model in catalogue().models.items():
        if name == "tiny":  # bundled
            continue
        rows = [t for t in shipped_terms() if t.model == name]
        assert rows, f"{name} has no row"
        assert not rows[-1].differs(of_model(model)), name
        assert changes(model) == ()


def test_a_change_of_terms_is_said_with_both_days() -> None:
    model = catalogue().models["deepseek-r1"]
    old = read_terms(
        "as_of,model,licence,commercial,restrictions,source\n"
        "2025-01-20,deepseek-r1,DeepSeek License,false,research only,https://x\n"
    )
    (line,) = changes(model, old)
    assert line == (
        "the licence of deepseek-r1 changed between 2025-01-20 and 2026-11-23: DeepSeek License → "
        "MIT; commercial use not allowed → allowed; restrictions lifted "
        "(https://huggingface.co/deepseek-ai/DeepSeek-R1)"
    )
    assert changes(replace(model, name="unheard-of"), old) == ()


def test_it_stands_beside_a_verdict() -> None:
    """Of a claim about speed and of one about the licence."""
    old = replace(shipped_terms()[0], model="deepseek-r1", as_of="2025-01-20", licence="Other")
    sources = replace(conf_sources(), terms=(old,))
    for name in ("source-document-hardware/r1-2xa100", "source-document-models/r1-licence"):
        note = assess(every_claim()[name], sources).note
        assert note is not None
        assert "the licence of deepseek-r1 changed between 2025-01-20 and 2026-11-23" in note
