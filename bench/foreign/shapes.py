"""Which shape a file of requests has, and its records in one of five common forms.

sharegpt  {"conversations": [{"from": "human", "value": "…"}, …]}
messages  {"messages": [{"role": "user", "content": "…"}, …], "output_tokens": 200}: a conversation
request   the same, to be sent as it is, replies of before included
turns     {"turns": [{"text": "…", "delay_s": 1.5, "output_tokens": 20}, …]}
trace     {"arrival": 0.25, "input_tokens": 512, "output_tokens": 64, "hash_ids": […], "text": …}

A new shape is one entry in `SHAPES`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from bench.foreign import lines
from bench.foreign.stamps import Unit
from bench.values.errors import InputError, nearest
from bench.values.file_kind import other_reader

Form = Literal["sharegpt", "messages", "request", "turns", "trace"]
Values = Mapping[str, Any]

ARRIVALS: dict[str, Unit | None] = {"arrival_s": "s", "timestamp_ms": "ms", "timestamp": None}
_OUTPUTS = (
    "output_tokens",
    "max_tokens",
    "max_completion_tokens",
    "output_length",
    "expected_output_len",
)
_INPUTS = ("input_tokens", "input_length")
_TEXTS = ("prompt", "text", "text_input", "input_text")
KEY = "workload.file"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One way in which others write requests down: how it is told, and its common form.

    `by_format` is the unit that the format's definition gives its stamps, `block_tokens` how many
    tokens one of its hash ids stands for.
    """

    name: str
    title: str
    form: Form
    is_like: Callable[[Values], bool]
    common: Callable[[Values], Values]
    by_format: Unit | None = None
    block_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record of a file in its common form, and where it stands."""

    where: str
    shape: Shape
    values: Values


def _has(*keys: str) -> Callable[[Values], bool]:
    return lambda record: all(k in record for k in keys)


def _any(*keys: str) -> Callable[[Values], bool]:
    return lambda record: any(k in record for k in keys)


def _first(record: Values, names: tuple[str, ...]) -> Any:
    return next((record[n] for n in names if record.get(n) is not None), None)


def _as_it_is(record: Values) -> Values:
    return record


def _batch(record: Values) -> Values:
    body = record["body"]
    if "messages" not in body and "prompt" in body:
        return _prompt(body)
    return {**body, "output_tokens": _first(body, _OUTPUTS)}


def _session(record: Values) -> Values:
    delay = record.get("delay")
    return {
        **record,
        "output_tokens": _first(record, _OUTPUTS),
        "delay_s": None if delay is None else _thousandth(delay),
    }


def _thousandth(value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value / 1e3 if number else value


def _prompt(record: Values) -> Values:
    message = {"role": "user", "content": _first(record, _TEXTS)}
    return {"messages": [message], "output_tokens": _first(record, _OUTPUTS)}


def _turns(record: Values) -> Values:
    """MT-bench has texts for turns, AIPerf objects with a delay in milliseconds."""
    found = record["turns"]
    if not isinstance(found, list):
        return record
    return {"turns": [_turn(t) for t in found]}


def _turn(turn: Any) -> Any:
    if isinstance(turn, str):
        return {"text": turn}
    if not isinstance(turn, Mapping):
        return turn
    return {
        "text": _first(turn, _TEXTS),
        "delay_s": _thousandth(turn.get("delay")),
        "output_tokens": _first(turn, _OUTPUTS),
    }


def _trace(record: Values) -> Values:
    key = next(k for k in ARRIVALS if k in record)
    return {
        "arrival": record[key],
        "arrival_key": key,
        "input_tokens": _first(record, _INPUTS),
        "output_tokens": _first(record, _OUTPUTS),
        "hash_ids": record.get("hash_ids"),
        "text": _first(record, _TEXTS),
    }


def _azure(record: Values) -> Values:
    return _csv_trace(record, "timestamp", "contexttokens", "generatedtokens")


def _burst(record: Values) -> Values:
    return _csv_trace(record, "timestamp", "request tokens", "response tokens")


def _csv_trace(record: Values, at: str, input_key: str, output_key: str) -> Values:
    return {
        "arrival": record[at],
        "arrival_key": at,
        "input_tokens": _whole(record[input_key]),
        "output_tokens": _whole(record[output_key]),
    }


def _csv_generic(record: Values) -> Values:
    numbers = {k: _whole(v) for k, v in record.items() if k in (*_INPUTS, *_OUTPUTS)}
    return _trace({**record, **numbers})


def _whole(text: Any) -> Any:
    """CSV has no numbers: 12 and 12.0 are the whole number 12, anything else stays what it is."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return text
    return int(value) if value.is_integer() else value


