"""How a latency is distributed at a load point: a histogram that a million requests fit into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.measure.metrics import Steady, e2e_ms, itl_ms, ttft_ms
from bench.measure.stats import Floats

LATENCIES = (("TTFT", ttft_ms), ("ITL", itl_ms), ("E2E", e2e_ms))
BINS_PER_DECADE = 240
"""Counted this finely; merged to what a picture can show."""
_SHOWN = 40
_MERGES = (48, 24, 12, 8, 6, 4, 3, 2, 1)
_LOWEST, _DECADES = -3, 11  # 1 µs to about three years, in ms
_BLOCK = 1 << 20


TOGETHER_MS = 0.002


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Shares of `n` values per bin, over all repeats. Bins are equal on a logarithmic scale:
    `edges_ms` has one more entry than `shares`, which add up to 1."""

    edges_ms: tuple[float, ...]
    shares: tuple[float, ...]
    n: int

    @property
    def together(self) -> float:
        """Share of the values below 2 µs: tokens that came together have a gap of 0."""
        pairs = zip(self.edges_ms, self.shares, strict=False)
        return sum(share for edge, share in pairs if edge < TOGETHER_MS)


def histograms(parts: Sequence[Steady]) -> dict[str, Histogram]:
    """TTFT, ITL and E2E of a load point over its steady parts; those without a value left out."""
    found = {name: histogram([series(p) for p in parts]) for name, series in LATENCIES}
    return {name: h for name, h in found.items() if h is not None}


def histogram(series: Sequence[Floats]) -> Histogram | None:
    """The histogram of all values of all series, in ms; None without any. Values below 1 µs count
    to the lowest bin."""
    size = _DECADES * BINS_PER_DECADE
    counts = np.zeros(size, dtype=np.int64)
    for values in series:
        for start in range(0, len(values), _BLOCK):
            block = np.maximum(values[start : start + _BLOCK], 10.0**_LOWEST)
            where = ((np.log10(block) - _LOWEST) * BINS_PER_DECADE).astype(np.int64)
            counts += np.bincount(np.clip(where, 0, size - 1), minlength=size)
    total = int(counts.sum())
    if total == 0:
        return None
    used = np.flatnonzero(counts)
    span = int(used[-1]) + 1 - int(used[0])
    merge = next((m for m in _MERGES if span >= m * _SHOWN), 1)
    first, last = int(used[0]) // merge, int(used[-1]) // merge + 1
    merged = counts.reshape(-1, merge).sum(axis=1)[first:last]
    edges = 10.0 ** (_LOWEST + np.arange(first, last + 1) * merge / BINS_PER_DECADE)
    return Histogram(
        edges_ms=tuple(map(float, edges)),
        shares=tuple(map(float, merged / total)),
        n=total,
    )
