"""vLLM's own rule for its KV cache: blocks from bytes, and what a request takes of them.

vLLM cuts the cache's bytes into blocks that all groups of layers share. Layers that keep the same
are in one group; where kinds differ (windows, recurrent states), their pages are made equal and the
groups equally long, with padding. A request takes blocks of every group: as many as its tokens in
a full layer, its window and the tokens in flight in a sliding one, one or two states in a recurrent
one. Tokens and concurrency that the engine logs, and whether it starts at all, follow from these.

Written after vllm/v1/core/kv_cache_utils.py and vllm/v1/kv_cache_interface.py, 0.32.0, for cache
layouts with layers outermost (all that its CUDA backends prefer) and, `packed`, with blocks
outermost (DeepSeek V4's); tests hold it to their functions.
Pure. Bytes and tokens are of one rank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.values.errors import InputError


@dataclass(frozen=True, kw_only=True)
class LayerCache:
    """What one layer stores on one rank, in pages of one block each.

    `block` is in tokens, `window` in tokens (a chunk's size for chunked attention). `part` tells
    layers of one size apart that vLLM does not merge (an indexer beside its attention).
    """

    kind: Literal["full", "mla", "sliding", "chunked", "state"]
    block: int
    page_bytes: int
    window: int | None = None
    part: str = ""

    @property
    def takes_all(self) -> bool:
        """Whether it keeps every token of a request."""
        return self.kind in ("full", "mla")


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What bounds a request's blocks beside its length: tokens scheduled and not yet settled, and
    how many state blocks a recurrent layer holds per request."""

    in_flight_tokens: int
    state_blocks: int = 1

    def blocks(self, layer: LayerCache, tokens: int) -> int:
        """Blocks of one group that a request of `tokens` may hold at once."""
        if layer.kind == "state":
            return self.state_blocks
        if layer.takes_all or layer.window is None:
            return math.ceil(tokens / layer.block)
        if layer.kind == "chunked":
            return math.ceil(min(layer.window + self.in_flight_tokens, tokens) / layer.block)
        # One more: a window need not begin where a block does.
        held = min(layer.window - 1 + self.in_flight_tokens, tokens)
        return math.ceil(held / layer.block) + 1


@dataclass(frozen=True, kw_only=True)
class Group:
    """Layers under one block table. `layers` are their numbers in the whole model."""

    layers: tuple[int, ...]
    caches: tuple[LayerCache, ...]

    def page_bytes(self, start: int, stop: int) -> int:
        """Bytes of one block of this group on the pipeline stage of layers [start, stop)."""
        held = zip(self.layers, self.caches, strict=True)
        return sum(cache.page_bytes for number, cache in held if start <= number < stop)


@dataclass(frozen=True, kw_only=True)
class KvPlan:
    """Groups of a whole model, and what a request demands of them."""

    groups: tuple[Group, ...]
    demand: Demand

    def block_bytes(self, start: int, stop: int) -> int:
        """Bytes of one block of the shared pool on one pipeline stage: the widest group's."""
        return max((g.page_bytes(start, stop) for g in self.groups), default=0)

    def request_blocks(self, tokens: int) -> int:
        """Blocks over all groups that one request of `tokens` may hold."""
        return sum(max(self.demand.blocks(c, tokens) for c in g.caches) for g in self.groups)

    def longest(self, blocks: int, most: int) -> int:
        """The longest request, up to `most` tokens, that `blocks` hold; 0 when not even one."""
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            if self.request_blocks(middle) <= blocks:
                low = middle
            else:
                high = middle - 1
        return low

    def concurrency(self, blocks: int, tokens: int) -> float:
        """vLLM's "Maximum concurrency for N tokens per request"."""
        needed = self.request_blocks(tokens)
        return blocks / needed if needed else float("inf")


def plan(
    layers: Sequence[Sequence[LayerCache]],
    demand: Demand,
    *,
    hybrid: bool = True,
    packed: bool = False,
) -> KvPlan:
    """The plan for a model whose layer i stores `layers[i]` (nothing, one cache or several).

    `hybrid` False is --disable-hybrid-kv-cache-manager: windows are then kept as if full. `packed`
    lays the pages of all layers of a group out one behind the other, however unlike they are.
    """
    numbered = [(i, cache) for i, own in enumerate(layers) for cache in own]
    if not hybrid and any(c.takes_all for _, c in numbered):
        numbered = [(i, _promoted(c)) for i, c in numbered]
    return KvPlan(groups=tuple(_groups(numbered, packed=packed)), demand=demand)


def _promoted(cache: LayerCache) -> LayerCache:
    return cache if cache.kind == "state" else replace(cache, kind="full", window=None)


Numbered = list[tuple[int, LayerCache]]


def _groups(layers: Numbered, *, packed: bool) -> list[Group]:
    if not layers:
        return []
    if _one_type([c for _, c in layers]):
        return [_group(layers)]
    if packed and len({c.page_bytes for _, c in layers}) > 1:
        return _packed_groups(layers)
    try:
        return _equal_groups(_equal_pages(layers))
    except _UnequalPagesError:
        # Latents beside plain windows whose pages cannot be made equal: all are kept in full.
        kinds = {c.kind for _, c in layers}
        if kinds <= {"mla", "sliding"}:
            return [_group([(i, _promoted(c)) for i, c in layers])]
        raise InputError(
            "model.config: vLLM cannot bring this model's caches to one page size; its KV cache "
            "is not counted here. Use fit.force=true to run without a fit."
        ) from None


def _group(layers: Numbered) -> Group:
    return Group(layers=tuple(i for i, _ in layers), caches=tuple(c for _, c in layers))


def _one_type(caches: Sequence[LayerCache]) -> bool:
    """Whether all layers always need the same number of blocks."""
    first = caches[0]
    if any(c.block != first.block for c in caches):
        return False
    if first.takes_all:
        return all(c.takes_all for c in caches)
    if any((c.kind, c.window) != (first.kind, first.window) for c in caches):
        return False
    return first.kind != "state" or len({c.page_bytes for c in caches}) == 1


class _UnequalPagesError(Exception):
    """A latent's page does not divide the largest one, and latents cannot be padded."""


def _equal_pages(layers: Numbered) -> Numbered:
    """Every page as large as the largest: by longer blocks where it divides, else by padding."""
    largest = max(c.page_bytes for _, c in layers)
    found = []
    for number, cache in layers:
        times, rest = divmod(largest, cache.page_bytes)
        if cache.kind != "state" and rest == 0:
            cache = replace(cache, block=cache.block * times, page_bytes=largest)
        elif cache.kind == "mla":
            raise _UnequalPagesError
        else:
            cache = replace(cache, page_bytes=largest)
        found.append((number, cache))
    return found


def _equal_groups(layers: Numbered) -> list[Group]:
    """Groups of one kind and of equal length, in strides so that pipeline stages share them."""
    kinds: dict[LayerCache, Numbered] = {}
    for number, cache in layers:
        kinds.setdefault(cache, []).append((number, cache))
    lengths = [len(found) for found in kinds.values()]
    size = max(lengths) if max(lengths) < 1.5 * min(lengths) else min(lengths)
    groups = []
    for found in kinds.values():
        count = math.ceil(len(found) / size)
        groups += [_group(found[i::count]) for i in range(count)]
    return groups


@dataclass(frozen=True, kw_only=True)
class _Bucket:
    """Layers that always need the same number of blocks, by the size of their pages. `balanced`
    when there are as many of each size, so that they are one pattern repeated."""

    layers: Numbered
    by_page: dict[int, Numbered]

    @property
    def balanced(self) -> bool:
        return len({len(found) for found in self.by_page.values()}) == 1

    @property
    def repeats(self) -> int:
        return max(len(found) for found in self.by_page.values())

    def widest_bytes(self, groups: int) -> int:
        """Bytes of a block of the largest of `groups` parts."""
        return sum(math.ceil(len(found) / groups) * page for page, found in self.by_page.items())


def _packed_groups(layers: Numbered) -> list[Group]:
    """Groups whose layers' pages lie one behind the other in a block: a pattern of layers stays
    whole, longer rows of one kind are cut to about as many repeats, and rows that only hold a
    window or a state to what the widest block has room for."""
    buckets = _buckets(layers)
    least = max((b.repeats for b in buckets if b.balanced and len(b.by_page) > 1), default=0)
    repeats = _least_padding([b.repeats for b in buckets if b.balanced], least) if least else None

    def parts(bucket: _Bucket) -> int:
        return math.ceil(bucket.repeats / repeats) if bucket.balanced and repeats else 1

    def shrinks(bucket: _Bucket) -> bool:
        kind = bucket.layers[0][1].kind
        return kind == "state" or (repeats is None and kind == "sliding")

    room = max(b.widest_bytes(len(b.layers) if shrinks(b) else parts(b)) for b in buckets)
    groups = []
    for bucket in buckets:
        count = parts(bucket)
        if shrinks(bucket):
            held = max(room // bucket.layers[0][1].page_bytes, 1)
            count = max(count, math.ceil(len(bucket.layers) / held))
        if count == 1:
            groups.append(_group(bucket.layers))
            continue
        pattern = list(zip(*bucket.by_page.values(), strict=True))
        groups += [
            _group([layer for repeat in pattern[i::count] for layer in repeat])
            for i in range(count)
        ]
    return groups


def _buckets(layers: Numbered) -> list[_Bucket]:
    found: list[Numbered] = []
    for layer in layers:
        for bucket in found:
            if _one_type([c for _, c in (*bucket, layer)]):
                bucket.append(layer)
                break
        else:
            found.append([layer])
    made = []
    for bucket in found:
        by_page: dict[int, Numbered] = {}
        for layer in bucket:
            by_page.setdefault(layer[1].page_bytes, []).append(layer)
        made.append(_Bucket(layers=bucket, by_page=by_page))
    return made


def _least_padding(counts: Sequence[int], least: int) -> int:
    """The number from `least` up to whose multiples the counts are rounded up with the least
    padding; of equals the largest."""
    numbers = range(max(least, 1), max(max(counts), least) + 1)
    return min(numbers, key=lambda d: (sum(-count % d for count in counts), -d))