SHAPES: tuple[Shape, ...] = (
    Shape(
        name="sharegpt",
        title="ShareGPT conversations",
        form="sharegpt",
        is_like=_has("conversations"),
        common=_as_it_is,
    ),
    Shape(
        name="openai-batch",
        title="OpenAI batch requests",
        form="request",
        is_like=lambda r: isinstance(r.get("body"), Mapping) and _any("custom_id", "url")(r),
        common=_batch,
    ),
    Shape(
        name="sessions",
        title="requests of sessions (agentic: session_id, messages, delay)",
        form="request",
        is_like=_has("session_id", "messages"),
        common=_session,
    ),
    Shape(
        name="messages",
        title="OpenAI messages",
        form="messages",
        is_like=_has("messages"),
        common=_as_it_is,
    ),
    Shape(
        name="bailian",
        title="Qwen Bailian usage trace",
        form="trace",
        is_like=_has("chat_id", "parent_chat_id", "timestamp"),
        common=_trace,
        by_format="s",
        block_tokens=16,
    ),
    Shape(
        name="mooncake",
        title="Mooncake trace",
        form="trace",
        is_like=lambda r: "timestamp" in r and _any("input_length", "hash_ids", *_TEXTS)(r),
        common=_trace,
        by_format="ms",
        block_tokens=512,
    ),
    Shape(
        name="trace",
        title="timestamped trace",
        form="trace",
        is_like=_any(*ARRIVALS),
        common=_trace,
    ),
    Shape(
        name="turns",
        title="turns (MT-bench, AIPerf multi-turn)",
        form="turns",
        is_like=_has("turns"),
        common=_turns,
    ),
    Shape(
        name="prompts",
        title="one prompt a line (vLLM custom, AIPerf single-turn)",
        form="request",
        is_like=_any(*_TEXTS),
        common=_prompt,
    ),
)

TABLES: tuple[Shape, ...] = (
    Shape(
        name="azure",
        title="Azure LLM inference trace",
        form="trace",
        is_like=_has("timestamp", "contexttokens", "generatedtokens"),
        common=_azure,
    ),
    Shape(
        name="burstgpt",
        title="BurstGPT trace",
        form="trace",
        is_like=_has("timestamp", "request tokens", "response tokens"),
        common=_burst,
        by_format="s",
    ),
    Shape(
        name="csv",
        title="timestamped trace (CSV)",
        form="trace",
        is_like=lambda r: _any(*ARRIVALS)(r) and _any(*_INPUTS)(r) and _any(*_OUTPUTS)(r),
        common=_csv_generic,
    ),
)

TEXT = Shape(
    name="text", title="plain text, a prompt a line", form="request", is_like=_any(), common=_prompt
)

_FORMS: dict[str, tuple[str, ...]] = {
    "sharegpt": ("sharegpt",),
    "messages": ("messages",),
    "trace": ("bailian", "mooncake", "trace"),
}
"""What `file_format` said before there were more shapes."""


