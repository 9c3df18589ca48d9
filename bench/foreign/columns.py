"""Requests as another tool saw them, in the columns in which this package keeps its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.values.outside import plain
from bench.values.record import OK, OUTCOMES, REQUEST_COLUMNS, TOKENS_AROSE, LoadPoint, PointData


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """One request: when it was sent, when each piece of text came, when it ended; ns of one clock.

    `output_tokens` is None where the file does not say, `error` where it succeeded; `stamps_ns` are
    the first and the last piece alone where the tool kept no more.
    """

    sent_ns: int
    stamps_ns: Sequence[int]
    end_ns: int
    input_tokens: int = -1
    output_tokens: int | None = None
    requested_tokens: int = -1
    error: str | None = None
    ends_only: bool = False


def point_data(point: LoadPoint, sent: Sequence[Sent]) -> PointData:
    """The raw observations of a load point, in the order in which the requests were sent."""
    ordered = sorted(sent, key=lambda s: s.sent_ns)
    rows: list[tuple[int, ...]] = []
    stamps: list[int] = []
    tokens: list[int] = []
    errors: dict[int, str] = {}
    for index, one in enumerate(ordered):
        arrived = [] if one.error is not None else list(one.stamps_ns)
        counts, arose = _counts(one, len(arrived))
        if one.error is not None:
            errors[index] = plain(one.error[-300:])
        told = -1 if one.error is not None or one.output_tokens is None else one.output_tokens
        rows.append(
            (
                *(index, -1, 0, one.sent_ns, one.sent_ns),
                arrived[0] if arrived else 0,
                max([one.end_ns, *arrived]),
                0 if one.error is not None else 200,
                _outcome(one, len(arrived)),
                one.input_tokens,
                one.requested_tokens,
                *(-1, told, len(stamps), len(arrived), TOKENS_AROSE.index(arose)),
            )
        )
        stamps += arrived
        tokens += counts
    table = np.array(rows, dtype=np.int64).reshape(len(rows), len(REQUEST_COLUMNS))
    return PointData(
        point=point,
        start_ns=int(table[:, 3].min()) - 1 if rows else 0,
        requests={name: table[:, i].copy() for i, name in enumerate(REQUEST_COLUMNS)},
        chunk_ns=np.array(stamps, dtype=np.int64),
        chunk_tokens=np.array(tokens, dtype=np.int64),
        errors=errors,
    )


def _outcome(one: Sent, arrived: int) -> int:
    if one.error is not None:
        return OUTCOMES.index("server_error")
    return OK if arrived else OUTCOMES.index("no_tokens")


def _counts(one: Sent, arrived: int) -> tuple[list[int], str]:
    total = one.output_tokens
    if one.ends_only and total is not None and arrived == 2 and total >= 2:
        return [1, total - 1], "allocated"
    return spread(total, arrived)


def spread(total: int | None, chunks: int) -> tuple[list[int], str]:
    """Tokens of each chunk where only their total is known, and how that is then known.

    A server that bundles tokens does not say where: evenly then, the remainder to the last.
    """
    if total == chunks:
        return [1] * chunks, "one_per_chunk"
    if chunks == 0 or total is None or total < chunks:
        return [1] * chunks, "unknown"
    each, extra = divmod(total, chunks)
    return [each + (i >= chunks - extra) for i in range(chunks)], "allocated"
