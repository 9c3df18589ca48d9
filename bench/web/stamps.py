"""The kernel's stamps of a load's reads on the clock of everything else, many at once.

Apart from `bench.web.wire`, which a server of known timing uses, too: that one needs no arrays.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.web.wire import TIMESPEC_BYTES

Int64 = npt.NDArray[np.int64]

_MOST_MISSING = 0.01
_MOST_STEP_NS = 1_000_000


def arrivals_ns(
    arrived: list[bytes], seen_ns: Int64, offsets_ns: list[tuple[int, int]]
) -> Int64 | None:
    """When the kernel received each read, on CLOCK_MONOTONIC; None where it did not say.

    `seen_ns` is when the program looked at each, which stands in for the odd one missing and bounds
    them all. `offsets_ns` are pairs (monotonic, realtime − monotonic) taken now and then: between
    two of them the offset may slew, but not step. Shape of `seen_ns`.
    """
    offsets = np.array(offsets_ns, dtype=np.int64).reshape(-1, 2)
    lengths = np.fromiter(map(len, arrived), dtype=np.int64, count=len(arrived))
    missing = int(np.count_nonzero(lengths != TIMESPEC_BYTES))
    stepped = bool((np.abs(np.diff(offsets[:, 1])) > _MOST_STEP_NS).any())
    if not len(offsets) or stepped or missing > _MOST_MISSING * len(arrived):
        return None
    if missing:
        blank = bytes(TIMESPEC_BYTES)
        arrived = [raw if len(raw) == TIMESPEC_BYTES else blank for raw in arrived]
    raw = b"".join(arrived)
    seconds = np.frombuffer(raw, dtype=np.int64).reshape(-1, 2)
    real_ns = seconds[:, 0] * 1_000_000_000 + seconds[:, 1]
    # Relative to the first offset: a double holds the small differences exactly, not the sum.
    base = int(offsets[0, 1])
    slewed = np.interp(seen_ns, offsets[:, 0], (offsets[:, 1] - base).astype(np.float64))
    kernel_ns = real_ns - base - np.rint(slewed).astype(np.int64)
    found: Int64 = np.where(real_ns > 0, np.minimum(kernel_ns, seen_ns), seen_ns)
    return found
