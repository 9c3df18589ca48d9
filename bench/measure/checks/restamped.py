"""The same load point with other stamps: as the client saw it, and without late reads' bundles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.measure.metrics import Steady
from bench.values.record import Int64

LATE_NS = 250_000
"""A read this long after its last packet came late, or a quarter of the usual gap where that is
less: a client that was away sees the last of many fast tokens soon after it came. Tokens that share
a read taken up at once were bundled by the server, and their common stamp is right."""


def as_seen(part: Steady) -> Steady | None:
    """The load point as it would read by the client's own stamps; None where the kernel gave none.

    The results rest on the kernel's. A client that looks late none the less sends late and takes
    up tokens together, so it is held to what its own stamps would have said.
    """
    data = part.data
    if data.chunk_delay_ns is None:
        return None
    return replace(part, data=replace(data, chunk_ns=data.chunk_ns + data.chunk_delay_ns))


def as_spread(part: Steady) -> Steady | None:
    """The load point as it would read had the tokens of late reads come one by one.

    The kernel stamps the last packet of a read. A client that was away while several came gives
    them all that stamp, and the earlier ones are dated late. They are put evenly between the read
    before and their own; those of a request's first read a median gap apart. An estimate: nothing
    recorded says when they came. None where no such read exists or the kernel gave no stamps.
    """
    data = part.data
    if data.chunk_delay_ns is None or not len(data.chunk_ns):
        return None
    stamps, requests = data.chunk_ns, data.requests
    begins = np.zeros(len(stamps), dtype=bool)
    begins[requests["first_chunk"][requests["chunks"] > 0]] = True
    starts = np.flatnonzero(begins | np.diff(stamps, prepend=stamps[0] - 1).astype(bool))
    size = np.diff(starts, append=len(stamps))
    alone = np.flatnonzero(~begins[starts] & (size == 1))
    usual_ns = np.median(stamps[starts[alone]] - stamps[starts[alone] - 1]) if len(alone) else 0
    late = (size > 1) & (data.chunk_delay_ns[starts] > min(LATE_NS, usual_ns / 4))
    if not late.any():
        return None
    gap_ns = np.where(begins[starts], usual_ns, (stamps[starts] - stamps[starts - 1]) / size)
    of_read = np.repeat(np.arange(len(starts)), size)
    still_to_come = size[of_read] - 1 - (np.arange(len(stamps)) - starts[of_read])
    back_ns = np.where(late[of_read], still_to_come * gap_ns[of_read], 0)
    moved: Int64 = stamps - np.rint(back_ns).astype(np.int64)
    return replace(part, data=replace(data, chunk_ns=moved))
