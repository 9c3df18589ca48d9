"""llama.cpp's server out of the Python wheel xllamacpp, told in llama-server's own words.

For machines without a built llama-server: `python llama_wheel.py -m FILE.gguf --port P …` serves
the same routes from the same C++ server. Standard library and that wheel alone, so that the
interpreter of another environment can run it. A word that is not in the table is refused, never
dropped.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

_TEXTS = {"--alias": "model_alias", "--host": "hostname"}
_COUNTS = {
    "--port": "port",
    "-c": "n_ctx",
    "-np": "n_parallel",
    "-b": "n_batch",
    "-ub": "n_ubatch",
    "-ngl": "n_gpu_layers",
    "-cram": "cache_ram_mib",
    "-lv": "verbosity",
}
_ON = {"--metrics": "endpoint_metrics", "--offline": "offline", "--props": "endpoint_props"}
_OFF = {"--no-cache-prompt": "cache_prompt", "--no-ui": "ui"}


def settings(words: Sequence[str]) -> dict[str, Any]:
    """The words of a command as attributes of xllamacpp.CommonParams; ValueError names a stranger.

    Dotted keys are attributes of a part: `cpuparams.n_threads`.
    """
    found: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in _ON:
            found[_ON[word]] = True
        elif word in _OFF:
            found[_OFF[word]] = False
        elif not rest:
            raise ValueError(f"{word}: no value after it, or no word that the wheel is told")
        elif word in _TEXTS:
            found[_TEXTS[word]] = rest.pop(0)
        elif word in _COUNTS:
            found[_COUNTS[word]] = int(rest.pop(0))
        elif word == "-m":
            found["model.path"] = rest.pop(0)
        elif word == "-t":
            threads = int(rest.pop(0))
            found |= {"cpuparams.n_threads": threads, "cpuparams_batch.n_threads": threads}
        elif word == "--seed":
            found["sampling.seed"] = int(rest.pop(0))
        elif word in ("-ctk", "-ctv"):
            found[f"cache_type_{word[-1]}"] = f"GGML_TYPE_{rest.pop(0).upper()}"
        else:
            raise ValueError(f"{word}: not among the words that the wheel is told")
    return found


def main() -> int:
    """Serve until the process is told to end."""
    import xllamacpp  # type: ignore[import-not-found, unused-ignore]

    params = xllamacpp.CommonParams()
    for key, value in settings(sys.argv[1:]).items():
        part, _, name = key.rpartition(".")
        where = getattr(params, part) if part else params
        if name == "model_alias":
            value = {value}
        if name == "hostname":
            name, value = "hostnames", [value]
        if name.startswith("cache_type_"):
            value = getattr(xllamacpp.ggml_type, value)
        setattr(where, name, value)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server = xllamacpp.Server(params)
    print(f"llama_server: listening on {server.listening_address}", file=sys.stderr, flush=True)
    ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
