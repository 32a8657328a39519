"""Cohere's API for vectors; its rerank is in `rerank`."""
