"""What fits and how fast it could be, by arithmetic alone: geometry, memory, bounds, plans."""
