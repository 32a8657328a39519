"""Measures the figures of docs/benchmarks.md: `make bench`."""
