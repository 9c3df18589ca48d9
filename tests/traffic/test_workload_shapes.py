"""Files as others write them: found by shape, read with their right values, refused by name."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest

from bench.cli.main import main
from bench.foreign.shapes import NAMES, shape_of
from bench.foreign.stamps import date_s, infer
from bench.traffic.plan import as_read
from bench.traffic.trace_file import trace_rows
from bench.traffic.workload import TracePrompts, generate
from bench.traffic.workload_file import check, conversations
from bench.traffic.workload_summary import Summary, summarise
from bench.values.errors import InputError
from bench.values.spec import SloSpec, WorkloadSpec
from bench.values.spec.load import FileFormat

DATA = Path(__file__).parents[1] / "data" / "workloads"


def spec(file: str | Path, **changes: Any) -> WorkloadSpec:
    slo = SloSpec(ttft_ms=1000, tpot_ms=100)
    keys: dict[str, Any] = {"name": "w", "input_tokens": 32, "output_tokens": 8, "slo": slo}
    return WorkloadSpec(**{**keys, "file": str(file), **changes})


def written(folder: Path, text: str, name: str = "w.jsonl") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_the_configuration_knows_every_shape() -> None:
    assert set(get_args(FileFormat)) == set(NAMES)


@pytest.mark.parametrize(
    ("file", "shape", "requests", "first", "seconds"),
    [
        ("azure_code.csv", "azure", 13, (4808, 10), 29.479069),
        ("burstgpt.csv", "burstgpt", 3, (472, 18), 113.0),
        ("mooncake.jsonl", "mooncake", 7, (6758, 500), 15.0),
        ("bailian.jsonl", "bailian", 2, (48, 132), 1.386),
    ],
)
def test_a_trace_of_each_shape(
    file: str, shape: str, requests: int, first: tuple[int, int], seconds: float
) -> None:
    """Azure: 18:17:03.97996 to 18:17:33.459029. BurstGPT: 5 s to 118 s. Mooncake: 15,000 ms."""
    assert shape_of(str(DATA / file)).name == shape
    rows = list(trace_rows(spec(DATA / file)))
    assert (rows[0].input_tokens, rows[0].output_tokens) == first
    assert len(rows) == requests
    assert rows[-1].arrival_s == pytest.approx(seconds, abs=1e-6)


def test_failed_requests_of_a_log_are_counted_by_reason() -> None:
    assert summarise(spec(DATA / "burstgpt.csv")).left_out == {"output_tokens is 0": 1}


def test_prefixes_are_really_shared_and_nothing_else_is() -> None:
    """Mooncake's block 0 opens all seven prompts: 6 x 512 of 15,403 tokens repeat, 19.9 %; in the
    prompts made, the first 512 tokens are equal and the next differ. Bailian's second prompt
    repeats the first one's 48 of 108 tokens: 44.4 %."""
    found = summarise(spec(DATA / "mooncake.jsonl")).sharing
    assert found is not None
    assert found.trace == found.trace_head == found.realised == 6 * 512 / 15_403
    workload = spec(DATA / "mooncake.jsonl")
    prompts = TracePrompts(workload, (0, 0, 1), 1000, as_text=False, chat=False)
    made = [prompts.request(r, i) for i, r in enumerate(trace_rows(workload))]
    assert [len(p.prompt) for p in made] == [p.input_tokens for p in made]
    assert len({tuple(p.prompt[:512]) for p in made}) == 1
    assert len({tuple(p.prompt[512:528]) for p in made}) == 7
    assert [p.shared_tokens for p in made] == [0] + [512] * 6
    bailian = summarise(spec(DATA / "bailian.jsonl"))
    assert bailian.sharing is not None
    assert bailian.sharing.realised == 48 / 108


def test_a_block_size_that_cannot_be_is_refused_by_line() -> None:
    with pytest.raises(InputError, match=r"jsonl:1: hash_ids: 3 blocks of 64 tokens are more"):
        list(trace_rows(spec(DATA / "bailian.jsonl", hash_block_tokens=64)))


