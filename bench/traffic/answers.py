"""What an answer says: how it ended, when its tokens came and how many, from its stamped reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bench.foreign.columns import spread
from bench.traffic.client import Shot
from bench.values.outside import plain
from bench.values.record import FINISHES, OK, OUTCOMES, Int64
from bench.values.server import Server
from bench.web import http
from bench.web.sse import read_body
from bench.web.together import batches, read_together
from bench.web.tokens import Tokens, tokens_of


@dataclass(frozen=True, kw_only=True, eq=False)
class ParsedShot:
    """One response, parsed: the read that brought each token-bearing chunk, and its tokens.

    Token counts of -1 were not given by the server.
    """

    outcome: str
    status: int = 0
    prompt_tokens: int = -1
    completion_tokens: int = -1
    chunk_reads: Int64 = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    chunk_tokens: Int64 = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    tokens_arose: str = "unknown"
    error: str = ""
    done: bool = False
    finish: str = ""
    first_answer: int = -1
    cached_tokens: int = -1
    hidden_tokens: int = -1


def parse_shots(shots: Sequence[Shot], requested: Sequence[int]) -> list[ParsedShot]:
    """Decide how each request ended and when its tokens arrived, from its stamped reads."""
    result: list[ParsedShot] = []
    for a, b in batches([sum(map(len, shot.reads)) for shot in shots]):
        answers = [b"".join(shot.reads) for shot in shots[a:b]]
        whole = read_together(answers)
        for shot, data, found, count in zip(
            shots[a:b], answers, whole, requested[a:b], strict=True
        ):
            if found is None:
                result.append(parse_shot(shot, data, count))
            else:
                result.append(_told(shot, found.head, found.tokens, found.tokens.last_byte, count))
    return result


def parse_shot(shot: Shot, data: bytes, requested: int = 0) -> ParsedShot:
    """The same of one request, whatever shape its answer `data` has."""
    try:
        found = http.frame(data, closed=True)
        if found is None:
            return ParsedShot(outcome=shot.outcome or "connection", error=shot.error)
        status = found.head.status
        if not 200 <= status < 300 and not shot.outcome:
            text = plain(f"HTTP {status}: {found.body(data)[:300].decode(errors='replace')}")
            return ParsedShot(outcome="http_error", status=status, error=text)
        packed = found.head.headers.get(b"content-encoding", b"identity").lower()
        if packed not in (b"", b"identity"):
            text = f"the stream is compressed (Content-Encoding: {packed.decode(errors='replace')})"
            return ParsedShot(outcome=shot.outcome or "malformed", status=status, error=text)
        body = found.body(data)
        tokens = tokens_of(read_body(body, ended=found.complete))
    except http.MalformedError as error:
        return ParsedShot(outcome=shot.outcome or "malformed", error=str(error))
    offsets = http.raw_offsets(tokens.last_byte, found.spans)
    told = _told(shot, found.head, tokens, offsets, requested)
    if told.outcome != OUTCOMES[OK]:
        return told
    if not found.complete and not tokens.done:
        return replace(told, outcome="connection", error="the response is cut short")
    if not len(told.chunk_tokens):
        came = body[:120].decode(errors="replace")
        text = f"the response carried no token: {came!r}"
        return replace(told, outcome="no_tokens", error=text)
    return told


def _told(
    shot: Shot, head: http.Head, tokens: Tokens, offsets: Int64, requested: int
) -> ParsedShot:
    """What an answer's tokens say of it; `offsets` are those of the bytes in the whole answer that
    completed each token-bearing chunk."""
    ends = np.cumsum([len(read) for read in shot.reads])
    counts, arose = token_counts(tokens, requested)
    outcome, text = shot.outcome, shot.error
    if outcome == "connection" and tokens.done:  # all was said; only the framing was not closed
        outcome, text = "", ""
    if not outcome and (header := cache_hit(head.headers)):
        outcome, text = "from_cache", f"no model answered, a gateway's cache did ({header})"
    elif not outcome and tokens.error:
        outcome, text = "server_error", tokens.error
    return ParsedShot(
        outcome=outcome or OUTCOMES[OK],
        status=head.status,
        prompt_tokens=-1 if tokens.prompt is None else tokens.prompt,
        completion_tokens=-1 if tokens.completion is None else tokens.completion,
        chunk_reads=np.searchsorted(ends, offsets, "right"),
        chunk_tokens=counts,
        tokens_arose=arose,
        error=text,
        done=tokens.done,
        finish=tokens.finish,
        first_answer=tokens.first_answer,
        cached_tokens=-1 if tokens.cached is None else tokens.cached,
        hidden_tokens=-1 if tokens.hidden is None else tokens.hidden,
    )


_OF_PROMPTS = re.compile(rb"prompt|prefix|kv|control")
_HIT = re.compile(rb"(?i)(?<!no )\bhit\b")


def cache_hit(headers: Mapping[bytes, bytes]) -> str:
    """The header by which a gateway says that it has given an answer which it had kept; empty where
    none does. Caches of prompts are another matter: there the model still answers."""
    for name, value in headers.items():
        if b"cache" not in name or _OF_PROMPTS.search(name):
            continue
        told = name.endswith(b"hit") and value.lower() in (b"true", b"1", b"yes")
        if told or _HIT.search(value):
            return plain(f"{name.decode(errors='replace')}: {value.decode(errors='replace')}"[:80])
    return ""


def token_counts(tokens: Tokens, requested: int = 0) -> tuple[Int64, str]:
    """Tokens of each chunk, and how that is known (`TOKENS_AROSE`).

    A usage above the `requested` tokens is believed only where as many pieces were streamed, and
    thought that it says was not.
    """
    chunks = len(tokens.last_byte)
    seen = chunks + (tokens.hidden or 0)
    if requested and (tokens.completion or 0) > requested and tokens.completion != seen:
        return np.ones(chunks, dtype=np.int64), "unknown"
    if tokens.counts is not None:
        return tokens.counts, "usage_per_chunk"
    counts, arose = spread(tokens.completion, chunks)
    return np.array(counts, dtype=np.int64), arose


def finish_code(reason: str) -> int:
    """The record's code for a finish_reason: -1 where none was given."""
    if not reason:
        return -1
    return FINISHES.index(reason) if reason in FINISHES else FINISHES.index("other")


