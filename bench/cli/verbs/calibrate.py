"""`bench calibrate`: measure the load generator's own error on this machine."""

from __future__ import annotations

from bench.cli.arguments import Arguments
from bench.cli.verb import Verb
from bench.config.compose import compose, run_spec
from bench.values.errors import InputError
from bench.values.json_text import json_text
from bench.values.spec import RunSpec, TruthSpec

VERB = Verb(
    usage=("bench calibrate [load.concurrency=[N]] [engine.KEY=X ...] [--json]",),
    keys=(
        ("load.concurrency=[N,N]", "how many streams at once"),
        ("engine.ttft_ms=X", "when the first token of the known schedule is sent"),
        ("engine.itl_ms=X", "and how long after it each further one"),
        ("engine.tokens_per_chunk=N", "tokens in one message"),
    ),
)


_READ = (
    *("engine", "load", "load.concurrency", "load.workers", "load.own_cores"),
    *("engine.ttft_ms", "engine.itl_ms", "engine.tokens_per_chunk"),
)
_UNREAD = ("model", "quant", "gpu", "meter", "nodes", "quality", "fit")


def call(arguments: Arguments) -> int:
    """Calibrate against the server of known timing."""
    engines = [o for o in arguments.overrides if o.startswith("engine=") and o != "engine=truth"]
    if engines:
        raise InputError(
            f"{engines[0]}: bench calibrate measures the client against the server of known "
            "timing, engine=truth: leave engine= out."
        )
    unread = sorted(k for k in arguments.typed_keys if k.partition(".")[0] in _UNREAD)
    if unread:
        raise InputError(
            f"{unread[0]} has no effect on bench calibrate: no model is served, leave it out."
        )
    idle = sorted(arguments.typed_keys - {*_READ})
    if idle:
        raise InputError(
            f"{idle[0]} has no effect on bench calibrate, which reads {', '.join(_READ[2:])}: "
            "leave it out."
        )
    typed = ["engine=truth", *arguments.overrides]
    spec = run_spec(compose(typed, arguments.config_dirs), detect_gpus=False)
    if not spec.load.concurrency:
        raise InputError(
            f"load.mode={spec.load.mode} keeps no number of streams: choose load=closed, or say "
            "how many, load.concurrency=[16]."
        )
    return run(spec, as_json=arguments.as_json)


def run(spec: RunSpec, *, as_json: bool) -> int:
    """Calibrate at every concurrency of the load, afresh (the cache is renewed)."""
    from bench.measure.client_error import Shape
    from bench.preflight import with_cores
    from bench.report.live import shown
    from bench.report.terminal import print_calibration
    from bench.traffic.calibrate import calibrate
    from bench.traffic.limits import workers_for
    from bench.values.codec import encode

    spec = with_cores(spec)
    assert isinstance(spec.engine, TruthSpec)
    results = []
    with shown() as progress:
        for concurrency in spec.load.concurrency:
            shape = Shape(
                concurrency=concurrency,
                ttft_ms=spec.engine.ttft_ms,
                itl_ms=spec.engine.itl_ms,
                tokens_per_chunk=spec.engine.tokens_per_chunk,
                workers=workers_for(concurrency, spec.load.workers),
                own_cores=spec.load.own_cores or 0,
            )
            results.append(calibrate(shape, progress, cached=False))
    if as_json:
        documents = [encode(r) for r in results]
        print(json_text(documents[0] if len(documents) == 1 else documents))
    else:
        print_calibration(results)
    return 0
