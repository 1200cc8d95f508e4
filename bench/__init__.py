"""Benchmarks of microgradx against its peers and its floors: `python -m bench` (see README.md)."""
