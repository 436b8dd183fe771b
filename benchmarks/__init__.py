"""Benches for research, outside the package: other methods at the same budget, retrieval, a store that grows."""
