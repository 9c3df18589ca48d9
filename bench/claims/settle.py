"""The one command that would settle a claim, with what is still unknown in angle brackets.

It is pasted into a shell: what is unknown is quoted, so that bench names it and no shell takes it
for a file; an address is a place to fill in, and what serves there a comment.
"""

from __future__ import annotations

import shlex

from bench.claims.measured import missing
from bench.claims.sources import Sources
from bench.claims.spec import Arithmetic, Claim, Conditions, Lookup, Serving, Speedup
from bench.claims.variants import gpu_names, model_of
from bench.claims.verdict import Verdict
from bench.values.engine_words import engine_name, same_version

OF_THE_HOST = ("host_cpu", "host_cpu_count")
"""What whoever runs a claim about a processor can read off it: no source leaves it out for good."""
ADDRESS = "engine.base_url=http://HOST:PORT/v1"


def settle_with(claim: Claim, verdict: Verdict, sources: Sources) -> str | None:
    """The command, or None where nothing is left to settle (or no command can)."""
    says = claim.says
    if isinstance(says, Serving):
        if claim.absent is not None:
            return None
        return _serving(claim, says, verdict, sources)
    if isinstance(says, Lookup):
        if verdict != "untested":
            return None
        priced = says.rent is not None or any(i.price for i in says.items)
        return "bench prices import <dated price list>.csv" if priced else None
    if isinstance(says, Speedup):
        return None if verdict in ("refuted", "impossible") else _speedup(says, sources)
    assert isinstance(says, Arithmetic)
    return says.settle_with or _cost(says)


def _speedup(says: Speedup, sources: Sources) -> str:
    """Both sides in turns, then their comparison."""
    sides = [_one_side(c, sources) for c in (says.baseline, says.conditions)]
    return "; ".join((*sides, "bench compare '<second run>' --baseline '<first run>'"))


def _one_side(c: Conditions, sources: Sources) -> str:
    """A run on the side's own engine: two sides on one engine would settle another claim."""
    engine = engine_name(c.engine)
    words = _known(c, sources, ("model", "quant", "gpu", "gpus"), ask=True)
    served = [_ask("engine=<engine>")] if engine is None else [f"engine={engine}"]
    if engine is not None and engine not in sources.engines:
        served = ["engine=endpoint", ADDRESS]
    elif other_version(c, sources) is not None:
        served = ["engine=endpoint", ADDRESS, *_said_there(c)]
    return " ".join(("bench", *words, *served, *_load(c)))


def _cost(says: Arithmetic) -> str | None:
    """The cost model's own command, where a calculation asks it."""
    for calculation in says.calculations:
        for term in calculation.terms.values():
            if term.tco is not None:
                return " ".join(("bench tco", f"tco={term.tco}", *term.overrides))
    return None


def _serving(claim: Claim, says: Serving, verdict: Verdict, sources: Sources) -> str | None:
    c = says.conditions
    if verdict in ("confirmed", "refuted"):
        return None
    if verdict == "impossible" and c.gpu == "cpu":
        return None  # its bound is arithmetic, which no other command knows better
    if verdict == "impossible":
        words = _known(c, sources, ("model", "quant", "gpu", "gpus"))
        return " ".join(("bench fit", *words)) if model_of(c, sources.catalogue) else None
    word = shlex.quote(claim.asked_by)
    engine, known = engine_name(c.engine), c.model in sources.catalogue.models
    launches = engine in sources.engines and known and other_version(c, sources) is None
    serves = f"{c.model or 'it'} is served"
    if c.engine is not None:
        serves = " ".join(w for w in (c.engine, c.engine_version, "serves", c.model or "it") if w)
    unsaid = missing(says, sources.catalogue.gpus)
    if claim.file is not None and launches and unsaid and set(unsaid) <= set(OF_THE_HOST):
        return f"bench claim {word} --measure  # once the file says {' and '.join(unsaid)}"
    if c.quant in sources.catalogue.quants and not unsaid:
        told = "" if launches else f" {ADDRESS}  # where {serves}"
        return f"bench claim {word} --measure{told}"
    words = _known(c, sources, ("model", "quant", "gpu", "gpus"), ask=True) if known else []
    if launches:
        return " ".join(("bench", *words, f"engine={engine}", *_load(c)))
    there = ("bench engine=endpoint", ADDRESS, *_said_there(c), *words, *_load(c))
    return " ".join((*there, f" # where {serves}"))


def other_version(c: Conditions, sources: Sources) -> str | None:
    """The version that would be launched here, where the claim is about another one."""
    here = sources.installed.get(engine_name(c.engine) or "")
    if here is None or c.engine_version is None or same_version(here, c.engine_version):
        return None
    return here


def _said_there(c: Conditions) -> list[str]:
    """What serves, for a server that does not say it."""
    if c.engine is None:
        return []
    version = [] if c.engine_version is None else [f"engine.version={c.engine_version}"]
    return [shlex.quote(w) for w in (f"engine.serves={c.engine}", *version)]


def _known(
    c: Conditions, sources: Sources, keys: tuple[str, ...], *, ask: bool = False
) -> list[str]:
    words = []
    for key in keys:
        value = getattr(c, key)
        if key == "model":
            found = model_of(c, sources.catalogue)
            value = None if found is None else found.name
        if key == "gpu" and value is not None:
            names = gpu_names(c, sources.catalogue.gpus)
            value = names[0] if len(names) == 1 or (names and not ask) else None
        if key == "quant" and value not in sources.catalogue.quants:
            value = None
        if value is not None:
            words.append(f"{key}={value}")
        elif ask:
            words.append(_ask(f"{key}=<{key}>"))
    return words


def _load(c: Conditions) -> list[str]:
    words = [
        _ask(f"workload.{key}={getattr(c, key) or f'<{key}>'}")
        for key in ("input_tokens", "output_tokens")
    ]
    if c.gpu == "cpu" and c.own_cores is not None:
        words.append(f"load.own_cores={c.own_cores}")
    if c.rate_per_s is not None:
        return [*words, "load=open", f"load.rate_per_s=[{c.rate_per_s:g}]"]
    at_once = _ask(f"load.concurrency=[{c.concurrency or '<concurrency>'}]")
    return [*words, "load=closed", at_once]


def _ask(word: str) -> str:
    """The word, quoted where a shell would read its bracket as a file."""
    return shlex.quote(word) if "<" in word else word


def run_overrides(c: Conditions, sources: Sources) -> list[str]:
    """The overrides that make `bench` run under exactly these conditions (none may be unsaid)."""
    words = _known(c, sources, ("model", "quant", "gpu", "gpus"))
    words += [f"engine={engine_name(c.engine)}", *_load(c)]
    if c.slo is not None:
        words += [
            f"workload.slo.ttft_ms={c.slo.ttft_ms:g}",
            f"workload.slo.tpot_ms={c.slo.tpot_ms:g}",
        ]
    return words
