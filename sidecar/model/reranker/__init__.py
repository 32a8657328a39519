"""Cross-encoders that score pairs of query and document."""
