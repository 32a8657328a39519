"""Bounded lanes in front of the one thread that owns the device. Knows nothing of torch."""
