"""The price book: dated prices with their history, and the public tables they come from."""