@pytest.mark.parametrize(
    ("file", "asked", "answers"),
    [
        ("openai_batch.jsonl", ["Hello world!", "Hello world!"], [1000, 1000]),
        ("vllm_custom.jsonl", ["What is the capital of India?"], [10]),
        ("mt_bench.jsonl", ["Imagine you are participating"], [8]),
    ],
)
def test_prompts_of_each_shape(file: str, asked: list[str], answers: list[int]) -> None:
    drawn = list(generate(spec(DATA / file), len(asked), seed=(0,), vocab_size=None, chat=True))
    for request, text in zip(drawn, asked, strict=True):
        last = request.prompt[-1]
        assert isinstance(last, dict)
        assert last["role"] == "user"
        assert last["content"].startswith(f"(0.0) {text}")
    assert [r.output_tokens for r in drawn] == answers


def test_turns_grow_although_no_reply_was_recorded() -> None:
    """Eight drawn words stand for the eight tokens of the answer that MT-bench does not hold."""
    workload = spec(DATA / "mt_bench.jsonl", turns=2)
    first, second = generate(workload, 2, seed=(0,), vocab_size=None, chat=True)
    said = [m for m in second.prompt if isinstance(m, dict)]
    assert [m["role"] for m in said] == ["user", "assistant", "user"]
    assert len(said[1]["content"].split()) == 8
    assert said[0] == first.prompt[0]


def test_gaps_of_turns_are_those_of_the_file() -> None:
    workload = spec(DATA / "aiperf_multi_turn.jsonl", turns=2, turn_gap_s=9.0)
    drawn = list(generate(workload, 4, seed=(0,), vocab_size=None, chat=True))
    assert [r.gap_ns for r in drawn] == [0, 1_000_000_000, 0, 2_500_000_000]


def test_an_agents_session_is_one_conversation_with_calls_as_text() -> None:
    """The second request adds a call (null content) and a tool's answer to the first."""
    first, second = list(conversations(spec(DATA / "sessions.jsonl")))
    opening, answer = first.exchanges
    assert opening.reply is not None
    assert '"name": "weather"' in opening.reply
    assert answer.messages == ({"role": "user", "content": "11 C, rain"},)
    assert answer.gap_s == pytest.approx(4.503332)
    assert answer.output_tokens == 30
    assert len(second.exchanges) == 1


def test_packing_marks_and_line_ends_change_nothing(tmp_path: Path) -> None:
    """The same rows from .gz, .zst, with a byte order mark, with CRLF and with a wrong name."""
    raw = (DATA / "azure_code.csv").read_bytes()
    kinds = {
        "a.csv.gz": gzip.compress(raw),
        "b.csv.zst": pa.Codec("zstd").compress(raw, asbytes=True),
        "c.csv": b"\xef\xbb\xbf" + raw.replace(b"\n", b"\r\n"),
        "d.jsonl": raw,
    }
    right = list(trace_rows(spec(DATA / "azure_code.csv")))
    for name, content in kinds.items():
        (tmp_path / name).write_bytes(content)
        assert list(trace_rows(spec(tmp_path / name))) == right


def test_one_array_is_read_object_by_object(tmp_path: Path) -> None:
    record = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}]}
    file = written(tmp_path, json.dumps([record] * 3, indent=1), "sharegpt.json")
    assert len(list(conversations(spec(file)))) == 3
    long = {"conversations": [{"from": "human", "value": "word " * 80_000}]}
    file = written(tmp_path, json.dumps([long] * 4), "sharegpt.json")  # longer than what is read
    assert len(list(conversations(spec(file)))) == 4
    file = written(tmp_path, json.dumps([record, 7]), "sharegpt.json")
    with pytest.raises(InputError, match="entry 2: an object is expected, 7 found"):
        check(spec(file))


def test_plain_text_is_a_prompt_a_line(tmp_path: Path) -> None:
    file = written(tmp_path, "Why?\n\nHow?\n", "prompts.txt")
    drawn = list(generate(spec(file), 2, seed=(0,), vocab_size=None))
    assert [r.prompt for r in drawn] == ["(0.0) Why?", "(0.0) How?"]
    other = written(tmp_path, "Why?\n", "prompts.md")
    with pytest.raises(InputError, match="neither JSON nor the header of a known trace"):
        check(spec(other))
    check(spec(other, file_format="text"))


ROW = '{{"timestamp": {}, "input_length": 9, "output_length": 2}}\n'


