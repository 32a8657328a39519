"""How sessions behave between here and the server: whether a pooler lends them out by the transaction.

Found by behaviour, not by name: a second session that gets the first one's backend proves it.
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
PATIENCE_S = 2.0
_SQL = read_statements("sidecar.operations", "session_probe.sql")
_TRIES = 3  # other clients of the pool may take the backend in between

Session: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Sessions:
    """`shares_backends`: a pooler in transaction mode. `refusal`: why a sidecar cannot connect as it does.

    `notified_ms`: LISTEN to NOTIFY, None if nothing came. `server`: host and port behind the pooler, as far as known.
    """

    shares_backends: bool
    refusal: str | None
    notified_ms: float | None
    server: tuple[str | None, int | None]


async def probe_sessions(url: SecretStr, listen_url: SecretStr, *, as_sidecar: bool) -> Sessions:
    """`as_sidecar`: connect as sidecars do, too, which needs a migrated database.

    Raises psycopg.Error, TimeoutError: no connection, or none that answers."""
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(await _open(url)) for _ in range(2)]
        listening = await stack.enter_async_context(await _open(listen_url))
        shares_backends = await _share_a_backend(one, two)
        host, port = await _value(one, "server_address")
        return Sessions(
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


async def _share_a_backend(one: Session, two: Session) -> bool:
    """Two sessions with one backend, or one session with two."""
    backends = {one: set[int](), two: set[int]()}
    for _ in range(_TRIES):
        for session, seen in backends.items():
            seen.add(await _value(session, "backend"))
    return backends[one] & backends[two] != set() or any(len(seen) > 1 for seen in backends.values())


async def _try_as_sidecar(url: SecretStr) -> str | None:
    """Why a sidecar's own way to connect fails; None: it works."""
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


async def _time_notification(listening: Session, speaking: Session) -> float | None:
    channel = f"sidecar_doctor_{uuid4().hex}"
    await listening.execute(f"listen {channel}".encode())
    began = time.perf_counter()
    await speaking.execute(_SQL["notify"].encode(), (channel,))
    async for _ in listening.notifies(timeout=PATIENCE_S, stop_after=1):
        return (time.perf_counter() - began) * 1000
    return None


async def _value(session: Session, name: str) -> Any:
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        row = await (await session.execute(_SQL[name].encode())).fetchone()
    assert row is not None
    return row[0]


def find_session_faults(sessions: Sessions, url: SecretStr) -> list[Finding]:
    """`url` is the one that sidecars work through."""
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
    """To where the server itself listens, as far as it says; a password is not repeated."""
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
