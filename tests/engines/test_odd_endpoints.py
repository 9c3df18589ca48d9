"""Endpoints as people have them: own certificates, keys, caches, replicas, other models."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from odd_servers import Ask, Event, Host, Odd, due_s, end, piece, plain, serving, whole

from bench.cli.composed import expecting
from bench.derive import served_findings
from bench.engines import load_engine
from bench.evaluators.lm_eval import gives_prompt_logprobs
from bench.meters import engine_stats
from bench.preflight import check_formats
from bench.sizing.utilised import _formats
from bench.traffic.plan import plan
from bench.traffic.workers import send_load
from bench.values.errors import BenchError, InputError
from bench.values.model_names import another_model, doubtful
from bench.values.record import Anchor, LoadPoint, Run
from bench.values.server import Server
from bench.values.spec import EndpointSpec, RunSpec
from bench.web.tls import context_of

Spec = Callable[..., RunSpec]
KEY = "sk-0123456789abcdef"
POINT = LoadPoint(index=0, repeat=0, mode="closed", concurrency=4)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that nobody else has signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    where = ["-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run(["openssl", *words.split(), *names, *where], check=True, capture_output=True)
    return files


@pytest.fixture(scope="module")
def secure(certificate: tuple[Path, Path]) -> Iterator[Host]:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with serving({"truth": Odd()}, ssl=context) as host:
        yield host


def served(run_spec: Spec, tmp_path: Path, url: str, **keys: Any) -> Server:
    """The endpoint as the engine of a run finds it."""
    wanted = {"base_url": url, "served_model": "m", "start_timeout_s": 5, **keys}
    spec = run_spec(engine="endpoint", engine_keys=wanted)
    with load_engine("endpoint").serve(spec, tmp_path, lambda _: None) as server:
        return server


def test_a_certificate_that_nobody_signed_names_the_option(
    secure: Host, run_spec: Spec, tmp_path: Path
) -> None:
    with pytest.raises(BenchError, match=r"engine\.ca_file.*engine\.tls_verify=false"):
        served(run_spec, tmp_path, secure.url("truth", "https"))


@pytest.mark.parametrize("option", ["ca_file", "tls_verify"])
def test_its_own_authority_or_none_at_all(
    secure: Host,
    certificate: tuple[Path, Path],
    run_spec: Spec,
    tmp_path: Path,
    option: str,
) -> None:
    keys: dict[str, Any] = {"ca_file": str(certificate[0]), "tls_verify": False}
    server = served(run_spec, tmp_path, secure.url("truth", "https"), **{option: keys[option]})
    data = send_load(server, POINT, plan(loads(run_spec), server, POINT).requests, timeout_s=10)
    assert set(data.requests["outcome"].tolist()) == {0}
    assert gives_prompt_logprobs(server) is False  # asked over the same TLS, and it gives none


def test_a_file_of_authorities_that_is_none_is_the_users_error(
    secure: Host, run_spec: Spec, tmp_path: Path
) -> None:
    (tmp_path / "no.pem").write_text("hello")
    with pytest.raises(InputError, match=r"engine\.ca_file"):
        served(run_spec, tmp_path, secure.url("truth", "https"), ca_file=str(tmp_path / "no.pem"))
    assert context_of(True, None) is not None


# --- its page of metrics


@pytest.mark.parametrize("with_key", [True, False])
def test_metrics_are_read_with_the_certificates_and_the_key_of_the_load(
    certificate: tuple[Path, Path],
    run_spec: Spec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_key: bool,
) -> None:
    import ssl

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with serving({"truth": Odd(page=counters(1.0), key=KEY)}, ssl=context) as host:
        url = host.url("truth", "https")
        server = served(run_spec, tmp_path, url, ca_file=str(certificate[0]))
        if not with_key:
            assert engine_stats.read_all(replace(server, headers={})) is None
            return
        before = engine_stats.read_all(server)
        send_load(server, POINT, plan(loads(run_spec), server, POINT).requests, timeout_s=10)
        after = engine_stats.read_all(server)
    # 8 requests of 16 tokens
    assert engine_stats.delta(before, after, "generation_tokens_total") == 128


def test_a_key_is_not_sent_in_the_clear_where_the_load_is_encrypted(
    run_spec: Spec, tmp_path: Path
) -> None:
    with serving({"page": Odd(page=counters(1.0))}) as host:
        server = served(run_spec, tmp_path, host.url("page"))
        server = replace(server, headers={"Authorization": f"Bearer {KEY}"})
        for base_url in (server.base_url, "https://127.0.0.1/v1"):
            assert engine_stats.read_all(replace(server, base_url=base_url)) is not None
    assert [KEY in head for head in host.headers["page"][-2:]] == [True, False]


def test_first_tokens_without_text_are_waited_for(run_spec: Spec, tmp_path: Path) -> None:
    """Ten tokens of thought that is not shown: an answer of eight has no text at all."""
    silent = Odd(answers=lambda ask: [*plain(ask)[10:], (due_s(ask.tokens - 1), end(ask))])
    with serving({"silent": silent}) as host:
        server = served(run_spec, tmp_path, host.url("silent"), api="completions")
    assert (server.temperature, server.ignore_eos, server.prompt) == (0.0, True, "token_ids")
    assert server.left_out == ()


def loads(run_spec: Spec, **more: Any) -> RunSpec:
    load = {"concurrency": [4], "repeats": 1, "requests": 8, "calibrate": False, **more}
    return run_spec(engine="endpoint", load=load)


# --- a cache of prompts


SEEN: set[str] = set()


def cached(ask: Ask) -> list[Event]:
    """A prompt met before costs nothing to read: it answers at once, and says so."""
    prompt = str(ask.body.get("prompt"))
    hit = prompt in SEEN and ask.tokens == 16
    SEEN.add(prompt)
    held = ask.prompt_tokens if hit else 0
    late_s = 0.0 if hit else 0.05
    last = end(ask, prompt_tokens_details={"cached_tokens": held})
    return [*((t + late_s, d) for t, d in plain(ask)), (due_s(ask.tokens - 1) + late_s, last)]


def test_the_same_command_twice_measures_the_same(run_spec: Spec, tmp_path: Path) -> None:
    spec = loads(run_spec)
    with serving({"cache": Odd(answers=cached)}) as host:
        hits = []
        for _ in range(2):
            server = served(run_spec, tmp_path, host.url("cache"))
            data = send_load(server, POINT, plan(spec, server, POINT).requests, timeout_s=10)
            hits.append(int(data.column("cached_tokens").sum()))
        same = send_load(server, POINT, plan(spec, server, POINT).requests, timeout_s=10)
    assert hits == [0, 0]
    assert int(same.column("cached_tokens").min()) == 16  # the server does keep prompts


# --- counters of several replicas


def counters(share: float) -> Callable[[int], str]:
    """A page that shows this share of the tokens."""
    kind = "# TYPE vllm:generation_tokens_total counter\n"
    return lambda tokens: f"{kind}vllm:generation_tokens_total {share * tokens}\n"


def test_the_replicas_of_a_list_are_summed(run_spec: Spec, tmp_path: Path) -> None:
    modes = {"one": Odd(page=counters(0.25)), "other": Odd(page=counters(0.75))}
    with serving(modes) as host:
        pages = [f"http://127.0.0.1:{host.port}/{name}/metrics" for name in modes]
        server = served(run_spec, tmp_path, host.url("one"), metrics_url=pages)
        before = engine_stats.read_all(server)
        send_load(server, POINT, plan(loads(run_spec), server, POINT).requests, timeout_s=10)
        host.tokens["other"] = host.tokens["one"]
        after = engine_stats.read_all(server)
    assert server.metrics_urls == tuple(pages)
    assert before is not None
    assert after is not None
    probed = before["generation_tokens_total"] / 0.25
    # 8 requests of 16 tokens, and what the other replica's page did not show before
    assert after["generation_tokens_total"] == pytest.approx(probed + 128)


# --- servers that say nothing


def silent_where(asks: Callable[[Ask], bool]) -> Callable[[Ask], list[Event]]:
    """No answer to such a request, the truth to every other."""
    return lambda ask: [(60.0, b"")] if asks(ask) else [*plain(ask), (due_s(ask.tokens), end(ask))]


def test_silence_at_an_option_means_without_it(run_spec: Spec, tmp_path: Path) -> None:
    endless = silent_where(lambda ask: bool({"ignore_eos", "min_tokens"} & set(ask.body)))
    with serving({"silent": Odd(answers=endless)}) as host:
        server = served(run_spec, tmp_path, host.url("silent"), start_timeout_s=0.4)
    assert not server.ignore_eos
    assert any("ignore_eos" in what for what in server.left_out)


def test_silence_at_the_first_request_is_named(run_spec: Spec, tmp_path: Path) -> None:
    with (
        serving({"silent": Odd(answers=silent_where(lambda _: True))}) as host,
        pytest.raises(BenchError, match=r"it began to answer, and no end within 0\.4 s"),
    ):
        served(run_spec, tmp_path, host.url("silent"), start_timeout_s=0.4)


@pytest.mark.parametrize("status", [0, 500])
def test_a_list_of_models_may_fail_where_one_is_named(
    run_spec: Spec, tmp_path: Path, status: int
) -> None:
    with serving({"listless": Odd(models=(status, {}))}) as host:
        assert served(run_spec, tmp_path, host.url("listless")).served_model == "m"


def test_an_answer_of_another_model_is_said(run_spec: Spec, tmp_path: Path) -> None:
    def other(ask: Ask) -> list[Event]:
        return whole(ask, lambda _: piece(ask) | {"model": "elsewhere"})

    with serving({"routed": Odd(answers=other)}) as host:
        server = served(run_spec, tmp_path, host.url("routed"))
    record = {"served_model": server.served_model, "answers_as": server.answers_as}
    run = Run(
        spec=run_spec(engine="endpoint"),
        anchor=Anchor(monotonic_ns=0, wall_iso=""),
        server=record,
    )
    assert [(f.code, f.severity) for f in served_findings(run)] == [("served_model", "warn")]
    assert "elsewhere" in served_findings(run)[0].text


def test_another_model_than_the_one_typed_is_refused_before_any_load(
    run_spec: Spec, tmp_path: Path
) -> None:
    """What its list says at the probe is not measured first and judged afterwards."""
    with (
        serving({"other": Odd()}) as host,
        pytest.raises(InputError, match=r"^model=deepseek-r1 was named, but the server serves"),
    ):
        served(run_spec, tmp_path, host.url("other"), expects_model="deepseek-r1")


def test_an_alias_that_the_server_lists_has_its_remedy_named(
    run_spec: Spec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The remedy is followed as it is printed; `default` says nothing of which model it is."""
    listed = {"object": "list", "data": [{"id": "default"}]}
    typed = {"served_model": "default", "expects_model": "llama-3.1-8b"}
    with serving({"alias": Odd(models=(200, listed))}) as host:
        with pytest.raises(InputError) as refused:
            served(run_spec, tmp_path, host.url("alias"), **typed)
        told = "where default is the server's name for llama-3.1-8b, add engine.expects_model="
        said, _, remedy = str(refused.value).partition(told)
        assert said.startswith("model=llama-3.1-8b was named, but the server serves default")
        again = {**typed, "expects_model": remedy.removesuffix(".")}
        assert served(run_spec, tmp_path, host.url("alias"), **again).served_model == "default"
    unlisted = another_model("llama-3.1-8b", "default", ("other",))
    assert unlisted is not None
    assert "expects_model" not in unlisted


