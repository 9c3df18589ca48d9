"""Timestamped traces: when requests of which lengths arrived, and which prefixes they shared.

A trace is read twice: its first rows to find what its stamps and hash ids stand for, then row by
row, as requests are needed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.foreign.lines import kind
from bench.foreign.shapes import ARRIVALS, Record, records
from bench.foreign.stamps import HEAD, PER_S, Inferred, infer, number
from bench.values.errors import InputError
from bench.values.spec import MOST_TOKENS, WorkloadSpec

MOST_S = 3_155_760_000
"""A hundred years: stamps of a trace may count from 1970."""

_MOST_GAP_S = 31_557_600
"""A year without a request is rather a stamp of another kind."""

_BLOCKS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_MOST_IDS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class TraceRow:
    """One request of a trace; `arrival_s` counts from the first row's.

    `hash_ids` name the blocks of its prompt: equal beginnings are equal text. `text` is the prompt
    where the trace has one, whose tokens are then assumed from its length.
    """

    arrival_s: float
    input_tokens: int
    output_tokens: int
    hash_ids: tuple[int, ...] = ()
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a trace is to be read: its shape, the unit of its stamps, the size of its blocks."""

    title: str
    stamps: Inferred
    block_tokens: int | None = None
    block_why: str = ""


class FieldError(Exception):
    """A field that is not what it should be; whoever reads adds file and line."""


CHARS_PER_TOKEN = 4.0
"""Assumed of English text, where only text is given and a token count is needed before the run."""


def assumed_tokens(text: str) -> int:
    """How many tokens a text is taken for before a server has counted them."""
    return max(1, round(len(text) / CHARS_PER_TOKEN))


