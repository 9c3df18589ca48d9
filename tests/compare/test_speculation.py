"""Speculative decoding on and off: what it is called, and whether it gains by pairs of launches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from gate_support import launched

from bench.cli.verbs.compare import told_apart
from bench.compare.compare import compare
from bench.compare.likeness import differences
from bench.compare.variant import Variant, label
from bench.config.compose import choices, compose, run_spec
from bench.measure.measurement import Measurement
from bench.values.errors import InputError
from bench.values.finding import finding
from bench.values.spec import RunSpec

RATE = "output_tokens_per_s"
DRAFTS = (
    "--speculative-config",
    '{"method": "ngram", "num_speculative_tokens": 3}',
)


def spec_of(*args: str) -> RunSpec:
    made = run_spec(compose(["gpus=0", "checkpoints_dir=/nowhere"]))
    spec: RunSpec = replace(made, engine=replace(made.engine, args=args))
    return spec


def variant(rates: Sequence[float], *args: str, acceptance: Sequence[float] = ()) -> Variant:
    """Launches of these rates; in each the engine counted that share of its drafts as accepted."""
    made = launched({RATE: rates}, name=label(spec_of(*args)))
    rounds = []
    for number, one in enumerate(made.rounds):
        (point,) = one.measurement.points
        found = point.findings
        if acceptance:
            found = (finding("speculation", "info", "drafts", acceptance[number], "1"),)
        measured = Measurement(points=(replace(point, findings=found),))
        run = replace(one.run, spec=spec_of(*args))
        rounds.append(replace(one, run=run, measurement=measured))
    return replace(made, rounds=tuple(rounds))


OFF = (100.0, 101.0, 102.0)


@pytest.mark.parametrize(
    ("rates", "said", "code"),
    [
        ((130.0, 131.5, 132.4), "speculative decoding (ngram 3) gains, 58% to 62%", "gains"),
        ((80.0, 81.0, 81.4), "speculative decoding (ngram 3) loses, 58% to 62%", "loses"),
        ((100.1, 101.0, 102.1), "gains nothing (within 1%), 58% to 62%", "same"),
        ((90.0, 120.0, 99.0), "shows no gain, 58% to 62%", "same"),
    ],
)
def test_the_net_gain_is_that_of_pairs_of_launches(
    rates: Sequence[float], said: str, code: str
) -> None:
    on = variant(rates, *DRAFTS, acceptance=(0.58, 0.62, 0.6))
    _, row = compare([variant(OFF), on]).rows
    assert row.name == "none + ngram 3"
    assert said in row.verdict
    assert f"speculation_{code}" in row.codes
    # The same the other way round: who drafts gains or loses, whichever is the baseline.
    _, row = compare([on, variant(OFF)]).rows
    assert said in row.verdict


def test_two_launches_and_no_counters_say_so() -> None:
    _, row = compare([variant((100.0, 101.0)), variant((130.0, 131.0), *DRAFTS)]).rows
    assert "(ngram 3) has no verdict, the engine counts no acceptance: in this run" in row.verdict
    assert "speculation_no_verdict" in row.codes


def test_drafting_alone_may_differ_among_the_engines_words() -> None:
    off, on = variant((1.0,)).first, variant((1.0,), *DRAFTS).first
    (only,) = differences(off, on)
    assert (only.key, only.kind, only.variant) == ("speculation", "variant", "ngram 3")
    more = variant((1.0,), "--block-size", "32", *DRAFTS).first
    assert {d.key: d.kind for d in differences(off, more)} == {
        "speculation": "variant",
        "engine.args": "refused",
    }


def test_the_names_are_the_methods() -> None:
    assert label(spec_of()) == "none"
    assert label(spec_of("--spec-method=eagle3", "--spec-tokens=2")) == "none + eagle3 2"
    assert label(spec_of("-sc.model", "org/draft")) == "none + draft"


def test_what_is_to_be_measured_in_turns_is_told_apart_before_it_starts() -> None:
    offered = "engine.args=[],[--spec-method,ngram,--spec-tokens,'3']"
    off, on = choices(offered)
    assert (off, choices("quant=none")) == ("engine.args=[]", ("quant=none",))
    specs = [run_spec(compose(["gpus=0", v])) for v in (off, on)]
    told_apart(specs)
    assert label(specs[1]) == "none + ngram 3"
    with pytest.raises(InputError, match="none, none are not told apart"):
        told_apart([specs[0], replace(specs[0], seed=9)])
