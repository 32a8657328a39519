"""Cohere's API for vectors; its reranking is in `rerank`."""
