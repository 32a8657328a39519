"""A user's session: statements, their results, and the errors they raise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
import pytest

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Row: TypeAlias = tuple[Any, ...]


def run(connection: Connection, query: str, *parameters: Any) -> list[Row]:
    """The rows of one statement with parameters `%s`. Without parameters: several statements, and % is literal."""
    cursor = connection.execute(query.encode(), parameters or None)
    return cursor.fetchall() if cursor.description else []


def value(connection: Connection, query: str, *parameters: Any) -> Any:
    """The first column of the single row."""
    [(first, *_)] = run(connection, query, *parameters)
    return first


@contextmanager
def refused(connection: Connection, sqlstate: str, message: str, hint: str) -> Iterator[None]:
    """Requires the block's statement to fail with this SQLSTATE, message and hint (patterns); rolls it back."""
    with pytest.raises(psycopg.Error) as caught, connection.transaction():
        yield
    diagnostic = caught.value.diag
    said = (diagnostic.sqlstate, diagnostic.message_primary, diagnostic.message_hint)
    assert diagnostic.sqlstate == sqlstate, said
    assert re.search(message, diagnostic.message_primary or ""), said
    assert re.search(hint, diagnostic.message_hint or ""), said


@contextmanager
def warnings_of(connection: Connection) -> Iterator[list[str]]:
    """Collects the warnings of the block's statements: message, line break, hint."""
    heard: list[str] = []

    def hear(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            heard.append(f"{diagnostic.message_primary}\n{diagnostic.message_hint or ''}")

    connection.add_notice_handler(hear)
    try:
        yield heard
    finally:
        connection.remove_notice_handler(hear)


@contextmanager
def another_session(database_url: str, *, autocommit: bool = True) -> Iterator[Connection]:
    """A second session; an open transaction is rolled back at the end."""
    with psycopg.connect(database_url, autocommit=autocommit) as connection:
        yield connection
        if not connection.closed:
            connection.rollback()
