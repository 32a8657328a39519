"""The rights that a command needs, and the statement that grants them where they are missing."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from sidecar.postgres.statements import read_statements

_SQL = read_statements("sidecar.operations", "rights.sql")


class Right(StrEnum):
    """What a command needs: to read status and failures, to work on queues, or to change watches and schema."""

    READER = "reader"
    WORKER = "worker"
    INSTALLER = "installer"


def grant_hint(connection: psycopg.Connection[Any], right: Right, table: str | None = None) -> str | None:
    """Who has to run which statement, so that this role may run a command that needs `right` on `table`."""
    owners = _rows(connection, "schema_owners")
    if not owners or owners[0]["schema"] != "sidecar":
        return None
    tables = _rows(connection, "table_owners", table) if table is not None else []
    if right is Right.INSTALLER:
        return _membership_hint(connection, owners, tables)
    owner = owners[0]
    role, name = owner["quoted_role"], owner["role"].replace("'", "''")
    statements = []
    if not owner["is_member"]:
        quoted = '"' + name.replace('"', '""') + '"' if role.startswith('"') else name
        statements.append(f"select sidecar.grant_{right}('{quoted}');")
    if right is Right.READER:
        statements += [
            f"grant usage on schema {each['schema']} to {role}; grant select on {each['name']} to {role};"
            for each in tables
        ]
    return _ask_owners((owner, *tables), statements)


def _membership_hint(
    connection: psycopg.Connection[Any], owners: list[dict[str, Any]], tables: list[dict[str, Any]]
) -> str | None:
    """Makes the role a member of the owner of both schemas, and of the owners of the tables."""
    owner = owners[0]
    if any(other["owner"] != owner["owner"] for other in owners):
        statement = f"alter schema sidecar_internal owner to {owner['owner']};"
        return f"Both schemas of the sidecar need the same owner. Let a superuser run: {statement}"
    missing = [o for o in (owner, *tables) if not o["is_member"]]
    if any(o["is_superuser"] for o in missing):
        return f"Connect as the owner: export DATABASE_URL={_url_of(connection, missing)}"
    roles = ", ".join(dict.fromkeys(o["owner"] for o in missing))
    return _ask_owners((owner, *tables), [f"grant {roles} to {owner['quoted_role']};"] if roles else [])


def _url_of(connection: psycopg.Connection[Any], owners: list[dict[str, Any]]) -> str:
    """The database's address as the first superuser among `owners`, quoted for the shell."""
    superuser = next(o["owner_name"] for o in owners if o["is_superuser"])
    info = connection.info
    host = f"[{info.host}]" if ":" in info.host else quote(info.host, safe="")
    return f"'postgresql://{quote(superuser, safe='')}:PASSWORD@{host}:{info.port}/{quote(info.dbname, safe='')}'"


def _ask_owners(owners: Iterable[dict[str, Any]], statements: list[str]) -> str | None:
    if not statements:
        return None
    who = dict.fromkeys(o["owner"] for o in owners)
    return f"Let {' or '.join(who)}, or a superuser, run: {' '.join(statements)}"


def usage_hint(connection: psycopg.Connection[Any], schema: str) -> str | None:
    """Who has to let this role use a schema; None for those of the sidecar, which `grant_hint` grants."""
    for found in _rows(connection, "namespace", schema):
        return _ask_owners([found], [f"grant usage on schema {found['schema']} to {found['role']};"])
    return None


def migration_hint(connection: psycopg.Connection[Any]) -> str | None:
    """Who has to run which statement, so that this role may migrate."""
    if (hint := grant_hint(connection, Right.INSTALLER)) is not None:
        return hint
    [database] = _rows(connection, "database")
    if not database["may_create"]:
        statement = f"grant create on database {database['name']} to {database['role']};"
        return f"Let the owner of the database, or a superuser, run: {statement}"
    return None


def _rows(connection: psycopg.Connection[Any], name: str, table: str | None = None) -> list[dict[str, Any]]:
    statement = _SQL[name].replace("$1", sql.Literal(table).as_string(connection))
    with psycopg.ClientCursor(connection, row_factory=dict_row) as cursor:
        try:
            return cursor.execute(statement.encode()).fetchall()
        except psycopg.errors.InvalidParameterValue:  # no name of a table, which the command reports itself
            return []
