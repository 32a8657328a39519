"""What keeps a figure from its target, as profiles have shown; docs/benchmarks.md says it beside the figure."""

from __future__ import annotations

from collections.abc import Mapping

LIMITS: Mapping[str, str] = {
    "commit to vector, Poisson arrivals at half load, p95 above the queue's theory": "rows that wait go in one"
    " micro-batch and are done together, where the theory serves one after another (the line above simulates that); the"
    " rest is the time between two micro-batches, each millisecond of which costs four to five at p95",
    "texts, device of 1,600 texts/s, sidecar / pgai's worker": "the device: the sidecar keeps nine tenths of it"
    " busy, and five times the worker's rate would be all that it can do",
    **dict.fromkeys(
        ("complete with vectors / bare bulk write, in-row", "complete with vectors / bare bulk write, companion"),
        "the ledger's row with its index and the event's deletion are two more writes for each vector. Of 57 us of"
        " processor time a row (in-row; companion 42) the bare write's part is 30, the ledger's 5, the event's 3, locks"
        " and commit 6; most of the rest is the client's encoding of eleven arrays",
    ),
    "HTTP + batching over a bare encoder call, one text, p50": "the processor's caches are cold after 20 ms of"
    " waiting: with a device that answers at once the same request takes 1.1 ms in all",
}
"""By the name of the figure. Shown only while the figure misses its target."""
