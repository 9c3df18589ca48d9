"""Pictures: one function each, from values to a matplotlib Figure; `drawn` makes files of them."""
