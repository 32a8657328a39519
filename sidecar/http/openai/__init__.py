"""OpenAI's API: its clients work unmodified."""
