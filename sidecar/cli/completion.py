"""Completes names of tables and targets from the database, for `sidecar --install-completion`.

A shell waits for the answer at each press of Tab, so this is quick, and silent whatever goes wrong.
"""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress

_TIMEOUT_S = 2  # the shortest that every libpq takes
_PLAIN = re.compile(r"[a-z_][a-z0-9_.]*", re.ASCII)  # needs no quotes, neither SQL's nor the shell's

_WATCHED_TABLES = "select distinct w.relation::text from sidecar_internal.watches w where w.unwatched_at is null"
_TABLES = """
    select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and c.relpersistence <> 't'
      and n.nspname not in ('pg_catalog', 'information_schema', 'sidecar', 'sidecar_internal')
"""
_TARGETS = """
    select distinct w.target from sidecar_internal.watches w
    where w.unwatched_at is null and (%(table)s::text is null or w.relation = to_regclass(%(table)s::text))
"""
_COLUMNS = """
    select a.attname from pg_attribute a
    where a.attrelid = to_regclass(%(table)s::text) and a.attnum > 0 and not a.attisdropped
"""


def complete_watched_table(incomplete: str) -> list[str]:
    return _complete(_WATCHED_TABLES, incomplete)


def complete_table(incomplete: str) -> list[str]:
    return _complete(_TABLES, incomplete)


def complete_target(incomplete: str) -> list[str]:
    """The targets of the table on the line; of all tables if there is none yet."""
    return _complete(_TARGETS, incomplete)


def complete_column(incomplete: str) -> list[str]:
    """The columns of the table on the line."""
    return _complete(_COLUMNS, incomplete)


def _complete(query: str, incomplete: str) -> list[str]:
    with suppress(Exception):
        names = _read(query, _table_on_the_line())
        return [name for name in names if name.startswith(incomplete) and _PLAIN.fullmatch(name)]
    return []


def _table_on_the_line() -> str | None:
    """The word after the command. An option that still lacks its value keeps the parser from telling."""
    shell = os.environ  # noqa: TID251 - the shell's protocol, no setting
    words = shell.get("COMP_WORDS") or shell.get("_TYPER_COMPLETE_ARGS") or ""
    named = shlex.split(words)[2:3]
    return named[0] if named and not named[0].startswith("-") else None


def _read(query: str, table: str | None) -> list[str]:
    import psycopg

    from sidecar.cli.database import find_database_url
    from sidecar.postgres.address import read_address

    address = read_address(find_database_url(None).get_secret_value()).conninfo()
    limit = f"-c statement_timeout={_TIMEOUT_S}s"
    with psycopg.connect(address, connect_timeout=_TIMEOUT_S, options=limit, autocommit=True) as connection:
        return sorted(row[0] for row in connection.execute(query, {"table": table}))
