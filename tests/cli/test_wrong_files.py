"""A file of another kind, a folder of another model, an address that nobody typed: exit 2."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from bench.cli.composed import check_address
from bench.cli.main import main
from bench.config.compose import compose, run_spec
from bench.values.errors import InputError
from bench.values.spec import EndpointSpec

DAY = "2026-01-01"
TINY = Path(__file__).parents[2] / "bench" / "assets" / "models" / "tiny"

FILES = (
    ("audit c.yaml", "c.yaml is YAML: bench claim c.yaml reads a claim."),
    ("show c.yaml", "c.yaml is YAML: bench claim c.yaml reads a claim."),
    ("report c.yaml", "c.yaml is YAML: bench claim c.yaml reads a claim."),
    ("workload c.yaml", "no workload, which is JSONL, JSON or CSV. c.yaml is YAML: bench claim"),
    ("prices import c.yaml", "no price table, which is CSV or JSON. c.yaml is YAML: bench claim"),
    ("claim r.json", "r.json is JSON: bench audit r.json reads another tool's result. A claim is"),
    ("show r.json", "r.json is JSON: bench audit r.json reads another tool's result."),
    ("workload r.json", "r.json is JSON: bench audit r.json reads another tool's result."),
    ("prices import r.json", "r.json is JSON: bench audit r.json reads another tool's result."),
    ("audit x/run.json", "A run is named by its folder: bench show x."),
    ("show x/run.json", "A run is named by its folder: bench show x."),
    ("claim x/run.json", "A run is named by its folder: bench show x."),
    ("snapshot import p.csv board=b", "board would have no effect: p.csv holds prices; leave it"),
    ("snapshot import b.csv region=eu", "region would have no effect: b.csv holds ratings; leave"),
    (
        "prices import p.csv provider=c",
        "provider would have no effect: p.csv (price book) names its",
    ),
    ("claim c.yaml/key", "c.yaml holds one claim, without a key: bench claim c.yaml."),
    (
        "fit model=llama-3.1-8b model.path=mine",
        "model.path: mine is not model=llama-3.1-8b (hidden 256 for 4096,",
    ),
    (
        "fit model=llama-3.1-8b model.weights=mine",
        "model.weights: mine is not model=llama-3.1-8b (hidden 256 for 4096,",
    ),
)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a claim, a JSON, a run's record and a model."""
    from bench.claims.skeleton import skeleton

    text = skeleton("c").replace("who: null", "who: x").replace("where: null", "where: x")
    text = text.replace("as_of: null", 'as_of: "2026"').replace("quote: null", "quote: x")
    (tmp_path / "c.yaml").write_text(text)
    (tmp_path / "r.json").write_text(json.dumps({"a": 1}))
    (tmp_path / "p.csv").write_text(f"provider,model,kind,usd,as_of,source\na,b,input,1,{DAY},s\n")
    (tmp_path / "b.csv").write_text("model,rating\nx,1400\n")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "run.json").write_text("{}")
    (tmp_path / "mine").mkdir()
    shutil.copy(next(TINY.rglob("config.json")), tmp_path / "mine" / "config.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("typed", "line"), FILES)
def test_a_file_of_another_kind_is_named(
    typed: str, line: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if typed == "show x/run.json":
        typed = f"show x/run.json results_dir={files / 'none'}"
    with pytest.raises(SystemExit) as ended:
        main(typed.split())
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert line in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("model=tiny model.path=mine", "tiny"),
        ("model.path=mine", "mine"),
        ("model.path=mine model.name=other", "other"),
    ],
)
def test_a_named_model_with_a_folder_of_its_own_keeps_its_name(
    typed: str, name: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fit", *typed.split(), "gpu=l4", "gpus=1", "quant=none", "--json"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["model"] == name


@pytest.mark.usefixtures("files")
def test_what_does_not_matter_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", "gpu=l4", "gpus=1", "quant=none", "nodes=slurm", "engine=sglang"]
    with pytest.raises(SystemExit):
        main([*words, "fit.vllm_version=0.31.0"])
    said = capsys.readouterr().err
    assert "without effect on bench fit, for a run alone: nodes" in said
    assert "the memory of engine=sglang is counted as vLLM 0.31.0 counts it" in said


def test_an_endpoint_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens there: the address is asked for. A typed one is the probe's to judge."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        monkeypatch.setattr(EndpointSpec, "base_url", url)
        spec = run_spec(compose(["engine=endpoint", f"engine.base_url={url}", "gpus=0"]))
        with pytest.raises(InputError, match=r"add engine\.base_url=http://HOST:PORT/v1"):
            check_address(spec, frozenset({"engine"}))
        check_address(spec, frozenset({"engine", "engine.base_url"}))
        free.listen()
        check_address(spec, frozenset({"engine"}))


@pytest.mark.usefixtures("files")
def test_a_misspelt_model_of_a_stored_run_names_its_newest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for stamp in ("20260101-120000", "20260102-120000"):
        folder = Path("results", "tiny", f"none-x0-{stamp}")
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
    with pytest.raises(SystemExit) as ended:
        main(["show", "tinyy"])
    assert ended.value.code == 2
    assert "tiny/none-x0-20260102-120000" in capsys.readouterr().err
