"""Any OpenAI-compatible server that already runs: nothing is started, everything is asked."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from bench.engines.exchange import Target, normalise_base_url
from bench.engines.listener import listeners
from bench.engines.probe import probe
from bench.values.server import Progress, ProgressCallback, Server
from bench.values.spec import EndpointSpec, RunSpec


class EndpointEngine:
    """Finds out what a running server takes; see `bench.values.server.Engine`."""

    def serve(
        self, spec: RunSpec, run_dir: Path, progress: ProgressCallback
    ) -> AbstractContextManager[Server]:
        return _serve(spec, progress)


@contextlib.contextmanager
def _serve(spec: RunSpec, progress: ProgressCallback) -> Iterator[Server]:
    engine = spec.engine
    if not isinstance(engine, EndpointSpec):
        raise TypeError(f"not an endpoint run: {engine.kind}")
    base_url = normalise_base_url(engine.base_url)
    began_s = time.monotonic()
    progress(Progress(phase="asking the endpoint", elapsed_s=0.0, detail=base_url))
    key = os.environ.get(engine.api_key_env)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    target = Target(
        base_url=base_url,
        headers=headers,
        key_env=engine.api_key_env,
        timeout_s=engine.start_timeout_s,
    )
    found = probe(target, served_model=engine.served_model, api=engine.api, prompt=engine.prompt)
    yield Server(
        engine="endpoint",
        base_url=base_url,
        served_model=found.served_model,
        api=found.api,
        prompt=found.prompt,
        usage=found.usage,
        ignore_eos=found.ignore_eos,
        vocab_size=engine.vocab_size,
        max_model_len=found.max_model_len,
        engine_version=found.engine_version,
        metrics_url=found.metrics_url,
        listener_pids=listeners(base_url),
        startup_s=time.monotonic() - began_s,
        headers=headers,
    )
