"""The REST edge: parse, call, answer."""