def reading(spec: WorkloadSpec) -> Reading:
    """What the first rows of a trace say of the rest; InputError where it must be asked for."""
    path = spec.file or ""
    head = list(itertools.islice(_sized(path, spec.file_format), HEAD))
    if not head:
        raise InputError(f"workload.file: {path} holds no request.")
    first = head[0]
    stamps = [_stamp(record) for record in head]
    try:
        named = spec.time_unit or ARRIVALS.get(first.values["arrival_key"])
        dated = isinstance(first.values["arrival"], str) and not _is_number(first.values["arrival"])
        if dated:
            inferred = Inferred(unit="s", why="dates with times")
        else:
            inferred = infer(stamps, by_format=first.shape.by_format, named=named)
    except InputError as error:
        raise InputError(f"{path}: {error}.") from None
    block, why = _block(spec, head)
    return Reading(title=first.shape.title, stamps=inferred, block_tokens=block, block_why=why)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _block(spec: WorkloadSpec, head: Sequence[Record]) -> tuple[int | None, str]:
    """How many tokens a hash id stands for: declared, or the one size that fits every row."""
    hashed = [r.values for r in head if r.values.get("hash_ids")]
    if not hashed:
        return None, ""
    if spec.hash_block_tokens is not None:
        return spec.hash_block_tokens, "declared"
    pairs = [(len(v["hash_ids"]), v["input_tokens"]) for v in hashed if _listed(v)]
    usual = head[0].shape.block_tokens
    fitting = [b for b in _BLOCKS if all(n == -(-tokens // b) for n, tokens in pairs)]
    if usual in fitting or (usual is not None and not fitting):
        fits = "fits" if usual in fitting else "does not fit"
        return usual, f"by its format; {fits} the first {len(pairs):,} rows"
    if len(fitting) == 1:
        return fitting[0], f"the only size that fits the first {len(pairs):,} rows"
    raise InputError(
        f"{spec.file}: how many tokens a hash id stands for is not said: set "
        "workload.hash_block_tokens=512 (Mooncake) or 16 (Bailian)."
    )


def _listed(values: Mapping[str, Any]) -> bool:
    tokens = values.get("input_tokens")
    return isinstance(values["hash_ids"], list) and isinstance(tokens, int)


def _sized(path: str, wanted: str | None, left: dict[str, int] | None = None) -> Iterator[Record]:
    """Records of a trace but those without a prompt or an answer, which are counted in `left`."""
    for record in records(path, wanted):
        if record.shape.form != "trace":
            raise InputError(
                f"{record.where}: {record.shape.title}, where a timestamped trace is expected: "
                "set workload.file_format."
            )
        empty = [k for k in ("input_tokens", "output_tokens") if record.values.get(k) == 0]
        if empty and record.shape.name in ("azure", "burstgpt", "bailian", "mooncake"):
            if left is not None:
                left[f"{empty[0]} is 0"] = left.get(f"{empty[0]} is 0", 0) + 1
            continue
        yield record


def trace_rows(spec: WorkloadSpec, left: dict[str, int] | None = None) -> Iterator[TraceRow]:
    """The rows of a trace as they are read; InputError when it holds none, or for a bad line.

    Rows of a provider's log without a prompt or an answer (failed requests) are passed over, and
    counted in `left` by reason.
    """
    path = spec.file or ""
    how = reading(spec)
    scale = PER_S[how.stamps.unit]
    first = last = math.nan
    for record in _sized(path, spec.file_format, left):
        try:
            at = _stamp(record)
            first = at if math.isnan(first) else first
            _check_order(record, at, last, first, scale)
            last = at
            yield replace(_row(record.values, how), arrival_s=(at - first) / scale)
        except FieldError as error:
            raise InputError(f"{record.where}: {error}.") from None


def _check_order(record: Record, at: float, last: float, first: float, scale: float) -> None:
    key = record.values["arrival_key"]
    if at < last:
        raise FieldError(f"{key}: earlier than the line before")
    if (at - last) / scale > _MOST_GAP_S:
        years = (at - last) / scale / _MOST_GAP_S
        raise FieldError(
            f"{key}: {years:.0f} years after the line before: seconds since 1970 after offsets, or "
            "another unit?"
        )
    if (at - first) / scale > MOST_S:
        raise FieldError(f"{key}: more than a hundred years after the first")


def _stamp(record: Record) -> float:
    key, found = record.values["arrival_key"], record.values["arrival"]
    at = number(found)
    if at is None or at < 0:
        what = f"a time from 0 to {MOST_S:,} s (a hundred years)"
        raise InputError(f"{record.where}: {key}: {what} is expected, {kind(found)} found.")
    unit = ARRIVALS.get(key)
    if unit is not None and at / PER_S[unit] > MOST_S:
        what = f"a time from 0 to {MOST_S:,} s (a hundred years)"
        raise InputError(f"{record.where}: {key}: {what} is expected, {kind(found)} found.")
    return at


def _row(values: Mapping[str, Any], how: Reading) -> TraceRow:
    text = values.get("text")
    if text is not None and not isinstance(text, str):
        raise FieldError(f"prompt: text is expected, {kind(text)} found")
    input_tokens = count(values, "input_tokens")
    if input_tokens is None and text is not None:
        input_tokens = assumed_tokens(text)
    output_tokens = count(values, "output_tokens")
    if input_tokens is None or output_tokens is None:
        raise FieldError(f"{'input_tokens' if input_tokens is None else 'output_tokens'}: missing")
    return TraceRow(
        arrival_s=0.0,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        hash_ids=_hash_ids(values.get("hash_ids"), input_tokens, how.block_tokens),
        text=text,
    )


def _hash_ids(found: Any, input_tokens: int, block: int | None) -> tuple[int, ...]:
    if not found:
        return ()
    if not isinstance(found, list) or len(found) > _MOST_IDS:
        raise FieldError(f"hash_ids: a list of numbers is expected, {kind(found)} found")
    wrong = next((h for h in found if not isinstance(h, int) or isinstance(h, bool)), None)
    if wrong is not None:
        raise FieldError(f"hash_ids: whole numbers are expected, {kind(wrong)} found")
    if block is None:
        raise FieldError("hash_ids: none of the first rows has any: set workload.hash_block_tokens")
    if (len(found) - 1) * block >= input_tokens:
        raise FieldError(
            f"hash_ids: {len(found)} blocks of {block} tokens are more than a prompt of "
            f"{input_tokens}: set workload.hash_block_tokens"
        )
    return tuple(h % 2**63 for h in found)


def count(values: Mapping[str, Any], *names: str) -> int | None:
    """The first of these counts that is there; FieldError where it is none."""
    for name in names:
        value = values.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise FieldError(f"{name}: a whole number above 0 is expected, {kind(value)} found")
        if value > MOST_TOKENS:
            raise FieldError(f"{name}: at most {MOST_TOKENS:,} is expected, {kind(value)} found")
        return value
    return None


@dataclass(frozen=True, kw_only=True)
class TraceExtent:
    """How much a trace holds: its requests, and seconds from the first to the last arrival."""

    requests: int
    seconds: float

    @property
    def rate_per_s(self) -> float:
        """Mean arrival rate in requests/s."""
        return (self.requests - 1) / self.seconds if self.seconds > 0 else float(self.requests)


def trace_extent(spec: WorkloadSpec) -> TraceExtent:
    """Read a trace once from end to end, keeping two numbers."""
    found, last_s = 0, 0.0
    for row in trace_rows(spec):
        found, last_s = found + 1, row.arrival_s
    return TraceExtent(requests=found, seconds=last_s)
