"""Keeps a pgvector column in step with the text or picture beside it, and embeds queries over REST."""

__version__ = "0.1.0"
