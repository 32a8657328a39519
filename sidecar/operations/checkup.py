"""Checks a database, and the connection to it, for faults: `sidecar doctor`.

The checks are in checks.sql. Each runs in a read-only transaction of its own, for a few seconds at most; a check that
takes longer, or that the role has no rights for, is reported as not checked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from sidecar.errors import StatementRejected
from sidecar.operations.findings import Checkup, Finding, Limits, NotChecked, Severity
from sidecar.operations.rights import Right, grant_hint
from sidecar.operations.session import CatalogCursor, Connection, connect_as_user, translate_psycopg_errors
from sidecar.operations.session_probe import find_session_faults, probe_sessions
from sidecar.postgres.remedies import NOT_PERMITTED
from sidecar.postgres.shipped import code_digest, head_revision
from sidecar.postgres.statements import read_statements
from sidecar.redaction import redact

STATEMENT_TIMEOUT_S = 3
_SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "note")
_WITHOUT_OUR_SCHEMA = {"pgvector", "prepared_transactions", "read_only"}
_SQL = read_statements("sidecar.operations", "checkup.sql")
_INSTALLATION = read_statements("sidecar.operations", "installation.sql")


def check_statements() -> Mapping[str, str]:
    """The statement of each check, by the name of the check."""
    return read_statements("sidecar.operations", "checks.sql")


def examine(url: SecretStr, listen_url: SecretStr, limits: Limits) -> Checkup:
    """Runs all checks, on connections of their own; findings come in the order of their severity.

    Blocks, and runs an event loop of its own. Raises DatabaseUnavailable, SchemaError, StatementRejected.
    """
    with connect_as_user(url) as connection, translate_psycopg_errors():
        connection.cursor_factory = CatalogCursor  # a user's function may fit better, and would have this role's rights
        check_rights(connection)
        checkup = check_database(connection, limits)
        asyncio.run(check_sessions(url, listen_url, checkup))
    checkup.findings.sort(key=lambda finding: _SEVERITIES.index(finding.severity))
    return checkup


def check_rights(connection: Connection) -> None:
    """Raises StatementRejected, with the grant as its hint, for a role that may look at nothing of schema `sidecar`."""
    row = connection.execute(_SQL["closed_schema"].encode()).fetchone()
    if row is not None:
        hint = grant_hint(connection, Right.READER)
        raise StatementRejected(f"role {row[0]} may not look at schema {row[1]}", NOT_PERMITTED, hint)


def check_database(connection: Connection, limits: Limits, clock: Callable[[], float] = time.time) -> Checkup:
    """Runs all checks that need one connection, in autocommit mode. Raises psycopg.Error if it is lost."""
    checkup = Checkup()
    server, version, schema = connection.execute(_SQL["server"].encode()).fetchall()[0]
    checkup.facts |= {"server": server, "pgvector": version, "pgvector_schema": schema}
    _check_clock(connection, limits, clock, checkup)
    is_current = _check_revision(connection, checkup)
    for name, statement in check_statements().items():
        if is_current or name in _WITHOUT_OUR_SCHEMA:
            _run_check(connection, name, statement, limits, checkup)
        else:
            checkup.not_checked.append(NotChecked(name, "the schema `sidecar` is missing or too old"))
    row = connection.execute(_SQL["sees_other_roles"].encode()).fetchone()
    if row is not None and not row[0]:
        hint = f"grant pg_read_all_stats to {connection.info.user}"
        checkup.not_checked.append(NotChecked("long_transactions", f"of other roles, which are hidden: {hint}"))
    return checkup


async def check_sessions(url: SecretStr, listen_url: SecretStr, checkup: Checkup) -> None:
    """Adds what sessions lose on the way to the server. A failure to connect is reported as not checked."""
    try:
        migrated = not any(finding.check == "migrations" for finding in checkup.findings)
        sessions = await probe_sessions(url, listen_url, as_sidecar=migrated)
    except (psycopg.Error, TimeoutError) as error:
        checkup.not_checked.append(NotChecked("listener", redact(str(error)).partition("\n")[0] or "no answer in time"))
        return
    checkup.facts["pooler"] = "transaction" if sessions.shares_backends else None
    checkup.facts["notified_ms"] = None if sessions.notified_ms is None else round(sessions.notified_ms, 2)
    checkup.findings += find_session_faults(sessions, url)


def _run_check(connection: Connection, name: str, statement: str, limits: Limits, checkup: Checkup) -> None:
    parameters = (Jsonb(asdict(limits)),) if "$1" in statement else ()
    try:
        with connection.transaction(), CatalogCursor(connection, row_factory=dict_row) as cursor:
            cursor.execute(_SQL["limit_check"].encode(), (f"{STATEMENT_TIMEOUT_S}s",))
            rows = cursor.execute(statement.encode(), parameters).fetchall()
            checkup.findings += [Finding(check=name, **row) for row in rows]
    except psycopg.errors.QueryCanceled:
        checkup.not_checked.append(NotChecked(name, f"it takes longer than {STATEMENT_TIMEOUT_S} s"))
    except psycopg.DatabaseError as error:
        if connection.closed:
            raise
        checkup.not_checked.append(NotChecked(name, error.diag.message_primary or str(error)))


def _check_revision(connection: Connection, checkup: Checkup) -> bool:
    """Checks the revision of the schema. Returns whether the checks that need the schema can run."""
    absent = "it is not there"
    try:
        row = connection.execute(_INSTALLATION["revision"].encode()).fetchone()
        has_tables = connection.execute(_INSTALLATION["has_tables"].encode()).fetchone() == (True,)
        if row is None and has_tables:
            absent = "its tables are there without their rows, as after a restore of the schema alone"
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        row, has_tables = None, False
    except psycopg.errors.InsufficientPrivilege as error:
        checkup.not_checked.append(NotChecked("migrations", error.diag.message_primary or str(error)))
        return True
    revision, head = "" if row is None else str(row[0]), head_revision()
    checkup.facts["schema_revision"] = revision or None
    if revision < head:
        what = f"it is at revision {revision}, this version needs {head}" if revision else absent
        why = "sidecars of this version wait until the schema is migrated"
        checkup.findings.append(_schema_finding("problem", what, why, "sidecar migrate"))
    elif not has_tables:
        what = "the tables of schema sidecar_internal are not there, as after a restore of one schema alone"
        why = "sidecars of this version wait until both schemas are there; migrate says how"
        checkup.findings.append(_schema_finding("problem", what, why, "sidecar migrate"))
        return False
    elif revision > head:
        what = f"it is at revision {revision}, this version knows {head}"
        why = "a newer sidecar migrated it; this one works, but misses what is new"
        checkup.findings.append(_schema_finding("warning", what, why, "pip install --upgrade sidecar-embeddings"))
    else:
        _check_code(connection, checkup)
    return revision >= head


def _check_code(connection: Connection, checkup: Checkup) -> None:
    """Checks that the functions and views are those of this package, once the tables are."""
    try:
        row = connection.execute(_INSTALLATION["recorded"].encode()).fetchone()
    except psycopg.errors.UndefinedFunction:
        row = None
    except psycopg.errors.InsufficientPrivilege as error:
        checkup.not_checked.append(NotChecked("code", error.diag.message_primary or str(error)))
        return
    if row is None or row[1] != code_digest():
        what = "its functions and views are not those of this version"
        why = "fixes of this version are missing in them, or a newer version replaced them"
        checkup.findings.append(Finding("code", "warning", "schema sidecar", what, why, "sidecar migrate", "shell"))


def _schema_finding(severity: Severity, what: str, why: str, remedy: str) -> Finding:
    return Finding("migrations", severity, "schema sidecar", what, why, remedy, "shell")


def _check_clock(connection: Connection, limits: Limits, clock: Callable[[], float], checkup: Checkup) -> None:
    asked = clock()
    row = connection.execute(_SQL["clock"].encode()).fetchone()
    answered = clock()
    assert row is not None
    skew_s = (asked + answered) / 2 - row[0]
    checkup.facts["clock_skew_ms"] = round(skew_s * 1000, 1)
    if abs(skew_s) - (answered - asked) / 2 > limits.clock_skew_s:
        checkup.findings.append(
            Finding(
                check="clock",
                severity="warning",
                subject="this machine",
                what=f"its clock is {abs(skew_s):.1f} s {'ahead of' if skew_s > 0 else 'behind'} the server's",
                why="times in its log do not match those of the database and of other machines",
                remedy="sudo chronyc makestep",
                run_in="shell",
            )
        )
