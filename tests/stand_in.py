"""A stand-in for an engine: its log as recorded, then the truth server on the port that it is told.

`stand_in.py KIND WORDS…`: the words are those of the engine's own command line.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

LOGS = Path(__file__).parent / "data" / "stand_ins"


def main() -> None:
    """Say what KIND says at its start, then become the truth server."""
    kind, words = sys.argv[1], sys.argv[2:]
    sys.stderr.write((LOGS / f"{kind}.log").read_text())
    sys.stderr.flush()
    port = words[words.index("--port") + 1]
    named = {"sglang": "--served-model-name", "llamacpp": "--alias"}.get(kind)
    model = words[words.index(named) + 1] if named else words[1 if kind == "transformers" else 0]
    server = [sys.executable, "-m", "bench.engines.truth_server", "--port", port]
    server += ["--model", model, "--ttft-ms", "1", "--itl-ms", "0.2"]
    os.execv(sys.executable, server)


if __name__ == "__main__":
    main()
