"""The API of text-embeddings-inference; its reranking is in `rerank`."""
