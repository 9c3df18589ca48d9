"""The machine that measures: what it can do, and where a result comes from."""
