"""Claim files: what is malformed names the field, several share a head, names are found."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from claims_support import CONDITIONS, CONF, HEAD, conf_sources, every_claim

from bench.claims.assess import assess
from bench.claims.load import chosen, claims_of
from bench.claims.measured import differences, required
from bench.claims.skeleton import skeleton
from bench.claims.spec import Serving
from bench.cli.claim_files import read
from bench.values.errors import InputError

SERVING = {
    "kind": "serving",
    "conditions": CONDITIONS,
    "metric": None,
    "definition": None,
    "stated": None,
}


def test_the_skeleton_is_complete_and_unfilled() -> None:
    data = yaml.safe_load(skeleton("mine"))
    with pytest.raises(InputError, match=r"mine\.yaml: fill in who, where, as_of, quote"):
        claims_of("mine", data, "mine.yaml")
    filled = {**data, **HEAD, "says": {**data["says"]}}
    (claim,) = claims_of("mine", filled, "mine.yaml")
    assert claim.name == "mine"
    assert assess(claim, conf_sources()).verdict == "not comparable"
    explained = [line for line in skeleton("mine").splitlines() if ": null" in line]
    assert all("#" in line for line in explained), "a field without its explanation"


def without(data: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in data.items() if k != key}


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ({**SERVING, "conditions": without(CONDITIONS, "concurrency")}, "concurrency"),
        ({**SERVING, "conditions": {**CONDITIONS, "concurency": 8}}, "Did you mean 'concurrency'"),
        ({**SERVING, "conditions": {**CONDITIONS, "input_tokens": 0}}, "input_tokens must be"),
        ({**SERVING, "conditions": {**CONDITIONS, "gpus": "two"}}, "gpus"),
        ({**SERVING, "metric": "output_tokens_per_s"}, "stated is missing"),
        ({**SERVING, "kind": "servng"}, "Did you mean 'serving'"),
        ({"kind": "lookup"}, "items needs at least one entry"),
        ({"kind": "lookup", "items": [{"what": "x"}]}, "give either stated or text"),
        (
            {"kind": "arithmetic", "stated": {"value": 1, "unit": "USD"}, "calculations": []},
            "calculations needs at least one entry",
        ),
        (
            {
                "kind": "arithmetic",
                "stated": {"value": 2, "high": 1, "unit": "USD"},
                "calculations": [],
            },
            "high must not be below value",
        ),
        (
            {
                "kind": "arithmetic",
                "stated": {"value": 1, "unit": "USD"},
                "calculations": [{"what": "x", "formula": "a", "terms": {"a": {"unit": "USD"}}}],
            },
            "exactly one of value, price and tco",
        ),
    ],
)
def test_a_malformed_claim_names_the_field(says: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        claims_of("bad", {**HEAD, "says": says}, "bad.yaml")
    assert str(raised.value).startswith("bad.yaml")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1], "a claim is a group of keys"),
        ({"claims": {}}, "is not a group of named claims"),
        ({"claims": {"a": 1}}, r"claims\.a: 1 is not a group of keys"),
        ({**HEAD, "name": "x", "says": SERVING}, "called after its file"),
        ({**HEAD, "as_of": "yesterday", "says": SERVING}, "is not a date"),
        ({**HEAD, "quote": " ", "says": SERVING}, "quote must say something"),
    ],
)
def test_a_malformed_file_is_one_line(data: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        claims_of("bad", data, "bad.yaml")


CLAIM = """\
who: me
where: here
as_of: 2026-02-17
quote: q
says:
  kind: serving
  conditions: {model: tiny, quant: none, gpu: h100, form_factor: sxm, gpus: 1, engine: vllm,
    engine_version: "0.32.0", input_tokens: 64, output_tokens: 64, concurrency: 8}
  metric: output_tokens_per_s
  definition: d
  stated: {value: 50, unit: tokens/s}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2026-02-17", "2099-01-01", "as_of: 2099-01-01 lies in the future: today is "),
        ("2026-02-17", "2026-02-17 10:00:00", "2026-02-17 10:00:00 is not a text: write the date"),
        ("2026-02-17", "2026", """as_of: 2026 is not a text: quote it, '"2026"'."""),
        ("value: 50", 'value: "40,000"', "value: '40,000' is not a number: write 40000."),
        ("value: 50", 'value: "0,500"', "'0,500' is not a number: write 0.5 or 500."),
        ("value: 50", 'value: "-0,025"', "'-0,025' is not a number: write -0.025 or -25."),
        ("value: 50", 'value: "0,500,000"', "'0,500,000' is not a number."),
        ("concurrency: 8", 'concurrency: "0,500"', "'0,500' is not a whole number."),
        ("value: 50", "value: 50k", "value: '50k' is not a number: write 50000."),
        ("value: 50", "value: 1e6", "value: '1e6' is not a number: write 1000000."),
        ("value: 50", "value: 1:30", "line 11: 1:30 is a number in base 60 to YAML: quote it"),
        ("value: 50", "value: -50", "stated.value -50.0 is negative: no metric is"),
        ("value: 50", "value: .nan", "stated.value must be a number, not nan"),
        ("value: 50", "value: 50, high: .nan", "stated.high must be a number, not nan"),
        ("concurrency: 8", "concurrency: 010", "010 is a number in base 8 to YAML"),
        ("concurrency: 8", 'concurrency: "1,024"', "is not a whole number: write 1024."),
        ("concurrency: 8", "concurrency: .inf", "concurrency: inf is not a whole number."),
        ("concurrency: 8", "concurrency: null, rate_per_s: -3", "rate_per_s must be above 0"),
        ("concurrency: 8", "concurrency: 8, gpu_memory_gb: 0", "gpu_memory_gb must be above 0"),
        ("concurrency: 8", "concurrency: 8, tokens_per_pass: .inf", "must be a finite number"),
        ("engine: vllm", "engine: yes", "engine: true is not a text (YAML reads yes, no, on"),
    ],
)
def test_a_number_or_date_that_is_none_is_one_plain_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(CLAIM.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read(file)
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(file))
    assert "datetime" not in str(raised.value)


