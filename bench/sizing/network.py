"""What crosses the network between nodes, and what that costs at least, in words."""

from __future__ import annotations

from collections.abc import Iterator

from bench.sizing.geometry import Geometry
from bench.sizing.sharding import Layout
from bench.values.spec import RunSpec

_ELEMENT_BYTES = 2  # activations travel in 16 bits
_REDUCES_A_LAYER = 2  # behind attention and behind the feed-forward part
_PROMPT_TOKENS = 1000


def across_nodes(spec: RunSpec, geometry: Geometry, where: Layout) -> Iterator[str]:
    """A note for each kind of parallelism that spans machines.

    A tensor parallel group over n nodes moves at least 2 (n-1)/n of each activation out of every
    node for each all-reduce (the bound of any all-reduce); a pipeline one activation per stage.
    """
    nodes = spec.nodes.serving
    if nodes == 1:
        return
    per_node = max(1, spec.gpus // nodes)
    spanned = max(1, where.tp // per_node)
    activation = geometry.hidden * _ELEMENT_BYTES
    layers = len(geometry.sequence) / where.pp
    if spanned > 1:
        inside = spec.gpu.nvlink_gb_s
        moved = layers * _REDUCES_A_LAYER * activation * 2 * (spanned - 1) / spanned
        fast = f"NVLink inside: {inside / 2:,.0f} GB/s one way" if inside else "no NVLink inside"
        yield (
            f"tensor parallel {where.tp} spans {spanned} nodes: each token takes at least "
            f"{moved / 1e3:,.0f} kB out of every node ({fast}){_takes(moved, spec)}; "
            f"--pipeline-parallel-size {spanned} keeps that inside a node"
        )
    elif where.pp > 1:
        yield (
            f"pipeline stages on several nodes: each token takes {activation / 1e3:,.0f} kB from "
            f"node to node{_takes(activation, spec)}"
        )
    if where.dp > 1 and geometry.experts:
        yield "experts are spread over the replicas: every layer's tokens cross between nodes"


def _takes(bytes_a_token: float, spec: RunSpec) -> str:
    if spec.nodes.network_gb_s is None:
        return ", at a speed that nobody said (nodes.network_gb_s)"
    ms = bytes_a_token * _PROMPT_TOKENS / (spec.nodes.network_gb_s * 1e9) * 1e3
    return (
        f", {ms:,.2f} ms for {_PROMPT_TOKENS:,} prompt tokens at {spec.nodes.network_gb_s:g} GB/s"
    )
