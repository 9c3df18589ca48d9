"""Checks against the engine's own account: token counts, preemptions, prefix cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bench.measure.checks.moves import PER_USER, RATES, TOKEN_RATES
from bench.measure.prefix_cache import cached_share
from bench.values.finding import Finding, Severity, finding, some
from bench.values.record import OK, TOKENS_AROSE, Int64, PointData
from bench.values.spec import WorkloadSpec

_PREFIX_TOLERANCE = 0.10
_ONE_REPLICA = 0.95


def token_counts(repeats: Sequence[PointData]) -> Iterable[Finding]:
    """Tokens seen in chunks = usage of the response = the server's own counter."""
    wrong = 0
    told = 0
    for d in repeats:
        r = d.requests
        total = np.concatenate([[0], np.cumsum(d.chunk_tokens)])
        seen = total[r["first_chunk"] + r["chunks"]] - total[r["first_chunk"]]
        known = (r["outcome"] == OK) & (r["usage_completion_tokens"] >= 0)
        told += int(known.sum())
        wrong += int((seen != r["usage_completion_tokens"])[known].sum())
    if wrong:
        text = f"{wrong} responses carry another number of tokens than their usage says"
        yield some("token_counts", text, (*RATES, *PER_USER), wrong)
    elif told:
        yield finding("token_counts", "pass", f"{told} responses agree with their usage", 0)
    else:
        text = "the server gives no usage: how many tokens an answer has is not known"
        yield finding("token_counts", "warn", text)
    yield _server_counter(repeats)


def _server_counter(repeats: Sequence[PointData]) -> Finding:
    ours = server = spare = 0.0
    for d in repeats:
        counted = d.counted("generation_tokens_total")
        if counted is None:
            return finding("server_counter", "info", "the server publishes no token counter")
        server += counted
        ours += float(d.chunk_tokens.sum())
        failed = d.requests["outcome"] != OK
        spare += float(d.requests["requested_tokens"][failed].sum())
    # The server may have generated for failed requests what never reached the client.
    if ours <= server <= ours + spare:
        text = f"the server's counter rose by {server:.0f} tokens, the client saw {ours:.0f}"
        return finding("server_counter", "pass", text, server - ours, "tokens")
    if any((d.counted("generation_tokens_total") or 0.0) < 0 for d in repeats):
        text = (
            "the server's counter fell while the load ran: it was started anew, or a balancer gave "
            "the metrics of one replica before and of another after; they are not used"
        )
        return finding("server_counter", "warn", text, server - ours, "tokens")
    if server < _ONE_REPLICA * ours and all(d.point.repeat >= 0 for d in repeats):
        # Others could only add to it: whoever counts less has not served all of them.
        text = (
            f"the server's counter rose by {server:.0f} tokens of the {ours:.0f} that the client "
            "saw: the metrics are those of one replica behind a balancer; list all of them in "
            "engine.metrics_url=[URL,URL], or set it to null"
        )
        return finding("server_counter", "warn", text, server - ours, "tokens")
    text = (
        f"the server counted {server:.0f} generated tokens, the client {ours:.0f}: somebody else "
        "uses this server, or tokens were lost"
    )
    return finding("server_counter", "fail", text, server - ours, "tokens")


def chunk_truth(repeats: Sequence[PointData]) -> Finding:
    """How the tokens of each chunk are known; what needs them is withheld where nobody says."""
    kinds = np.concatenate(
        [d.requests["tokens_arose"][d.requests["outcome"] == OK] for d in repeats]
    )
    names = {TOKENS_AROSE[k] for k in set(kinds.tolist())}
    if names <= {"usage_per_chunk", "one_per_chunk"}:
        how = " and ".join(sorted(names)) or "no response"
        return finding("chunk_tokens", "pass", f"tokens per chunk are known: {how}")
    if "unknown" in names:
        text = "the server does not say how many tokens an answer has: only times are known"
        return some("chunk_tokens", text, (*TOKEN_RATES, *PER_USER))
    text = (
        "the server says how many tokens an answer has and streams fewer pieces: it bundles them, "
        "or keeps some back (hidden thinking); what is per token and user is not known"
    )
    return some("chunk_tokens", text, PER_USER)


def preemptions(repeats: Sequence[PointData]) -> Finding:
    """Requests that the engine threw out of its KV cache and computed again."""
    rises = [d.counted("num_preemptions_total") for d in repeats]
    known = [r for r in rises if r is not None]
    if not known:
        return finding("preemptions", "info", "the engine does not publish preemptions")
    total = sum(known)
    if total:
        text = f"the engine preempted {total:.0f} requests: its KV cache is too small for this load"
        return finding("preemptions", "warn", text, total)
    return finding("preemptions", "pass", "the engine preempted no request", 0)


def prefix_cache(repeats: Sequence[PointData], workload: WorkloadSpec) -> Finding:
    """Share of prompt tokens from the prefix cache, against what the workload shares on purpose.

    A server caches whole blocks of tokens, and two requests at once can both miss: hits up to 10
    points off the declared share are its doing. Of a user's own file nothing is declared.
    """
    share = cached_share(repeats)
    if share is None:
        return finding("prefix_cache", "info", "the engine does not publish prefix-cache hits")
    text = f"{share:.1%} of prompt tokens came from the prefix cache"
    if workload.file is not None and not _shares_are_known(repeats):
        return finding("prefix_cache", "info", f"{text}; your file declares no share", share, "1")
    declared = _declared_share(repeats, workload)
    if declared == 0.0:
        severity: Severity = "fail" if share > 0.01 else "pass"
        return finding("prefix_cache", severity, f"{text}, none should", share, "1")
    text += f", {declared:.1%} repeat an earlier prompt"
    if abs(share - declared) > _PREFIX_TOLERANCE:
        text += ": is prefix caching off, or the KV cache too small to keep them?"
        return finding("prefix_cache", "warn", text, share, "1")
    return finding("prefix_cache", "pass", text, share, "1")


def _declared_share(repeats: Sequence[PointData], workload: WorkloadSpec) -> float:
    """Over all repeats, each with prompts of its own."""
    shared = sum(shared_prompt_tokens(workload, d.requests) for d in repeats)
    return shared / max(1, sum(int(d.requests["input_tokens"].sum()) for d in repeats))


def _shares_are_known(repeats: Sequence[PointData]) -> bool:
    return all(bool((d.column("shared_tokens") >= 0).all()) for d in repeats)


def shared_prompt_tokens(spec: WorkloadSpec, requests: Mapping[str, Int64]) -> int:
    """Prompt tokens of one repeat that repeat an earlier prompt of it, by the workload's design.

    The first prompt with each shared prefix repeats nothing. A later turn repeats the prompt of the
    turn before, not its reply: what the server answered is not what the conversation goes on with.
    """
    if spec.file is not None:
        told = requests.get("shared_tokens", np.empty(0, dtype=np.int64))
        return int(told[told > 0].sum())
    order = np.argsort(requests["index"], kind="stable")
    inputs, session = requests["input_tokens"][order], requests["session"][order]
    later = np.zeros(len(order), dtype=bool)
    later[1:] = (session[1:] >= 0) & (session[1:] == session[:-1])
    opening = np.cumsum(~later)  # numbers the sessions from 1
    shared = np.where(opening > spec.shared_prefix_count, spec.shared_prefix_tokens, 0)
    shared[later] = inputs[np.flatnonzero(later) - 1]
    return int(np.minimum(shared, inputs).sum())
