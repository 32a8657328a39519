"""The status of a watch, for tests to vary with dataclasses.replace."""

from __future__ import annotations

from sidecar.postgres.status import WatchStatus

UP_TO_DATE = WatchStatus(
    relation="items",
    target="e",
    kind="text",
    source=["title"],
    companion=None,
    state="up to date",
    rows=500,
    embedded=500,
    pending=0,
    failed=0,
    empty=0,
    truncated=0,
    coverage=100.0,
    oldest_pending_s=None,
    lag_ms=None,
    index="items_e_hnsw_1",
    model="m",
    fingerprint="f",
    query=None,
    estimated=False,
    watch_id=1,
    index_statement=None,
    rows_per_s=None,
    companion_view=None,
    unreadable=0,
    outdated=0,
    retrying=0,
    health="ok",
    storage="vector",
)
