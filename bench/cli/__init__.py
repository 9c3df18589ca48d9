"""The command line: words taken apart, verbs, sweeps; the only wing that prints or exits."""
