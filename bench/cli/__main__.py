"""`python -m bench.cli` is `bench`."""

from bench.cli.main import main

main()