@pytest.mark.parametrize(
    ("asked", "is_said"),
    [
        ("llama-3.1-8b", False),
        ("Meta/Llama-3.1-8B", False),
        ("llama", True),
        ("llama-3.1-8bb", True),
    ],
)
def test_a_name_that_another_one_holds_is_not_the_listed_one(asked: str, is_said: bool) -> None:
    assert (doubtful(asked, ["llama-3.1-8b"], None) is not None) == is_said


def test_a_name_that_is_not_listed_is_said_before_any_load_and_in_the_result(
    run_spec: Spec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = {"object": "list", "data": [{"id": "alpha"}, {"id": "beta"}]}
    with serving({"loose": Odd(models=(200, listed))}) as host:
        server = served(run_spec, tmp_path, host.url("loose"))
    told = "the server lists alpha, beta and not m, and answers to it all the same"
    assert capsys.readouterr().err.startswith(f"bench: {told}")
    record = {"served_model": server.served_model, "models": server.models}
    anchor = Anchor(monotonic_ns=0, wall_iso="")
    run = Run(spec=run_spec(engine="endpoint"), anchor=anchor, server=record)
    (said,) = served_findings(run)
    assert (said.code, said.severity, said.text.startswith(told)) == ("served_model", "warn", True)


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"serves": "truth", "engine_version": None}, "the server says truth; engine.version=1"),
        ({"serves": "vllm", "engine_version": "2"}, "engine.version=1 was typed, the server says"),
        ({"serves": "vllm", "engine_version": "v1+cu128"}, None),
        ({"serves": "vLLM", "engine_version": "1", "told": ["serves", "engine_version"]}, None),
    ],
)
def test_a_server_that_is_another_than_was_typed_is_said(
    run_spec: Spec, server: dict[str, Any], said: str | None
) -> None:
    spec = run_spec(engine="endpoint", engine_keys={"serves": "vllm", "version": "1"})
    run = Run(spec=spec, anchor=Anchor(monotonic_ns=0, wall_iso=""), server=server)
    found = served_findings(run)
    assert [f.code for f in found] == ([] if said is None else ["told_otherwise"])
    assert said is None or said in found[0].text


