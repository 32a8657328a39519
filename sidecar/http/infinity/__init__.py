"""The endpoints of infinity, which are OpenAI's under shorter paths; its rerank is in `rerank`."""
