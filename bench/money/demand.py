"""Demand from a 24x7 trace: volume, mix and peak of a typical week."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench.money.throughput import Split
from bench.values import units as u
from bench.values.errors import InputError, nearest

HOURS_PER_WEEK = 168
COLUMNS = ("hour", "input_tokens", "output_tokens")


@dataclass(frozen=True, kw_only=True)
class Demand:
    """A typical week, hour by hour, in tokens."""

    input_tokens: tuple[float, ...]
    output_tokens: tuple[float, ...]

    @property
    def total(self) -> float:
        """Tokens of the week."""
        return sum(self.input_tokens) + sum(self.output_tokens)

    @property
    def mtok_per_month(self) -> float:
        """M tokens a month, which is 730/168 of the week."""
        return self.total / u.TOKENS_PER_MTOK * u.HOURS_PER_MONTH / HOURS_PER_WEEK

    @property
    def input_share(self) -> float:
        """Input tokens as a share of all."""
        return sum(self.input_tokens) / self.total

    def peak_to_mean(self, split: Split) -> float:
        """Server time that the busiest hour takes over that of the mean one: an hour of many
        output tokens is busier than its tokens tell. A peak shorter than an hour is not in the
        trace, so that the headroom must cover it."""
        a, b = float(split.a), float(split.b)
        busy = [a * i + b * o for i, o in zip(self.input_tokens, self.output_tokens, strict=True)]
        return max(1.0, max(busy) * len(busy) / sum(busy))  # 1 - 1e-16 of a flat week


def trace_demand(lines: Iterable[str], path: str) -> Demand:
    """Demand of a CSV with the columns hour (0 to 167), input_tokens, output_tokens.

    InputError names the line that is wrong; an hour may not be missing or given twice.
    """
    try:
        return _trace_demand(csv.DictReader(lines), path)
    except csv.Error as error:
        raise InputError(f"{path}: {error}.") from error


def _trace_demand(reader: csv.DictReader[str], path: str) -> Demand:
    have = tuple(reader.fieldnames or ())
    for column in COLUMNS:
        if column not in have:
            raise InputError(f"{path}: column {column!r} is missing.{nearest(column, have)}")
    hours: dict[int, tuple[float, float]] = {}
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        try:
            hour = int(row["hour"] or "")
            tokens = (float(row["input_tokens"] or ""), float(row["output_tokens"] or ""))
        except ValueError as error:
            raise InputError(f"{where}: {error}.") from error
        if not all(math.isfinite(t) and t >= 0 for t in tokens):
            raise InputError(f"{where}: token counts must be at least 0.")
        if hour in hours or not 0 <= hour < HOURS_PER_WEEK:
            raise InputError(f"{where}: hour {hour} is given twice or not within 0 to 167.")
        hours[hour] = tokens
    missing = sorted(set(range(HOURS_PER_WEEK)) - set(hours))
    if missing:
        raise InputError(f"{path}: hour {missing[0]} is missing ({len(missing)} of 168 hours).")
    inputs, outputs = zip(*(hours[h] for h in range(HOURS_PER_WEEK)), strict=True)
    found = Demand(input_tokens=inputs, output_tokens=outputs)
    if found.total <= 0:
        raise InputError(f"{path}: the trace holds no tokens.")
    return found
