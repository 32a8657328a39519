"""Probes the sessions between here and the server: whether they lead through a pooler in transaction mode.

A pooler is recognised by its behaviour: two sessions share a backend.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode
from uuid import uuid4

import psycopg
from pydantic import SecretStr

from sidecar.errors import DatabaseError
from sidecar.operations.findings import Finding, Severity
from sidecar.postgres.address import read_address
from sidecar.postgres.database import Database
from sidecar.postgres.statements import read_statements

CONNECT_TIMEOUT_S = 5
NOTIFY_TIMEOUT_S = 2.0
_SQL = read_statements("sidecar.operations", "session_probe.sql")
_ATTEMPTS = 3  # other clients of the pool may take the backend in between

Session: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of a probe. `shares_backends`: a pooler in transaction mode. `refusal`: why a sidecar cannot connect.

    `notified_ms`: from NOTIFY to its arrival, None if it did not arrive. `server`: host and port behind the pooler, as
    far as known.
    """

    shares_backends: bool
    refusal: str | None
    notified_ms: float | None
    server: tuple[str | None, int | None]


async def probe_sessions(url: SecretStr, listen_url: SecretStr, *, as_sidecar: bool) -> ProbeResult:
    """Opens sessions and compares them. `as_sidecar`: connects like a sidecar, too, which needs a migrated database.

    Raises psycopg.Error or TimeoutError if there is no connection, or none that answers.
    """
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(await _open(url)) for _ in range(2)]
        listening = await stack.enter_async_context(await _open(listen_url))
        shares_backends = await _share_backend(one, two)
        host, port = await _value(one, "server_address")
        return ProbeResult(
            shares_backends=shares_backends,
            refusal=await _try_as_sidecar(url) if as_sidecar else None,
            notified_ms=await _time_notification(listening, one),
            server=(host, None if port is None else int(port)),
        )


async def _open(url: SecretStr) -> Session:
    return await psycopg.AsyncConnection.connect(
        read_address(url.get_secret_value()).conninfo(connect_timeout=str(CONNECT_TIMEOUT_S)),
        autocommit=True,
        client_encoding="utf8",
        prepare_threshold=None,
        application_name="sidecar-doctor",
    )


async def _share_backend(one: Session, two: Session) -> bool:
    """Whether two sessions have had the same backend, or one session two."""
    backends = {one: set[int](), two: set[int]()}
    for _ in range(_ATTEMPTS):
        for session, seen in backends.items():
            seen.add(await _value(session, "backend"))
    return backends[one] & backends[two] != set() or any(len(seen) > 1 for seen in backends.values())


async def _try_as_sidecar(url: SecretStr) -> str | None:
    """The error when connecting like a sidecar; None: it works."""
    database = Database(url, max_connections=1)
    try:
        await database.open()
        async with asyncio.timeout(CONNECT_TIMEOUT_S), database.connection() as connection:
            await connection.fetchval("select 1")
    except (DatabaseError, TimeoutError) as error:
        return str(error) or "no answer in time"
    finally:
        await database.close()
    return None


async def _time_notification(listening: Session, notifying: Session) -> float | None:
    channel = f"sidecar_doctor_{uuid4().hex}"
    await listening.execute(f"listen {channel}".encode())
    began = time.perf_counter()
    await notifying.execute(_SQL["notify"].encode(), (channel,))
    async for _ in listening.notifies(timeout=NOTIFY_TIMEOUT_S, stop_after=1):
        return (time.perf_counter() - began) * 1000
    return None


async def _value(session: Session, name: str) -> Any:
    """The one value that the statement `name` returns."""
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        row = await (await session.execute(_SQL[name].encode())).fetchone()
    assert row is not None
    return row[0]


def find_session_faults(sessions: ProbeResult, url: SecretStr) -> list[Finding]:
    """The faults that a probe shows. `url` is the address that sidecars use."""
    pooler = "a pooler in transaction mode" if sessions.shares_backends else "something between here and the server"
    direct = _direct_url(url, sessions.server)
    found = []
    if sessions.refusal is not None:
        found.append(
            _finding(
                "connection",
                "problem",
                f"a sidecar cannot connect: {sessions.refusal}",
                "nothing is embedded",
                f"export DATABASE_URL='{direct}'",
            )
        )
    if sessions.notified_ms is None:
        found.append(
            _finding(
                "listener",
                "warning",
                f"no notification arrives: {pooler} loses LISTEN",
                "changes are found by polling only, and no index is built",
                f"export LISTEN_DATABASE_URL='{direct}'",
            )
        )
    return found


def _finding(check: str, severity: Severity, what: str, why: str, remedy: str) -> Finding:
    return Finding(check, severity, "the way to the server", what, why, remedy, "shell")


def _direct_url(url: SecretStr, server: tuple[str | None, int | None]) -> str:
    """An address that leads past the pooler, as far as the server says where it listens; without the password."""
    given = read_address(url.get_secret_value()).given
    user = f"{quote(given['user'], safe='')}{':PASSWORD' if 'password' in given else ''}@" if "user" in given else ""
    host, port = server
    address = f"[{host}]" if host and ":" in host else host or "HOST"
    rest = urlencode(
        {n: v for n, v in given.items() if n not in {"user", "password", "host", "hostaddr", "port", "dbname"}}
    )
    return f"postgresql://{user}{address}:{port or 5432}/{quote(given.get('dbname', ''))}" + (
        f"?{rest}" if rest else ""
    )
