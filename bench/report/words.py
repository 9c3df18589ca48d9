"""The words of a result, a line each: `bench words`, the page's list and the guide's glossary."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word as results show it, other spellings of it, and what it is."""

    term: str
    also: tuple[str, ...] = ()
    meaning: str

    @property
    def anchor(self) -> str:
        """Its place on the page."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.term.lower()).strip("-")
        return f"word-{slug or format(ord(self.term[0]), 'x')}"


def _word(term: str, meaning: str, *also: str) -> Word:
    return Word(term=term, meaning=meaning, also=also)


WORDS: tuple[Word, ...] = (
    _word("load point", "one setting of the load (16 in flight, 5 requests/s) with its repeats"),
    _word(
        "in flight",
        "requests at the same time: c16 is 16 in flight in a closed loop, where the next request "
        "is sent when one ends",
        "closed loop",
        "streams",
    ),
    _word(
        "open loop",
        "requests arrive by a schedule, whether or not the server keeps up",
        "req/s",
        "sent late",
        "from scheduled",
    ),
    _word("repeat", "a load point measured once more; ± comes of how repeats differ", "repeats"),
    _word(
        "±",
        "half of a 95 % interval over repeats, (from–to) where its halves differ; a figure without "
        "one is not bounded",
        "95 %",
    ),
    _word("–", "not measured; 0 means measured, and zero"),
    _word(
        "tokens/s out",
        "tokens of answers per second, all requests together; total counts prompts, too",
        "output tok/s",
        "output tokens/s",
        "total tok/s",
    ),
    _word("per user", "tokens per second that one request sees", "interactivity"),
    _word("TTFT", "time to first token: from sending a request to its first token"),
    _word("ITL", "inter-token latency: between two tokens of one answer as they arrive"),
    _word(
        "TPOT", "time per output token: an answer's time after its first token ÷ its other tokens"
    ),
    _word(
        "answer p50",
        "the median time from sending to the answer's own first token, after thought that is "
        "streamed",
    ),
    _word("E2E", "end to end: from sending a request to the last byte of its answer"),
    _word("p50", "the median: half of the requests are as fast or faster", "median"),
    _word("p90", "90 of 100 requests are as fast or faster; p95 and p99: 95 and 99", "p95", "p99"),
    _word("mean", "the sum over requests ÷ their number, in each repeat; then over the repeats"),
    _word("SLO", "what a user accepts: limits of TTFT and TPOT that a share of requests keeps"),
    _word("goodput", "requests per second that kept the SLO"),
    _word(
        "trust",
        "of a load point, never better than its run's. ok: nothing found; partly: some figures are "
        "withheld, and named; incomplete: the run did not finish; FAILED: none may be quoted. Of a "
        "run in the same order: VALID, VALID IN PART, NOT VALID (withheld as a whole)",
        "trusted",
        "VALID",
        "NOT VALID",
        "VALID IN PART",
    ),
    _word("withheld", "measured, and not shown, because a check found that it may be wrong"),
    _word(
        "errors",
        "requests that failed. http_error: the server refused it; server_error: it broke off with "
        "an error; malformed: what came is no answer; no_tokens: an answer without text; "
        "cut_short: without the end that others have; from_cache: a gateway had kept it; "
        "connection, timeout: as they say",
        "http_error",
        "server_error",
        "malformed",
        "no_tokens",
        "cut_short",
        "from_cache",
    ),
    _word(
        "check",
        "a question put to every result (did the client keep up? was the load steady?); its code "
        "stands before its text",
        "certificate",
        "finding",
    ),
    _word("client-bound", "the measuring client was too busy to be right", "client_bound"),
    _word(
        "load client",
        "the part of bench that sends the requests and takes the times; it needs cores of its own",
        "load generator",
    ),
    _word(
        "truth server",
        "a server of bench's own that emits tokens on an exact schedule: known timing, no model",
        "server of known timing",
    ),
    _word("warm-up", "requests before those that count, until the server is at work", "warming up"),
    _word(
        "window",
        "the steady part of a load point, after the slots have filled and before they run empty",
        "measured s",
        "steady",
        "steady window",
    ),
    _word(
        "requests",
        "all that the repeats sent; those outside the window count in no rate, so requests ÷ "
        "measured s is more than req/s",
    ),
    _word("bound", "what memory bandwidth and arithmetic of the hardware forbid to exceed"),
    _word(
        "plan",
        "the expectation: what a well-run server does on this hardware, computed before the run",
    ),
    _word("predicted", "what such deployments did elsewhere, with an 80 % band", "prediction"),
    _word("MBU", "share of the memory bandwidth that the server used", "memory bandwidth"),
    _word("MFU", "share of the arithmetic that the server used"),
    _word("weights", "the numbers that a model is made of, in memory"),
    _word(
        "KV cache",
        "memory for what the model has read and written so far: more of it, more requests at once",
        "KV",
    ),
    _word("prefill", "reading the prompt; decode is writing the answer, token by token", "decode"),
    _word("knee", "the load above which a queue grows for ever"),
    _word(
        "quantisation",
        "weights in fewer bits: smaller, often faster, perhaps worse; none is the model as "
        "published",
        "quant",
        "as published",
    ),
    _word("tensor parallel", "one model split over several GPUs", "TP"),
    _word("recovery", "a variant's score ÷ the baseline's, on the same items"),
    _word("above chance", "recovery of what is beyond guessing"),
    _word(
        "lost/won", "items that only the baseline, only the variant answered rightly", "lost", "won"
    ),
    _word("|ΔLL|", "how far the probabilities of the two differ, in the mean"),
    _word("baseline", "the variant that the others are held against: the first one named"),
    _word("p (Holm)", "the chance of such a difference if there were none, all tests counted", "p"),
    _word("kernel", "the engine's code that computes with these weights, as its log names it"),
    _word("W", "watts: the power that is drawn", "W mean", "W peak"),
    _word(
        "J/output token",
        "energy for a token of an answer, in joules (watts ÷ tokens/s)",
        "J/total token",
        "J/request",
        "tok/s/W",
        "J",
    ),
    _word(
        "meter",
        "what reads power and memory: NVML of NVIDIA's driver, RAPL of a processor",
        "NVML",
        "RAPL",
    ),
    _word("above idle", "without what the boards draw when nothing is asked"),
    _word("scope", "what a power reading covers: the GPU's board, or the whole host"),
    _word(
        "arose",
        "how a number came about: measured, allocated (a share of something measured), modelled, "
        "predicted, quoted, assumed",
    ),
    _word(
        "$/M tokens", "what a million tokens cost, input and output as they occur", "$ per M tokens"
    ),
    _word("fully loaded", "a cost with idle time, spare servers, site, energy and staff", "loaded"),
    _word("break-even", "the demand from which servers cost less than that API"),
    _word(
        "P5 to P95", "90 of 100 draws of the uncertain inputs lie in between", "P5", "P95", "draws"
    ),
)


def found(text: str) -> Word | None:
    """The word of that name, in any spelling; None for one that no list has."""
    return _BY_NAME.get(text.strip()) or _BY_NAME.get(text.strip().lower())


def pieces(text: str) -> Iterator[tuple[str, Word | None]]:
    """A heading in pieces: what is a word of the list, with it, and what lies between."""
    at = 0
    for match in _NAMES.finditer(text):
        yield text[at : match.start()], None
        yield match[0], found(match[0])
        at = match.end()
    yield text[at:], None


_EXACT = {name: word for word in WORDS for name in (word.term, *word.also)}
_BY_NAME = {name.lower(): word for name, word in _EXACT.items()} | _EXACT
"""P95 of draws is not p95 of latencies: a name as it is written goes before any spelling of it."""
_LONGEST_FIRST = sorted((n for n in _BY_NAME if n not in "±–"), key=len, reverse=True)
_NAMES = re.compile(
    rf"(?<![\w/])(?:{'|'.join(map(re.escape, _LONGEST_FIRST))})(?![\w/])", re.IGNORECASE
)
