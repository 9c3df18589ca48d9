"""What a file of requests holds, on a terminal, from its document (`bench workload --json`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from bench.report.markup import escape
from bench.report.numbers import quantity
from bench.values.count_words import count

_BARS = "▁▂▃▄▅▆▇█"


def print_workload(document: Mapping[str, Any], out: Console) -> None:
    """A line for every thing that is known, with bars for times and lengths."""
    for line in words(document):
        out.print(escape(line), highlight=False, soft_wrap=True)


def words(d: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the summary."""
    known = d["conversations"] is not None
    many = f" of {count(d['conversations'], 'conversation')}" if known else ""
    yield f"{d['file']}: {d['title']} ({d['shape']}), {count(d['requests'], 'request')}{many}"
    for reason, n in d["left_out"].items():
        yield f"  left out     {n:,}: {reason}"
    yield from _times(d)
    assumed = ", assumed (4 characters a token)" if d["tokens_assumed"] else ", by the file"
    yield f"  prompts      {_lengths(d['input_tokens'])}{assumed}"
    if d["output_tokens"] is not None:
        yield f"  answers      {_lengths(d['output_tokens'])}"
    if d["output_unsaid"]:
        unsaid = f"{d['output_unsaid']:,} without a length"
        yield f"  answers      {unsaid}: workload.output_tokens holds"
    if d["turns"] > 1:
        gap = "by workload.turn_gap_s" if d["gap_s"] is None else f"{d['gap_s']:.3g} s on average"
        yield f"  turns        up to {d['turns']} (workload.turns={d['turns']}), gaps {gap}"
    yield from _sharing(d)
    for doubt in d["doubts"]:
        yield f"  DOUBT        {doubt}"


def bars(counts: Sequence[int]) -> str:
    """One character a bin; a blank is none, the lowest bar at least one."""
    most = max(counts, default=0)
    return "".join(_BARS[(8 * n - 1) // most] if n else " " for n in counts)


def _times(d: Mapping[str, Any]) -> Iterator[str]:
    arrivals, how = d["arrivals"], d["reading"]
    if arrivals is None:
        yield "  arrivals     none in the file: load= says when"
        return
    unit = how["stamps"]
    inferred = "" if unit["sure"] else " (inferred; workload.time_unit declares it)"
    yield f"  stamps       in {unit['unit']}: {unit['why']}{inferred}"
    rate = arrivals["rate_per_s"]
    mean = "–" if rate is None else f"{quantity(rate)} requests/s on average"
    peak = arrivals["peak_per_s"]
    busiest = "" if peak is None else f", {quantity(peak)} in the busiest minute"
    yield f"  arrivals     over {arrivals['seconds']:,.3f} s: {mean}{busiest}"
    yield f"               |{bars(arrivals['by_time'])}|"


def _lengths(found: Mapping[str, Any]) -> str:
    text = f"p50 {found['p50']:,} · p90 {found['p90']:,} · p99 {found['p99']:,} · most "
    text += f"{found['most']:,} · mean {quantity(found['mean'])} tokens"
    return f"{text} |{bars(found['by_size'])}| by doubling"


def _sharing(d: Mapping[str, Any]) -> Iterator[str]:
    s = d["sharing"]
    if s is None:
        return
    how = d["reading"]
    yield f"  hash ids     of {how['block_tokens']} tokens each: {how['block_why']}"
    yield (
        f"  shared       {s['trace']:.1%} of all prompt tokens repeat an earlier beginning (cache "
        f"without end); of the first {s['rows']:,} rows {s['trace_head']:.1%}, of the prompts made "
        f"for them {s['realised']:.1%} in blocks of 16"
    )
