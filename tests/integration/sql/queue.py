"""Stand-ins for a sidecar: they take enqueued events, and write the ledger entries that a sidecar would write."""

from __future__ import annotations

from typing import Any

from tests.integration.sql.session import Connection, Row, run


def take_events(db: Connection, watch_id: int, columns: str = "k1") -> list[Row]:
    """Removes and returns all events, oldest first."""
    return run(
        db,
        f"""
        with taken as (delete from sidecar_internal.events_{watch_id} returning *)
        select {columns} from taken order by gen
        """,
    )


def take_keys(db: Connection, watch_id: int) -> list[Any]:
    """Removes all events and returns their first key column, sorted. The key of a TRUNCATE is None."""
    return sorted((key for (key,) in take_events(db, watch_id)), key=lambda key: (key is None, key))


def embed(
    db: Connection,
    watch_id: int,
    key: Any,
    *,
    content_hash: bytes | None = None,
    truncated: bool = False,
    unreadable: bool = False,
) -> None:
    """Writes ledger entries as a completion does, by default with a vector; else `b"empty"` or `b"failed"`."""
    digest = b"d" * 32 if content_hash is None else None
    run(
        db,
        f"""
        insert into sidecar_internal.ledger_{watch_id} (k1, gen, content_hash, vector_digest, truncated, unreadable)
        values (%s, nextval('sidecar_internal.generation'), %s, %s, %s, %s)
        on conflict (k1) do update set gen = excluded.gen, content_hash = excluded.content_hash,
            vector_digest = excluded.vector_digest, truncated = excluded.truncated, unreadable = excluded.unreadable
        """,
        key,
        content_hash or b"h" * 32,
        digest,
        truncated,
        unreadable,
    )
    run(db, f"delete from sidecar_internal.events_{watch_id} where k1 = %s", key)


def fail(db: Connection, watch_id: int, key: Any, reason: str = "not_a_picture", message: str = "not an image") -> None:
    """Writes the ledger entry and the failure of a completion without a vector. The key column is `id`."""
    embed(db, watch_id, key, content_hash=b"failed")
    run(
        db,
        """
        insert into sidecar_internal.failures (watch_id, key, gen, attempts, reason, message)
        values (%s, jsonb_build_object('id', %s::bigint), 1, 1, %s, %s)
        """,
        watch_id,
        key,
        reason,
        message,
    )


def finish_backfill(db: Connection, watch_id: int) -> None:
    run(
        db,
        "update sidecar_internal.scans set finished_at = now() where watch_id = %s and purpose = 'backfill'",
        watch_id,
    )


def run_a_sidecar(db: Connection, model: str = "m", fingerprint: str = "f", dimensions: int = 3) -> None:
    """Writes the heartbeat of a sidecar."""
    run(
        db,
        """
        insert into sidecar_internal.sidecars (id, host, pid, version, model, fingerprint, dimensions)
        values (gen_random_uuid(), 'here', 1, '0', %s, %s, %s)
        """,
        model,
        fingerprint,
        dimensions,
    )
