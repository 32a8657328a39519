"""What keeps a figure from its target, as profiles have shown; docs/benchmarks.md says it beside the figure."""

from __future__ import annotations

from collections.abc import Mapping

LIMITS: Mapping[str, str] = {
    "commit to vector, Poisson arrivals at half load, p95 above the queue's theory": "rows that wait go in one"
    " micro-batch and are done together, where the theory serves one after another (the line above simulates that); the"
    " rest is the time between two micro-batches, each millisecond of which costs four to five at p95",
    "texts, device of 1,600 texts/s, sidecar / pgai's worker": "the device: the sidecar keeps nine tenths of it"
    " busy, and five times the worker's rate would be all that it can do",
}
"""By the name of the figure. Shown only while the figure misses its target."""
