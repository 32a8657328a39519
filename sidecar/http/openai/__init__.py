"""OpenAI's API, and infinity's, which is OpenAI's under shorter paths."""