@pytest.mark.parametrize("name", ["max_tokens", "stream", "model", "n", "temperature"])
def test_fields_that_bench_writes_are_no_extra_ones(run_spec: Spec, name: str) -> None:
    spec = run_spec(engine="endpoint", engine_keys={"extra_body": {name: 1}})
    with pytest.raises(InputError, match=rf"engine\.extra_body: '{name}' is a field that bench"):
        check_formats(spec)


# --- the model that was typed


@pytest.mark.parametrize(
    ("typed", "name", "listed", "found"),
    [
        ({"model"}, "deepseek-r1", ("tiny",), True),
        ({"model"}, "tiny", ("Qwen/Qwen3-8B",), True),
        ({"model"}, "qwen3-8b", ("Qwen/Qwen3-8B",), False),
        (set(), "tiny", ("Qwen/Qwen3-8B",), False),
    ],
)
def test_a_typed_model_that_is_not_served_is_a_finding(
    run_spec: Spec, typed: set[str], name: str, listed: tuple[str, ...], found: bool
) -> None:
    spec = run_spec(engine="endpoint", model={"name": name})
    server: Mapping[str, Any] = {"served_model": listed[0], "models": listed}
    run = Run(
        spec=expecting(spec, frozenset(typed)),
        anchor=Anchor(monotonic_ns=0, wall_iso=""),
        server=server,
    )
    codes = [f.code for f in served_findings(run) if f.severity == "fail"]
    assert codes == (["served_model"] if found else [])


