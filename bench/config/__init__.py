"""conf/ as values: composed by Hydra, checked and decoded; the catalogue of what can be chosen."""
