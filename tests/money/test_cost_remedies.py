"""What a refused cost question says to type is typed, word for word, until it is answered."""

from __future__ import annotations

import re
import shlex

import pytest

from bench.ask.costs import answered, bought, cost_question
from bench.values.errors import InputError

POINTS = "tco.throughput.points=[{input_tokens_per_s:6000,output_tokens_per_s:2000}]"
FILLED = {
    "input_tokens_per_s:X": "input_tokens_per_s:6000",
    "output_tokens_per_s:Y": "output_tokens_per_s:2000",
    "usd:X": "usd:2.5",
    "tco.server.gpu=NAME": "tco.server.gpu=h100-sxm",
    "tco.server.gpus=N": "tco.server.gpus=8",
    "power.load_w=W": "power.load_w=900",
    "power.idle_w=W": "power.idle_w=300",
}
"""What a reader puts in the place of a word in capitals."""
WORD = re.compile(r"'(?:tco|prices|power)\.[^']+'|\b(?:tco|prices|power)(?:\.[a-z_]+)*=[^\s);,']+")


def remedies(said: str) -> list[str]:
    """The overrides that a refusal names, its placeholders filled in."""
    for blank, value in FILLED.items():
        said = re.sub(rf"{re.escape(blank)}\b", value, said)
    found = [shlex.split(w)[0].rstrip(".") for w in WORD.findall(said)]
    return [w for w in found if not re.search(r"=[A-Z]+$", w)]


def follow(words: tuple[str, ...], taken: str) -> tuple[str, ...]:
    """The words with one more; a key that was typed before is typed anew."""
    key = taken.partition("=")[0]
    return (*(w for w in words if w.partition("=")[0] != key), taken)


def ask(words: tuple[str, ...]) -> str | None:
    """Why there is no answer, None with one."""
    try:
        request = cost_question(words, ())
        if request.tco.basis == "api":
            bought(request)
        else:
            answered(request, ())
    except InputError as error:
        return str(error)
    return None


SERVER = ("tco.server.gpu=h100-sxm", "tco.server.gpus=8")
A100 = ("tco.server.gpu=a100-80gb-sxm", "tco.server.gpus=2")


@pytest.mark.parametrize(
    "words",
    [
        (),
        (POINTS,),
        (POINTS, "tco.server.gpu=h100-sxm"),
        (POINTS, *SERVER, "tco.own=null"),
        (POINTS, *A100),
        (POINTS, *SERVER, "tco.demand.input_share=0.2"),
        (POINTS, *SERVER, "power=default"),
        (POINTS, *SERVER, "power=default", "power.load_w=900"),
        (POINTS, *SERVER, "tco.basis=reserved", "tco.rent.provider=cloud-low"),
        (POINTS, "tco.server.gpu=rtx-4090", "tco.server.gpus=1", "tco.basis=reserved"),
        ("tco=worked-example", "tco.demand.input_share=null"),
        ("tco=worked-example", "tco.api.compare=[me/mine]"),
        ("tco=worked-example", "power.usd_per_kwh=30"),
        ("tco.basis=api",),
        ("tco.basis=api", "tco.demand.input_share=0.5", "tco.api.compare=[me/mine]"),
        ("tco.basis=api", "tco.demand.input_share=0.5", 'tco.api.compare=["01.ai/yi 34b (chat)"]'),
        ("tco.basis=api", "tco.demand.input_share=0.5", "tco.api.compare=[me/4]"),
    ],
)
def test_what_is_said_to_type_leads_to_an_answer(words: tuple[str, ...]) -> None:
    """All of a refusal's words together, or each as its own way out: one of these must answer, and
    none may be refused for what it says itself."""
    said = ask(words)
    assert said is not None, "nothing is wrong with that question"
    assert "\n" not in said
    ways = [(words, said)]
    for _ in range(6):
        tried: list[tuple[tuple[str, ...], str]] = []
        for typed, why in ways:
            offered = remedies(why)
            assert offered, f"{typed}: no remedy: {why}"
            together = typed
            for word in offered:
                if "basis=" not in word and word != "tco=default":
                    together = follow(together, word)
            for more in (together, *(follow(typed, word) for word in offered)):
                again = ask(more)
                if again is None:
                    return
                if again != why:
                    tried.append((more, again))
        ways = tried
        assert ways, f"{words}: what is said to type changes nothing: {said}"
    raise AssertionError(f"{words}: six remedies lead nowhere: {ways}")


@pytest.mark.parametrize(
    "typed",
    [
        "tco.own.capex_usd=90000",
        "tco.own.provisioned_kw=2",
        "power.load_w=9000",
        "power.host_adder_w=500",
        POINTS,
        'tco.throughput={points:[{input_tokens_per_s:1,output_tokens_per_s:9}],source:t,as_of:"2026"}',
    ],
)
def test_a_figure_of_an_unnamed_server_is_refused_by_name(typed: str) -> None:
    key = typed.partition("=")[0].removesuffix(".points")
    for measured in (False, True):
        if measured and "throughput" in typed:
            continue
        with pytest.raises(InputError) as refused:
            cost_question((typed,), (), measured=measured)
        assert str(refused.value) == (
            f"{key}: of which server? Say which GPU, and how many in a server: tco.server.gpu=NAME "
            "tco.server.gpus=N. tco=default takes its 8×h100-sxm."
        )
        cost_question((typed, "tco=default"), (), measured=measured)
        cost_question((typed, *SERVER), (), measured=measured)
    with pytest.raises(InputError, match=r"in a server: tco\.server\.gpus=N\.$"):
        cost_question((typed, "tco.server.gpu=h100-sxm"), ())


def test_a_typed_throughput_beside_a_run_is_refused() -> None:
    """Only one of them could count."""
    with pytest.raises(InputError, match="a Run is named and says the throughput itself"):
        cost_question((POINTS, "tco=default"), (), measured=True)