@pytest.mark.parametrize(
    ("stamps", "text"),
    [
        (("NaN",), r":1: timestamp: a time from 0 to .* nan found"),
        (("0", "Infinity"), r":2: timestamp: a time from 0 to .* inf found"),
        (("0", "1000", "1700000000000"), r":3: timestamp: 54 years after the line before"),
        (("0", "2", "5"), "the unit of its stamps is not said and cannot be inferred"),
    ],
)
def test_a_stamp_that_is_none_names_its_line(
    stamps: tuple[str, ...], text: str, tmp_path: Path
) -> None:
    file = written(tmp_path, "".join(ROW.format(s) for s in stamps))
    with pytest.raises(InputError, match=text):
        list(trace_rows(spec(file)))


def test_seconds_are_not_sent_a_thousand_times_too_fast(tmp_path: Path) -> None:
    """0, 1.5 and 2.25 are 0.89 requests/s in s and 889 in ms: inferred, and told. 0, 2 and 5 may
    be a busy log in ms: declared, they are what is said."""
    file = written(tmp_path, "".join(ROW.format(s) for s in ("0.0", "1.5", "2.25")))
    assert [r.arrival_s for r in trace_rows(spec(file))] == [0.0, 1.5, 2.25]
    how = summarise(spec(file)).reading
    assert how is not None
    assert (how.stamps.unit, how.stamps.sure) == ("s", False)
    file = written(tmp_path, "".join(ROW.format(s) for s in ("0", "2", "5")))
    for unit, seconds in (("s", 5.0), ("ms", 0.005)):
        assert list(trace_rows(spec(file, time_unit=unit)))[-1].arrival_s == seconds


def test_stamps_since_1970_say_their_unit(tmp_path: Path) -> None:
    for scale, unit in ((1, "s"), (1_000, "ms"), (10**9, "ns")):
        stamps = [1_700_000_000 * scale, 1_700_000_002 * scale]
        how = infer([float(s) for s in stamps], by_format="ms", named=None)
        assert (how.unit, how.sure) == (unit, False)
        file = written(tmp_path, "".join(ROW.format(s) for s in stamps))
        assert [r.arrival_s for r in trace_rows(spec(file))] == [0.0, 2.0]


def test_dates_are_read_to_the_last_digit() -> None:
    """Azure's later traces have a zone and six digits: 2024-05-10 is day 19,853 since 1970."""
    assert date_s("2024-05-10 00:00:00.009930+00:00") == pytest.approx(19_853 * 86_400 + 0.00993)
    assert date_s("no date") is None


def test_percentiles_by_hand(tmp_path: Path) -> None:
    """Prompts of 1 to 100 tokens: nearest rank gives 50, 90 and 99; the mean is 50.5."""
    rows = "".join(
        f'{{"arrival_s": {i}, "input_tokens": {i + 1}, "output_tokens": 1}}\n' for i in range(100)
    )
    found: Summary = summarise(spec(written(tmp_path, rows)))
    size = found.input_tokens
    assert (size.p50, size.p90, size.p99, size.most, size.mean) == (50, 90, 99, 100, 50.5)
    assert found.arrivals is not None
    assert found.arrivals.rate_per_s == 1.0
    assert found.arrivals.peak_per_s == 1.0
    assert sum(found.arrivals.by_time) == 100


def test_a_run_says_how_its_trace_was_read() -> None:
    """Inferred or by its format, the unit and the block are those of the run from then on."""
    read = as_read(spec(DATA / "mooncake.jsonl"))
    assert (read.time_unit, read.hash_block_tokens) == ("ms", 512)
    assert list(trace_rows(read)) == list(trace_rows(spec(DATA / "mooncake.jsonl")))
    azure = as_read(spec(DATA / "azure_code.csv"))
    assert (azure.time_unit, azure.hash_block_tokens) == ("s", None)
    assert as_read(spec(DATA / "mt_bench.jsonl")).time_unit is None


def test_one_request_of_one_conversation_is_said_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "one.jsonl"
    turns = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    file.write_text(json.dumps({"conversations": turns}) + "\n")
    with pytest.raises(SystemExit):
        main(["workload", str(file)])
    assert "1 request of 1 conversation\n" in capsys.readouterr().out
