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
    "HTTP + batching over a bare encoder call, one text, p50": "this virtual machine's sleep: after 20 ms of waiting a"
    " request takes the server 2.7 ms of processor time, with a device that answers at once 1.4 ms, and then 1.1 ms in"
    " all. On two cores of an AMD EPYC the figure was 2.6 ms",
    "commit to vector, single inserts when idle, p95 (5 ms encode)": "this virtual machine's sleep: the release before"
    " takes 52 ms on it, and took 14 ms on two cores of an AMD EPYC; at half load the p50 is lower than when idle",
    "commit to vector, from a transaction that was open for 500 ms, p95 (5 ms encode)": "the same: the release before"
    " takes 49 ms on this machine, and took 20 ms on two cores of an AMD EPYC",
    "32 clients, of the device's own texts/s": "this machine's single core for the server, beside the client's; on two"
    " cores of an AMD EPYC it was 0.93",
    "overload, growth of resident memory": "connections: the client opens more whenever the machine stalls, and the"
    " server keeps 15 KiB for each. With 2,048 open from the start and below saturation it grew by 0.27 MiB/min over"
    " two minutes, in steps that became rarer; ten minutes of that were not measured",
    "overload, goodput / capacity": "the server's single core: a thousand requests a second, most of them refused, take"
    " four fifths of it on this machine; on two cores of an AMD EPYC the figure was 0.91",
    "claim + read + complete, no vectors, batch 256": "the machine's cores; on two of an AMD EPYC it was 25,187",
}
"""By the name of the figure. Shown only while the figure misses its target."""
