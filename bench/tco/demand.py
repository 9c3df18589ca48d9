"""Demand from a 24x7 trace: volume, mix and peak of a typical week."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench import units as u
from bench.errors import InputError, nearest

HOURS_PER_WEEK = 168
COLUMNS = ("hour", "input_tokens", "output_tokens")


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What is asked for in a month, and how much more the busiest hour asks than the mean one."""

    mtok_per_month: float
    input_share: float
    peak_to_mean: float


def trace_demand(lines: Iterable[str], path: str) -> Demand:
    """Demand of a CSV with the columns hour (0 to 167), input_tokens, output_tokens.

    A month is 730/168 of the week. Peak to mean is by tokens of the busiest hour; a peak shorter
    than an hour is not in the trace, so that FleetSpec.headroom must cover it. InputError names
    the line that is wrong; an hour may not be missing or given twice.
    """
    reader = csv.DictReader(lines)
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
    tokens_in = sum(t[0] for t in hours.values())
    total = tokens_in + sum(t[1] for t in hours.values())
    if total <= 0:
        raise InputError(f"{path}: the trace holds no tokens.")
    peak = max(sum(t) for t in hours.values())
    return Demand(
        mtok_per_month=total / u.TOKENS_PER_MTOK * u.HOURS_PER_MONTH / HOURS_PER_WEEK,
        input_share=tokens_in / total,
        peak_to_mean=peak * HOURS_PER_WEEK / total,
    )
