"""From a run as it is asked to the rows that are to be predicted, one per load point."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from bench.predict.evidence import Row
from bench.predict.terms import Deployment, cost, named
from bench.sizing import offload
from bench.sizing.bound import Work, held, machine, output_bound
from bench.sizing.fit import held_at_once
from bench.sizing.formats import Served
from bench.sizing.headroom import is_cpu, served, typical
from bench.sizing.precision import precision
from bench.sizing.roofline import decode_expectation
from bench.sizing.sharding import layout_of
from bench.sizing.utilised import laid_out_otherwise, unsaid
from bench.values.cores import cpu_name, host_words
from bench.values.engine_flags import flags_of
from bench.values.errors import InputError
from bench.values.spec import RunSpec

ENGINES = ("vllm", "tensorrt-llm")
"""Engines with published rows, as `--engine` names them."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A run taken apart once; rows are made of it for any number of sequences in flight."""

    spec: RunSpec
    served: Served
    kv_bits: float
    per_replica: int
    replicas: int
    input_tokens: float
    output_tokens: float
    engine: str
    host: str = ""
    cores: float | None = None
    at_once: float = math.inf
    """Requests of mean length that one replica's memory holds, as `bench fit` counts it."""

    def row(
        self, concurrency: float, *, label: str = "", tokens_per_s: float = 1.0, own: bool = False
    ) -> Row:
        """The row of that many requests in flight; its rate is a stand-in until it is measured."""
        spec = self.spec
        c = cost(
            self.served.geometry,
            named(spec.quant.name, spec.model),
            Deployment(
                gpu=spec.gpu,
                per_replica=self.per_replica,
                replicas=self.replicas,
                sequences=min(float(flags_of(spec).max_num_seqs or 1e9), self.at_once),
                memory_counted=math.isfinite(self.at_once),
            ),
            Work(
                input_tokens=self.input_tokens,
                output_tokens=self.output_tokens,
                concurrency=concurrency,
            ),
            self.kv_bits,
        )
        return Row(
            id=label or f"c{concurrency:g}",
            source="asked",
            date="",
            collection="own",
            engine=self.engine,
            version="",
            model=spec.model.name,
            quant=quant_name(spec),
            gpu="cpu" if is_cpu(spec) else spec.gpu.name,
            gpus=max(spec.gpus, 1),
            replicas=self.replicas,
            mode="throughput",
            input_tokens=self.input_tokens,
            assumed_input=None,
            output_tokens=self.output_tokens,
            concurrency=concurrency,
            batch=c.batch,
            tokens_per_s=tokens_per_s,
            terms=c.terms,
            host=self.host,
            cores=self.cores,
            own=own,
        )

    def limits(self, concurrency: float) -> tuple[float | None, float | None]:
        """The bound and the expectation at a load (output tokens/s); None where not known."""
        spec, wanted = self.spec, precision(self.spec.quant.name, self.spec.model)
        if is_cpu(spec) or wanted is None:
            return None, None
        m = machine(spec.gpu, spec.gpus, wanted)
        plan = decode_expectation(
            self.served,
            spec.gpu,
            spec.gpus,
            batch=max(concurrency, 1.0),
            context_tokens=self.input_tokens + self.output_tokens / 2,
            replicas=self.replicas,
        )
        work = Work(
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            concurrency=concurrency,
        )
        h = held(self.served.geometry, wanted, self.kv_bits)
        most = None if m is None else output_bound(m, h, work).lowest
        return most, None if plan is None else plan.tokens_per_s


def quant_name(spec: RunSpec) -> str:
    """The quantisation as evidence names it: what is published in FP8 is fp8, not `none`."""
    native = named(spec.quant.name, spec.model).name
    sixteen = native in ("bfloat16", "float16", "bf16", "fp16", "float32")
    return native if spec.quant.name == "none" and not sixteen else spec.quant.name


def question(spec: RunSpec, engine: str | None = None) -> Question:
    """The run as a question; InputError where nothing can be said (no config, a truth server)."""
    if spec.engine.kind in ("truth", "none"):
        raise InputError(
            f"engine={spec.engine.kind} serves no model: nothing to predict. Use engine=vllm."
        )
    why = unsaid(spec)
    if why is not None:
        raise InputError(f"{why}: nothing to predict.")
    if not spec.model.config:
        raise InputError(
            f"model.config of {spec.model.name} is empty: nothing to predict from. Give "
            "model.path=DIR with a config.json."
        )
    if flags_of(spec).speculative is not None:
        raise InputError(
            "speculative decoding is in none of the evidence: predict without it "
            "(engine.args without --speculative-config)."
        )
    if spec.nodes.serving > 1:
        raise InputError("what a network between nodes costs is in none of the evidence.")
    s = served(spec)
    if (why := laid_out_otherwise(spec, s)) is not None:
        raise InputError(f"{why}: nothing to predict.")
    where = layout_of(spec)
    prompt = typical(spec.workload.input_tokens) + spec.workload.shared_prefix_tokens
    return Question(
        spec=spec,
        served=s,
        kv_bits=8 * s.kv_bytes,
        per_replica=max(1, where.tp * where.pp),
        replicas=where.dp,
        input_tokens=prompt,
        output_tokens=typical(spec.workload.output_tokens),
        engine=engine or spec.engine.kind,
        host=host_words(cpu_name(), os.cpu_count()) if is_cpu(spec) else "",
        cores=(os.cpu_count() or 1) - (spec.load.own_cores or 0) if is_cpu(spec) else None,
        at_once=_at_once(spec, prompt),
    )


def _at_once(spec: RunSpec, prompt: float) -> float:
    """How many requests one replica holds while they write their answers: no limit where the fit
    has no room for one (`fit.force=true` predicts all the same), or is not vLLM's."""
    if is_cpu(spec) or offload.asked(spec):
        return math.inf
    count = held_at_once(spec, prompt, prompt + typical(spec.workload.output_tokens))
    return count if count >= 1 else math.inf
