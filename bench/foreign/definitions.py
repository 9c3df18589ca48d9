"""How other tools define what they print, where that is not as this package has it.

This package: rates over whole waves of the steady window; latencies of all requests that count, a
failed one with its deadline; ITL per token of a chunk; TPOT from the first to the last token over
the tokens after the first chunk; E2E from sending to the last byte.
"""

from __future__ import annotations

from collections.abc import Mapping

_WHOLE = "over the whole duration, its filling up and running dry included"
_GOOD = "of successful requests alone, those at the start included"

DEFINITIONS: Mapping[str, Mapping[str, str]] = {
    "vllm": {
        "rate": f"tokens or requests that succeeded {_WHOLE}",
        "ttft": f"from handing the request to its HTTP client to reading the first piece, {_GOOD}",
        "itl": "every gap between pieces of text, not divided by the tokens that came",
        "tpot": "(E2E − TTFT) ÷ (tokens − 1): the last byte, and one token in the first piece",
        "e2e": f"to the last piece, {_GOOD}",
    },
    "guidellm": {
        "rate": "a mean over time of tokens or requests, its start and end included",
        "ttft": f"from sending to the first token, {_GOOD}",
        "itl": "(last − first token) ÷ (tokens − 1) of each request, weighted by its tokens",
        "tpot": "E2E ÷ all tokens: the wait for the first is in it",
        "e2e": f"from sending to the end, {_GOOD}",
    },
    "aiperf": {
        "rate": f"tokens or requests that succeeded {_WHOLE}",
        "ttft": f"from sending to the first response, {_GOOD}",
        "itl": "(E2E − TTFT) ÷ (tokens − 1) of each request: this package's TPOT",
        "e2e": f"from sending to the last response, {_GOOD}",
    },
    "mlperf": {
        "rate": f"tokens or samples that completed {_WHOLE}",
        "ttft": "from the moment a query is issued to the first token, which the system reports",
        "tpot": "(latency − TTFT) ÷ (tokens − 1) of each query, tokens as the system reports them",
        "e2e": "from the moment a query is issued to its completion",
    },
    "inference-perf": {
        "rate": f"tokens or requests that succeeded {_WHOLE}",
        "ttft": f"from sending to the first piece, {_GOOD}",
        "itl": "every gap between pieces of text, not divided by the tokens that came",
        "tpot": "(E2E − TTFT) ÷ (tokens − 1)",
        "e2e": f"from sending to the end, {_GOOD}",
    },
}


def difference(tool: str, metric: str) -> str:
    """How a tool's figure is defined otherwise, in words; "" where it is the same or not known."""
    descends = "vllm" if tool in ("sglang", "inferencex") else tool
    known = DEFINITIONS.get(descends, {})
    stem = metric.partition("_")[0]
    key = "rate" if metric.endswith("_per_s") else stem
    return known.get(key, "")
