"""Ingest from commit to vector: lag, throughput, and what disturbs it."""
