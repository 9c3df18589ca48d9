"""Requests from workloads and from files: seeded, distinct, exact, read as they are needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.checks.engine import shared_prompt_tokens
from bench.traffic.trace_file import trace_extent, trace_rows
from bench.traffic.workload import generate, lengths
from bench.traffic.workload_file import check, conversations
from bench.values.errors import InputError
from bench.values.record import PlannedRequest
from bench.values.spec import LengthSpec, SloSpec, WorkloadSpec

SLO = SloSpec(ttft_ms=1000, tpot_ms=100)


def spec(**changes: Any) -> WorkloadSpec:
    keys: dict[str, Any] = {"name": "w", "input_tokens": 32, "output_tokens": 8, "slo": SLO}
    return WorkloadSpec(**{**keys, **changes})


def drawn(workload: WorkloadSpec, count: int, *seed: int, **more: Any) -> list[PlannedRequest]:
    return list(generate(workload, count, seed=seed or (0, 0, 0), vocab_size=1000, **more))


def jsonl(path: Path, records: Sequence[Any]) -> str:
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return str(path)


SHAREGPT = {
    "conversations": [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "What is a mat?"},
        {"from": "gpt", "value": "A floor covering."},
        {"from": "human", "value": "And a cat?"},
        {"from": "gpt", "value": "An animal that sits on one."},
    ]
}
MESSAGES = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 7}


# --- made up --------------------------------------------------------------------------------------


def test_repeats_have_prompts_of_their_own_and_variants_the_same() -> None:
    """The seed is (seed, load point, repeat): the same for every model, quantisation and engine."""
    first, again, next_repeat = (drawn(spec(), 50, 0, 0, r) for r in (0, 0, 1))
    assert [r.prompt for r in first] == [r.prompt for r in again]
    prompts = [tuple(r.prompt) for r in first + next_repeat]
    assert len(set(prompts)) == 100
    # No block of 16 tokens opens two prompts: the prefix cache finds nothing.
    assert len({p[:16] for p in prompts}) == 100


@given(
    st.integers(1, 60), st.integers(1, 4), st.integers(0, 20), st.integers(1, 3), st.integers(0, 9)
)
def test_every_request_is_as_long_as_it_says(
    fresh: int, turns: int, prefix: int, prefixes: int, seed: int
) -> None:
    """A turn's prompt is all that was said before, then `fresh` new tokens."""
    workload = spec(
        input_tokens=fresh + prefix,
        turns=turns,
        shared_prefix_tokens=prefix,
        shared_prefix_count=prefixes,
    )
    requests = drawn(workload, 3 * turns, seed)
    assert [r.index for r in requests] == list(range(3 * turns))
    for request in requests:
        assert len(request.prompt) == request.input_tokens
        turn = request.index % turns
        assert request.input_tokens == (fresh + prefix) * (turn + 1) + 8 * turn
        if turn:
            before = requests[request.index - 1]
            assert request.prompt[: before.input_tokens] == before.prompt
            assert request.session == before.session


def test_the_declared_share_of_a_prefix_by_hand() -> None:
    """Six prompts of 40 tokens after one of 2 prefixes of 30: the first two repeat nothing, so
    4 x 30 of 240 tokens do."""
    workload = spec(input_tokens=40, shared_prefix_tokens=30, shared_prefix_count=2)
    requests = drawn(workload, 6)
    assert len({tuple(r.prompt[:30]) for r in requests}) == 2
    assert len({tuple(r.prompt[30:]) for r in requests}) == 6
    columns = {
        "index": np.arange(6),
        "input_tokens": np.full(6, 40),
        "session": np.full(6, -1),
    }
    assert shared_prompt_tokens(workload, columns) == 120


def test_lengths_follow_their_distribution_within_their_bounds() -> None:
    rng = np.random.default_rng(3)
    normal = lengths(LengthSpec(dist="normal", mean=100, std=10, max=400), 20_000, rng)
    assert (normal.mean(), normal.std()) == (pytest.approx(100, abs=1), pytest.approx(10, abs=0.5))
    log = lengths(LengthSpec(dist="lognormal", median=100, sigma=0.5), 20_000, rng)
    assert np.median(log) == pytest.approx(100, rel=0.03)
    assert np.log(log).std() == pytest.approx(0.5, rel=0.03)
    flat = lengths(LengthSpec(dist="uniform", min=3, max=5), 9_000, rng)
    assert sorted(set(flat.tolist())) == [3, 4, 5]
    assert np.bincount(flat)[3:].min() > 2_800
    assert lengths(LengthSpec(dist="normal", mean=5, std=50, min=2, max=9), 99, rng).min() == 2


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"dist": "normal", "mean": 5}, "std is needed when dist is normal"),
        ({"dist": "lognormal"}, "median, sigma is needed"),
        ({"dist": "uniform", "min": 9, "max": 3}, "max must be at least min"),
        ({"dist": "normal", "mean": 5, "std": -1}, "std must be at least 0"),
    ],
)
def test_a_distribution_that_cannot_be_drawn_from_is_refused(
    keys: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        LengthSpec(**keys)


def test_a_prefix_as_long_as_the_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match=r"below input_tokens \(32\)"):
        spec(shared_prefix_tokens=32)


