"""Metrics: the instruments, what they measure, and the registry that exposes them."""