def test_a_date_needs_no_quotes(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(CLAIM, encoding="utf-8")
    assert read(file)[0].as_of == "2026-02-17"


def test_a_date_inside_a_claim_may_not_lie_ahead_either() -> None:
    report = {"value": 1, "unit": "tokens/s", "source": "s", "conditions": CONDITIONS}
    for as_of, message in (
        ("2026-05-01", "reports[0].as_of: 2026-05-01 lies"),
        ("x", "is not a date"),
    ):
        data = {**HEAD, "says": {**SERVING, "reports": [{**report, "as_of": as_of}]}}
        with pytest.raises(InputError, match=re.escape(message)):
            claims_of("bad", data, "bad.yaml", today=date(2026, 4, 1))


def test_what_a_calculation_lacks_names_the_claim() -> None:
    def one(terms: dict[str, Any], formula: str = "a", unit: str = "USD") -> Any:
        calculation = {"what": "x", "formula": formula, "terms": terms}
        says = {
            "kind": "arithmetic",
            "stated": {"value": 1, "unit": unit},
            "calculations": [calculation],
        }
        return claims_of("bad", {**HEAD, "says": says}, "bad.yaml")[0]

    for claim, message in (
        (one({"a": {"unit": "USD/Mtok", "price": "nobody/nothing input"}}), "price book has no"),
        (one({"a": {"unit": "USD", "value": 1}}, "b"), "bad: formula: 'b' is no term"),
        (one({"a": {"unit": "florin", "value": 1}}), "bad: unit: 'florin'"),
        (
            one({"a": {"unit": "USD", "tco": "source-document", "figure": ["nothing"]}}),
            "nothing is not in the answer",
        ),
    ):
        with pytest.raises(InputError, match=message):
            assess(claim, conf_sources())


def test_units_that_cannot_come_out_refute() -> None:
    says = {
        "kind": "arithmetic",
        "stated": {"value": 1, "unit": "USD/month"},
        "calculations": [
            {
                "what": "a price is no bill",
                "formula": "a",
                "terms": {"a": {"unit": "USD/Mtok", "value": 1}},
            }
        ],
    }
    (claim,) = claims_of("units", {**HEAD, "says": says}, "units.yaml")
    found = assess(claim, conf_sources())
    assert (found.verdict, found.checks[0].kind) == ("refuted", "units")


def test_several_claims_share_their_head() -> None:
    own = {"quote": "another", "says": SERVING}
    found = claims_of("file", {**HEAD, "claims": {"a": own, "b": {**own, "who": "b"}}}, "f.yaml")
    assert [c.name for c in found] == ["file/a", "file/b"]
    assert [c.who for c in found] == [HEAD["who"], "b"]


def test_names_are_found_whole_short_or_by_file() -> None:
    every = every_claim().values()
    assert [c.name for c in chosen(["tiny/true"], every)] == ["tiny/true"]
    assert [c.name for c in chosen(["r1-2xa100"], every)] == ["source-document-hardware/r1-2xa100"]
    assert len(chosen(["tiny"], every)) == 4
    with pytest.raises(InputError, match="Did you mean 'r1-2xa100'"):
        chosen(["r1-2xa10"], every)


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_quotes_of_the_document_say_where(path: Path) -> None:
    for name, claim in every_claim().items():
        if name.startswith("source-document"):
            assert claim.where.startswith(("section", "summary")), name


@pytest.mark.parametrize(
    ("said", "verdict", "told"),
    [
        (None, "not comparable", "does not mention (speculative)"),
        (False, "impossible", ""),
        (True, "not comparable", "source does not say (tokens_per_pass)"),
    ],
)
def test_what_speculation_would_allow_stands_in_the_first_line(
    said: bool | None, verdict: str, told: str
) -> None:
    """Reading 16 GB of weights at 3.35 TB/s for each token of one request: at most 228 tokens/s."""
    text = CLAIM.replace("tiny", "llama-3.1-8b").replace("concurrency: 8", "concurrency: 1")
    text = text.replace("value: 50", "value: 600")
    data = yaml.safe_load(text)
    data["says"]["conditions"]["speculative"] = said
    found = assess(claims_of("mine", data, "mine.yaml")[0], conf_sources())
    assert found.verdict == verdict
    assert told in found.why
    open_keys = next(e for c in found.checks for e in c.evidence if "lets most through" in e)
    assert ("speculative" in open_keys) == (said is None)


def test_a_claim_without_speculation_is_not_settled_with_it() -> None:
    data = yaml.safe_load(CLAIM)
    for said, have, same in (
        (False, True, False),
        (False, False, True),
        (True, None, False),
        (None, True, True),
        (None, None, True),
    ):
        data["says"]["conditions"]["speculative"] = said
        says = claims_of("mine", data, "mine.yaml")[0].says
        assert isinstance(says, Serving)
        wanted = required(says, conf_sources().catalogue.gpus)
        found = differences(wanted, {**wanted, "speculative": have})
        assert (not found) == same, (said, have)
