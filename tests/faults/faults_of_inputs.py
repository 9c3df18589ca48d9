"""Faults of inputs (kind 9): whatever is typed or handed over, one line and exit code 2."""

from __future__ import annotations

from collections.abc import Callable

from fault import FIT, TRUTH, TWO, Place, fault
from said import bench, refused

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
YAML = {
    "a list": b"[1, 2]",
    "a scalar": b"7",
    "empty": b"",
    "a tab": b"\tx: 1",
    "no text": b"\x00\xff\xfe",
    "UTF-16": "name: x".encode("utf-16"),
    "3,000 brackets": b"[" * 3000,
    "an alias bomb": BOMB.encode(),
    "an alias of nothing": b"a: *b",
    "an alias of itself": b"a: &a [*a]",
    "a Python object": b"!!python/object:os.system x",
    "an unknown key": b"foo: 1",
    "a number of 400 digits": b"name: x\nmax_context_tokens: 1\nparams_b: " + b"9" * 400,
    "a kind that is a list": b"name: x\nkind: [a]",
}


def bad_yaml(group: str, content: bytes, *chosen: str) -> Callable[[Place], None]:
    """A file of a --config-dir."""

    def do(place: Place) -> None:
        (place.folder / group).mkdir()
        (place.folder / group / "mine.yaml").write_bytes(content)
        said = bench(*FIT, f"--config-dir={place.folder}", *chosen)
        refused(said, 2)
        assert said.took_s < 30

    return do


for _name, _content in YAML.items():
    fault(9, f"model YAML: {_name}", TWO)(bad_yaml("model", _content, "model=mine"))
    fault(9, f"GPU YAML that nobody chose: {_name}", TWO)(bad_yaml("gpu", _content))
for _name, _content in YAML.items():

    @fault(9, f"claim: {_name}", TWO)
    def _(place: Place, content: bytes = _content) -> None:
        (place.folder / "c.yaml").write_bytes(content)
        refused(bench("claim", str(place.folder / "c.yaml")), 2)


def row(arrival: str, output: str = "5") -> str:
    """A line of a trace."""
    return f'{{"arrival_s": {arrival}, "input_tokens": 5, "output_tokens": {output}}}'


TRACES = {
    "NaN": row("NaN"),
    "infinite": row("Infinity"),
    "1e300 s": "\n".join((row("0"), row("1e300"))),
    "400 digits": row("9" * 400),
    "10^20 tokens": row("0", "1" + "0" * 20),
    "5,000 digits": row("0", "9" * 5000),
    "100,000 brackets": '{"a":' * 100_000,
    "a role that is a list": '{"messages": [{"role": [1], "content": "x"}]}',
    "a role that is an object": '{"messages": [{"role": {"a": 1}, "content": "x"}]}',
    "empty": "",
    "an array": "[1, 2]",
}
for _name, _text in TRACES.items():

    @fault(9, f"trace: {_name}", TWO)
    def _(place: Place, text: str = _text) -> None:
        file = place.folder / "t.jsonl"
        file.write_text(text)
        load = "trace" if "arrival_s" in text else "closed"
        words = (f"workload.file={file}", f"load={load}", f"results_dir={place.folder / 'r'}")
        refused(bench(*TRUTH, *words), 2)


HUGE = (
    *("load.requests=100000000", "load.requests=100000000000000000000", "load.repeats=1000000000"),
    *("workload.output_tokens=1e20", "workload.output_tokens=100000000000000000000"),
    *("workload.input_tokens=99999999999", "load.duration_s=1e300", "load.workers=100000"),
    *("load.request_timeout_s=1e300", "load.request_timeout_s=-1", "seed=1e400"),
    *("seed=99999999999999999999999999", "gpus=1000000000", "engine.ttft_ms=1e300"),
    *("engine.itl_ms=nan", "engine.slots=0", "engine.start_timeout_s=1e300", "load.budget_s=nan"),
    *("load.precision=1e300", f"model.name={'x' * 10_000}", f"quant.name={'y' * 4000}"),
    *(f"workload.name={'n' * 100_000}", "load.max_in_flight=100000000000"),
)
for _word in HUGE:

    @fault(9, _word[:46], TWO)
    def _(place: Place, word: str = _word) -> None:
        refused(bench(*TRUTH, word, f"results_dir={place.folder / 'r'}"), 2)
        assert not (place.folder / "r").exists()


CONFIGS = {
    "100,000 brackets": '{"a":' * 100_000,
    "a list": "[]",
    "NaN": '{"model_type": "llama", "hidden_size": NaN}',
    "1e300 layers": '{"model_type": "llama", "num_hidden_layers": 1e300}',
    "10^9 layers": '{"model_type": "llama", "num_hidden_layers": 1000000000}',
    "-5 layers": '{"model_type": "llama", "num_hidden_layers": -5}',
    "text for numbers": '{"model_type": "llama", "hidden_size": "4096"}',
    "4,000 digits": f'{{"model_type": "llama", "hidden_size": {"9" * 4000}}}',
    "no text": "\x00",
}
for _name, _text in CONFIGS.items():

    @fault(9, f"config.json: {_name}", TWO)
    def _(place: Place, text: str = _text) -> None:
        (place.folder / "config.json").write_text(text)
        refused(bench("fit", f"model.path={place.folder}", "gpu=h100-sxm", "gpus=1"), 2)


for _name, _text in {
    "cut": "provider,model\nx",
    "no number": "provider,model,kind,usd,as_of,source\np,m,input,x,2026,y\n",
    "NaN": "provider,model,kind,usd,as_of,source\np,m,input,nan,2026,y\n",
    "no date": "provider,model,kind,usd,as_of,source\np,m,input,1,²²²²,y\n",
    "brackets": "{" * 50_000,
    "a lone carriage return": "provider,model,kind,usd,as_of,source\np,m\rx,input,1,2026,y\n",
    "a field of a megabyte": "provider,model,kind,usd,as_of,source\n" + "x" * 2**20,
    "400 digits": '{"m": {"input_cost_per_token": ' + "9" * 400 + ', "mode": "chat"}}',
}.items():

    @fault(9, f"prices: {_name}", TWO)
    def _(place: Place, text: str = _text) -> None:
        (place.folder / "p.csv").write_text(text)
        refused(bench("prices", "import", str(place.folder / "p.csv")), 2)
