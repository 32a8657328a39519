"""A watched table of texts, and the vectors that it must have."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg

from sidecar.postgres.liveness import ID_BYTES
from tests.integration.ingest.composition import DIMENSIONS
from tests.integration.ray.devices import FragileEncoder


def make_table(db: psycopg.Connection) -> None:
    db.execute("create table docs (id bigint generated always as identity primary key, body text)")
    db.execute(
        "select sidecar.watch('docs', source => 'body', target => 'embedding', index => 'none', dimensions => %s::int)",
        [DIMENSIONS],
    )


def value(db: psycopg.Connection, query: str, *parameters: Any) -> Any:
    row = db.execute(query.encode(), parameters or None).fetchone()
    return row and row[0]


def pids_with_leases(db: psycopg.Connection) -> list[int]:
    """Processes that have rows in flight."""
    leases = db.execute("select distinct lease_token from sidecar_internal.events_1 where lease_until > now()")
    owners = {token.bytes[:ID_BYTES] for (token,) in leases}
    sidecars = db.execute("select id, pid from sidecar_internal.sidecars order by pid")
    return [pid for sidecar_id, pid in sidecars if sidecar_id.bytes[:ID_BYTES] in owners]


def wrong_vectors(db: psycopg.Connection) -> list[str]:
    """The texts whose vector is not theirs, or is missing."""
    encoder = FragileEncoder()
    missing = db.execute("select body from docs where embedding is null limit 1").fetchall()
    if missing:
        return [row[0] for row in missing]
    rows = db.execute("select body, embedding::text from docs").fetchall()
    return [
        body
        for body, vector in rows
        if not np.allclose(np.fromstring(vector[1:-1], sep=","), encoder.vector_of(body), atol=1e-4)
    ]
