"""The endpoints of text-embeddings-inference; its rerank is in `rerank`."""
