"""The session of a command: its user's rights and search_path, and our settings with each statement.

With each, not once: behind a pooler in transaction mode the next statement has another session, and somebody else this
one. A command that is stopped (Ctrl-Z) or whose machine vanishes holds its locks no longer than any other session of
ours: a statement is one packet, and between two of them the server waits 2 s.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import Row

from sidecar.postgres.session_settings import COMMAND_SETTINGS, set_settings

_SETTINGS = set_settings(COMMAND_SETTINGS, local=True).encode()


class CommandCursor(psycopg.RawCursor[Row]):
    """Parameters are written $1, $2 … A statement outside a transaction has one of its own."""

    def execute(
        self, query: Any, params: Any = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Self:
        is_alone = self.connection.info.transaction_status == TransactionStatus.IDLE
        with self.connection.transaction() if is_alone else nullcontext():
            with psycopg.Cursor(self.connection) as cursor:
                cursor.execute(_SETTINGS)
            return super().execute(query, params, prepare=prepare, binary=binary)