# --- from files -----------------------------------------------------------------------------------


def test_a_sharegpt_conversation_turn_by_turn(tmp_path: Path) -> None:
    """The system prompt stays first; a mark tells repeats apart; the recorded reply, not the
    server's, is what the second turn goes on from. Its 27 characters count as 7 tokens."""
    file = jsonl(tmp_path / "a.jsonl", [SHAREGPT])
    first, second = drawn(spec(file=file, turns=2), 2, 0, 1, 2, chat=True)
    said = [(m["role"], m["content"]) for m in second.prompt if isinstance(m, dict)]
    assert said == [
        ("system", "Be brief."),
        ("user", "(0.1.2.0) What is a mat?"),
        ("assistant", "A floor covering."),
        ("user", "And a cat?"),
    ]
    assert (first.output_tokens, second.output_tokens) == (4, 7)
    assert first.session == second.session


def test_a_file_is_read_again_and_again_with_other_prompts(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "a.jsonl", [MESSAGES, MESSAGES])
    requests = drawn(spec(file=file), 6, 0, 0, 1)
    assert [r.output_tokens for r in requests] == [7] * 6
    assert [r.prompt for r in requests] == [f"(0.0.1.{n}) Hello" for n in (0, 0, 1, 1, 2, 2)]


def test_a_trace_counts_from_its_first_arrival(tmp_path: Path) -> None:
    rows = [
        {"timestamp": 5_000, "input_length": 9, "output_length": 2},
        {"timestamp": 5_250, "input_length": 4, "output_length": 3},
    ]
    file = jsonl(tmp_path / "t.jsonl", rows)
    rows_read = trace_rows(spec(file=file))
    assert [(r.arrival_s, r.input_tokens, r.output_tokens) for r in rows_read] == [
        (0.0, 9, 2),
        (0.25, 4, 3),
    ]
    assert trace_extent(spec(file=file)).rate_per_s == pytest.approx(4.0)
    requests = drawn(spec(file=file, file_format="trace"), 2)
    assert [len(r.prompt) for r in requests] == [9, 4]


def test_a_file_is_streamed(tmp_path: Path) -> None:
    """The first rows come out although a later line is no JSON: nobody has read it yet."""
    good = '{"arrival_s": 1, "input_tokens": 1, "output_tokens": 1}\n'
    (tmp_path / "t.jsonl").write_text(good * 1003 + "{broken\n")
    rows = trace_rows(spec(file=str(tmp_path / "t.jsonl")))
    assert [next(rows).arrival_s for _ in range(1003)] == [0.0] * 1003
    with pytest.raises(InputError, match=r"t\.jsonl:1004: not JSON"):
        next(rows)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"messages": 3}, ":1: messages: a list is expected, 3 found"),
        ({"messages": [{"role": "me", "content": "x"}]}, r"messages\[0\].role: 'me' is none of"),
        ({"messages": [{"role": "user"}]}, r"messages\[0\].content: text is expected, nothing"),
        ({"conversations": [7]}, r"conversations\[0\]: an object is expected, 7 found"),
        ({"arrival_s": -1, "input_tokens": 1, "output_tokens": 1}, "arrival_s: a time from 0 to"),
        ({"arrival_s": 1, "input_tokens": 1}, "output_tokens: missing"),
        ({"arrival_s": 1, "input_tokens": 0, "output_tokens": 1}, "above 0 is expected, 0 found"),
        ({"question": "x"}, "neither conversations"),
        (7, "an object is expected, 7 found"),
    ],
)
def test_a_bad_line_names_file_line_and_field(record: Any, text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=text):
        check(spec(file=jsonl(tmp_path / "a.jsonl", [record])))


TEXT = st.text(max_size=20)
ROLES = st.sampled_from(["user", "assistant", "system"])


@given(st.lists(st.lists(st.tuples(ROLES, TEXT), max_size=6), min_size=1, max_size=5))
def test_no_message_is_lost_or_made_up(
    tmp_path_factory: pytest.TempPathFactory, said: list[list[tuple[str, str]]]
) -> None:
    """Of every conversation: all messages up to the last answered or asked question, in order, but
    for replies that answer nothing."""
    file = tmp_path_factory.mktemp("w") / "a.jsonl"
    records = [{"messages": [{"role": r, "content": t} for r, t in one]} for one in said]
    asked = [one for one in said if any(role == "user" for role, _ in one)]
    workload = spec(file=jsonl(file, records))
    if not asked:
        with pytest.raises(InputError, match="no conversation with a user's turn"):
            list(conversations(workload))
        return
    found = list(conversations(workload))
    assert len(found) == len(asked)
    for conversation, one in zip(found, asked, strict=True):
        users = [t for role, t in one if role == "user"]
        kept = [
            m["content"]
            for exchange in conversation.exchanges
            for m in exchange.messages
            if m["role"] == "user"
        ]
        assert kept == users
