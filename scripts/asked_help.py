"""`--help` of the scripts whose words are few: their docstring, before anything else is done."""

from __future__ import annotations

import sys


def answer_help(doc: str | None) -> None:
    """Print the docstring and end, where -h or --help was typed."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print((doc or "").strip())
        sys.exit(0)


if __name__ == "__main__":
    print(__doc__)