def judged(found: list[ParsedShot], asked: list[int], server: Server) -> list[ParsedShot]:
    """The answers, those failed that lack an end which the probe, or most of them, showed.

    A stream that a dying engine or a proxy cuts off often ends as clean HTTP. An answer is whole by
    its finish_reason, by [DONE], by a usage that comes last, or by having all tokens asked for.
    """
    good = [p for p in found if p.outcome == OUTCOMES[OK]]
    pairs = [p for p in zip(found, asked, strict=True) if p[0].outcome == OUTCOMES[OK]]
    counts_last = server.usage == "final"

    def marked(p: ParsedShot) -> bool:
        return p.done or bool(p.finish) or (counts_last and p.completion_tokens >= 0)

    marks = server.ends_with_done or server.ends_with_reason or _most(map(marked, good))
    gives_reasons = server.ends_with_reason or _most(bool(p.finish) for p in good)
    # Some give a reason only where they ended an answer themselves (`length`), not the model.
    reasons = gives_reasons and (server.ignore_eos or not server.ends_unsaid)
    reasons = reasons or _most(bool(p.finish) for p, n in pairs if _ends_early(p, n))
    counts = server.usage != "none" and server.engine not in ("vllm", "truth")
    result = []
    for parsed, requested in zip(found, asked, strict=True):
        why = ""
        if parsed.outcome == OUTCOMES[OK]:
            if marks and not marked(parsed) and parsed.chunk_tokens.sum() < requested:
                why = "the stream ends with neither finish_reason nor [DONE], which others have"
            elif reasons and not parsed.finish and _ends_early(parsed, requested):
                why = "the answer ends early without a finish_reason, which others have"
            elif counts and parsed.completion_tokens < 0:
                why = "the answer ends without the usage that others have"
        result.append(replace(parsed, outcome="cut_short", error=why) if why else parsed)
    return result


def _most(of: Iterable[bool]) -> bool:
    """Whether more than half are; False of none."""
    values = list(of)
    return 2 * sum(values) > len(values)


def _ends_early(parsed: ParsedShot, requested: int) -> bool:
    """Whether it is known to have fewer tokens than were asked for."""
    return parsed.tokens_arose != "unknown" and parsed.chunk_tokens.sum() < requested
