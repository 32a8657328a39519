"""Checks of a database URL, with hints for what libpq does not know: schemes and options of other tools."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, urlsplit

_URI = re.compile(r"postgres(ql)?://", re.IGNORECASE)
# Of SQLAlchemy, which names one after the scheme.
_DRIVER = re.compile(
    r"(postgres|postgresql)\+(asyncpg|pg8000|psycopg|psycopg2|psycopg2cffi|psycopg_async)(?=://)", re.IGNORECASE
)
_PAIRS = re.compile(r"\s*[a-z_]+\s*=")
_POOLER = "sidecar finds a pooler out by itself; LISTEN_DATABASE_URL leads past it"
_POOL_SIZE = "DATABASE_POOL_SIZE says how many connections sidecar may use"
_NO_SUCH = "sidecar's pool has no such setting"
_SCHEMA = "name tables as schema.table"
_TIMEOUT = "say connect_timeout=SECONDS"
_PREPARED = "behind a pooler sidecar prepares no statements by itself"
_SSL = "say sslmode=require, or sslmode=verify-full with sslrootcert=FILE"
_SOCKET = "say host=DIRECTORY, of the Unix socket"
_HINTS = {
    "charset": "sidecar speaks UTF-8",
    "connection_limit": _POOL_SIZE,
    "connecttimeout": _TIMEOUT,
    "currentschema": _SCHEMA,
    "encoding": "sidecar speaks UTF-8",
    "logintimeout": _TIMEOUT,
    "max_connections": _POOL_SIZE,
    "max_overflow": _NO_SUCH,
    "pgbouncer": _POOLER,
    "pool": _POOL_SIZE,
    "pool_recycle": _NO_SUCH,
    "pool_size": _POOL_SIZE,
    "pool_timeout": _NO_SUCH,
    "pool_max_conns": _POOL_SIZE,
    "prepared_statement_cache_size": _PREPARED,
    "prepared_statements": _PREPARED,
    "preparethreshold": _PREPARED,
    "schema": _SCHEMA,
    "search_path": _SCHEMA,
    "server_version": "sidecar asks the server",
    "serverversion": "sidecar asks the server",
    "socket": _SOCKET,
    "socket_timeout": _TIMEOUT,
    "sockettimeout": _TIMEOUT,
    "ssl": _SSL,
    "sslaccept": _SSL,
    "sslfactory": _SSL,
    "sslidentity": "say sslcert=FILE and sslkey=FILE",
    "statement_cache_size": _PREPARED,
    "unix_sock": _SOCKET,
    "uselibpqcompat": "sidecar reads sslmode as libpq does",
}
_UNKNOWN = "libpq knows no such option; a setting of the server goes into options=-c%20name%3Dvalue"


def without_driver(address: str) -> str:
    """`postgresql://…` for `postgresql+psycopg://…`, as SQLAlchemy writes addresses; others as they are."""
    return _DRIVER.sub(r"\1", address.lstrip(), count=1) if _DRIVER.match(address.lstrip()) else address


def check_database_url(address: str) -> None:
    """Raises ValueError with a hint for a URL that libpq would misread, or quote in an error with its password.

    libpq's `name=value` pairs pass unchecked. `address` is without SQLAlchemy's driver.
    """
    if _PAIRS.match(address):
        return
    if hint := next(_scheme_hints(address.strip().lower()), None):
        raise ValueError(hint)
    if re.search(r"\s", address):  # libpq refuses it too, and quotes a part of the password
        raise ValueError("no blanks: %20")
    parts = urlsplit(address)
    ports = [host.rpartition("]")[2].partition(":")[2] for host in parts.netloc.rpartition("@")[2].split(",")]
    if parts.scheme not in {"postgresql", "postgres"} or parts.fragment:
        raise ValueError("write postgresql://" if not parts.fragment else "# in the URL is %23")
    if parts.netloc.count("@") > 1:  # libpq takes the rest for a host, and names it
        raise ValueError("@ in a password is %40")
    if not all(port == "" or port.isdecimal() for port in ports):
        raise ValueError("the port is not a number")


def drop_foreign_options(address: str, known: Iterable[str]) -> tuple[str, list[str]]:
    """The address without the options that are not in `known`, and a line about each of these."""
    if not _URI.match(address):
        return address, []
    start = _end_of_authority(address)
    head, mark, query = address[start:].partition("?")
    if not mark:
        return address, []
    kept, lines = [], []
    for pair in filter(None, query.split("&")):
        name = pair.partition("=")[0]
        if unquote(name) in known or pair == "ssl=true":  # the one spelling that libpq knows
            kept.append(pair)
        else:
            lines.append(f"{unquote(name)!r} is left out: {_HINTS.get(unquote(name).lower(), _UNKNOWN)}")
    return address[:start] + head + ("?" + "&".join(kept) if kept else ""), lines


def _scheme_hints(address: str) -> Iterator[str]:
    """What to write instead of another tool's scheme: `jdbc:` and the like."""
    if found := re.match(r"(postgres|postgresql)\+(\w+):", address):
        yield f"write postgresql:, without +{found[2]}"
    if address.startswith("jdbc:"):
        yield "write postgresql://user:password@host:5432/database, without jdbc:"
    if re.match(r"(postgis|psql|pgsql|pg|prisma|prisma\+postgres|cockroachdb|ecto)://", address):
        yield "write postgresql://"


def _end_of_authority(address: str) -> int:
    """Where the search for `?` begins: libpq allows one in a password."""
    start = address.index("://") + 3
    at, slash = address.find("@", start), address.find("/", start)
    return at if at != -1 and (slash == -1 or at < slash) else start