def test_the_formats_of_a_server_that_somebody_else_started(run_spec: Spec) -> None:
    spec = run_spec(engine="endpoint")
    assert _formats(spec) == (None, None)
    said = replace(spec, engine=replace(as_endpoint(spec), weights="q4_k_m", kv_cache_dtype="fp8"))
    assert _formats(said) == ("q4_k_m", "fp8")
    check_formats(said)
    with pytest.raises(InputError, match=r"engine\.weights: 'fp9'.*Did you mean 'fp8'"):
        check_formats(replace(spec, engine=replace(as_endpoint(spec), weights="fp9")))


def as_endpoint(spec: RunSpec) -> EndpointSpec:
    assert isinstance(spec.engine, EndpointSpec)
    return spec.engine


# --- keys


def running_words() -> list[bytes]:
    """The command lines of all processes, as ps shows them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.append((process / "cmdline").read_bytes())
    return found


@pytest.mark.parametrize("good", [True, False])
def test_a_key_is_nowhere_but_in_the_request(
    good: bool,
    run_spec: Spec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A whole run, from the words of a command line to what is printed and kept, also of an answer
    that repeats the key it does not like."""
    from bench.cli.main import main

    seen: list[bool] = []

    def refuses(ask: Ask) -> tuple[int, str, bytes] | None:
        seen.append(any(KEY.encode() in words for words in running_words()))
        of_load = ask.tokens == 16
        return (500, "", f"no {KEY}".encode()) if of_load and not good else None

    monkeypatch.setenv("OWN_KEY", f"  {KEY}\n")
    with serving({"m": Odd(refuses=refuses)}) as host:
        words = f"engine=endpoint engine.base_url={host.url('m')} engine.api_key_env=OWN_KEY"
        quick = "load.concurrency=[4] load.requests=8 load.repeats=1 load.calibrate=false"
        more = f"workload.output_tokens=16 results_dir={tmp_path}"
        with pytest.raises(SystemExit):
            main([*words.split(), *quick.split(), *more.split(), "--json"])
        heads = host.headers["m"]
    assert sum(f"Authorization: Bearer {KEY}\r\n" in head for head in heads) > 8
    assert seen
    assert not any(seen)
    printed = capfd.readouterr()
    assert KEY not in printed.out + printed.err
    assert good or "HTTP 500" in printed.out
    kept = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert kept
    assert not [p for p in kept if KEY.encode() in p.read_bytes()]


def test_a_key_that_cannot_be_one_is_not_repeated(
    run_spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one\nsk-two")
    with pytest.raises(InputError, match="OPENAI_API_KEY") as caught:
        served(run_spec, tmp_path, "http://127.0.0.1:9/v1")
    assert "sk-" not in str(caught.value)
    assert caught.value.exit_code == 2
