"""Takes the sidecar out of a database, and leaves the vectors. Blocking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from sidecar.operations.operations import translated

_WATCHES = """
    select w.relation::text, w.target, w.companion::text
        from sidecar.watches w join pg_class c on c.oid = w.relation order by 1, 2
"""
_UNINSTALL = "select sidecar.uninstall($1::boolean)"


@dataclass(frozen=True, slots=True)
class KeptVectors:
    """Where vectors stay: column `target` of table `relation`, or of its companion."""

    relation: str
    target: str
    companion: str | None


def read_kept_vectors(connection: psycopg.Connection[tuple[Any, ...]]) -> list[KeptVectors]:
    """All that was ever watched and still is there. Raises DatabaseUnavailable, StatementRejected."""
    with translated():
        return [KeptVectors(*row) for row in connection.execute(_WATCHES).fetchall()]


def uninstall(connection: psycopg.Connection[tuple[Any, ...]], *, force: bool) -> None:
    """Drops schema `sidecar` and its triggers in one transaction. `force`: even while sidecars are running.

    Raises DatabaseUnavailable, StatementRejected; nothing is changed then.
    """
    with translated():
        connection.execute(_UNINSTALL, (force,))