def records(path: str, wanted: str | None = None) -> Iterator[Record]:
    """Every record of a file in its common form, as it is read.

    `wanted` is a shape's name, or None to find it by the first record. InputError names the file
    and the line, and what it would take.
    """
    with lines.opened(path, KEY) as file:
        opening = lines.opening(file, path)
        if opening is None:
            raise InputError(f"{KEY}: {path} is empty.")
        first, line = opening
        if wanted == TEXT.name or _is_text(path, line, wanted):
            yield from _of_text(file, path, opening)
        elif line.lstrip().startswith("["):
            yield from _of_objects(lines.elements(file, line, path), path, wanted, ", entry ")
        elif line.lstrip().startswith("{") or _looks_json(line):
            yield from _of_objects(_of_lines(file, path, opening), path, wanted, ":")
        else:
            yield from _of_table(file, path, line, first)


def shape_of(path: str, wanted: str | None = None) -> Shape:
    """The shape that a file has; InputError where it has none that is known."""
    for record in records(path, wanted):
        return record.shape
    raise InputError(f"{KEY}: {path} is empty.")


def _is_text(path: str, line: str, wanted: str | None) -> bool:
    names = [s.lower() for s in Path(path).suffixes]
    return wanted is None and ".txt" in names and line.lstrip()[:1] not in ("{", "[")


def _looks_json(line: str) -> bool:
    start = line.strip()[:1]
    return start in ('"', "-") or start.isdigit() or line.strip() in ("null", "true", "false")


def _of_text(file: TextIO, path: str, opening: tuple[int, str]) -> Iterator[Record]:
    rest = ((number + opening[0], line) for number, line in lines.numbered(file, path))
    for number, line in itertools.chain((opening,), rest):
        yield Record(where=f"{path}:{number}", shape=TEXT, values=_prompt({"text": line.strip()}))


def _of_lines(
    file: TextIO, path: str, opening: tuple[int, str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    first, line = opening
    yield first, lines.parsed(line, path, first)
    for number, text in lines.numbered(file, path):
        yield number + first, lines.parsed(text, path, number + first)


def _of_objects(
    found: Iterator[tuple[int, Mapping[str, Any]]], path: str, wanted: str | None, sign: str
) -> Iterator[Record]:
    shape: Shape | None = None
    for number, record in found:
        where = f"{path}{sign}{number}"
        if shape is None or not shape.is_like(record):
            shape = _like(record, where, wanted)
        yield Record(where=where, shape=shape, values=shape.common(record))


def _like(record: Values, where: str, wanted: str | None) -> Shape:
    allowed = _FORMS.get(wanted or "", (wanted,) if wanted else ())
    known = [s for s in SHAPES if not wanted or s.name in allowed]
    found = next((s for s in known if s.is_like(record)), None)
    if found is None:
        keys = ", ".join(sorted(map(str, record))[:6]) or "none"
        what = (
            f"not of the shape {wanted}"
            if wanted
            else (
                "neither conversations (ShareGPT), nor messages (OpenAI), nor prompt, nor turns, "
                "nor timestamp or arrival_s (a trace)"
            )
        )
        other = other_reader(where.rpartition(":")[0], "workload")
        raise InputError(f"{where}: {what}: its keys are {keys}.{other}")
    return found


def _of_table(file: TextIO, path: str, line: str, first: int) -> Iterator[Record]:
    header = [name.strip().strip('"').lower() for name in line.rstrip("\r\n").split(",")]
    shape = next((s for s in TABLES if s.is_like(dict.fromkeys(header))), None)
    if shape is None:
        near = nearest(header[0], ("timestamp", "arrival_s", "timestamp_ms"))
        if (other := other_reader(path, "workload")) and not path.endswith((".csv", ".json")):
            raise InputError(f"{path}: no workload, which is JSONL, JSON or CSV.{other}")
        raise InputError(
            f"{path}:{first}: neither JSON nor the header of a known trace (Azure, BurstGPT, or "
            f"arrival_s,input_tokens,output_tokens); it begins with {line.strip()[:40]!r}.{near} "
            "A file of plain prompts: workload.file_format=text."
        )
    for number, values in lines.rows(file, header, path, first + 1):
        yield Record(where=f"{path}:{number}", shape=shape, values=shape.common(values))


NAMES = tuple(s.name for s in (*SHAPES, *TABLES, TEXT))
