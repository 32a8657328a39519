"""The session of a command: its user's rights and search_path, and our settings with each statement.

With each, not once: behind a pooler in transaction mode the next statement has another session, and somebody else this
one. Settings and statement are one message of the simple protocol, which the server takes whole, runs and commits by
itself: a command that is stopped meanwhile (Ctrl-Z), or whose machine vanishes, holds no lock for it.
"""

from __future__ import annotations

import re
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.rows import Row

from sidecar.postgres.session_settings import COMMAND_SETTINGS, set_settings

_SETTINGS = set_settings(COMMAND_SETTINGS, local=True)
_PARAMETER = re.compile(r"\$(\d+)")


class CommandCursor(psycopg.RawCursor[Row]):
    """Parameters are written $1, $2 … and stand for values only."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        statement = query.decode() if isinstance(query, bytes) else sql.SQL(query).as_string(self.connection)
        if params is not None:
            literals = [sql.Literal(value).as_string(self.connection) for value in params]
            statement = _PARAMETER.sub(lambda found: f" {literals[int(found[1]) - 1]} ", statement)
        super().execute(f"{_SETTINGS};\n{statement}".encode(), **options)
        self.nextset()  # past the settings
        return self
