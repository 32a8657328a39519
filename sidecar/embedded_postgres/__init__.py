"""A Postgres server started from a Python package, for the demo, tests and benchmarks."""
