"""What to type when the server refuses a connection or a statement: the text after HINT."""

from __future__ import annotations

import re
from collections.abc import Mapping

NOT_PERMITTED = "42501"
READ_ONLY = "25006"
READ_ONLY_HINT = (
    "Connect to the primary if this server is a standby; else `sidecar doctor` names the setting that makes "
    "transactions read-only, with the statement that resets it."
)
_WHERE = "in DATABASE_URL or --database-url"
# Message of libpq or the server → hint. The first that matches is taken; groups of the message go into the hint.
# An empty one is made by _pg_hba_hint.
_CONNECTION: Mapping[str, str] = {
    r'database "(.+?)" does not exist': (
        f"Correct the name of the database {_WHERE} (`psql -l` lists them), or create it: create database {{0}};"
    ),
    r'role "(.+?)" does not exist': f"Correct the user {_WHERE}, or create it: create role {{0}} login;",
    r'role "(.+?)" is not permitted to log in': "Let a superuser run: alter role {0} login;",
    r'permission denied for database "(.+?)"': (
        "Let the owner of the database run: grant connect on database {0} to {user};"
    ),
    r'password authentication failed for user "(.+?)"': (
        f"Correct user and password {_WHERE}, or set the password: alter role {{0}} password '...';"
    ),
    r"no password supplied": f"Add the password {_WHERE}: postgresql://user:password@host:5432/database",
    r"does not support SSL, but SSL was required": f"Change sslmode=require to sslmode=prefer {_WHERE}.",
    r'no pg_hba.conf entry for host "(.+?)", user "(.+?)", database "(.+?)"(?:, (no encryption|SSL off))?': "",
    r"certificate verify failed|root certificate file": (
        f"Name the file of the authority that signed the server's certificate, sslrootcert=FILE, {_WHERE}."
    ),
    r"could not translate host name|failed to resolve host|Name or service not known": f"Correct the host {_WHERE}.",
    r"Connection refused|No such file or directory": (
        f"Nothing listens there: start the server, or correct host and port {_WHERE}."
    ),
    r"timeout|timed out": f"Check host, port and firewall {_WHERE}: nothing answered.",
    r'too many connections for role "(.+?)"': (
        "Close idle sessions of the role, or let a superuser run: alter role {0} connection limit -1;"
    ),
    r'too many connections for database "(.+?)"': (
        "Close idle sessions, or let the owner of the database run: alter database {0} connection limit -1;"
    ),
    r"too many (?:clients|connections)|remaining connection slots": (
        "Close idle sessions, or raise the limit and restart the server: alter system set max_connections = 200;"
    ),
    r"starting up|shutting down|in recovery mode": "The server is starting or stopping: try again in a moment.",
}
# Names that stand for something else without quotes: the reserved words of SQL, of names of roles, and of pg_hba.conf.
_RESERVED = frozenset(
    """
    all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate
    collation column concurrently constraint create cross current_catalog current_date current_role current_schema
    current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch
    for foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral
    leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer
    overlaps placing primary references returning right select session_user similar some symmetric system_user
    table tablesample then to trailing true union unique user using variadic verbose when where window with public
    none replication sameuser samerole samegroup
    """.split()  # noqa: SIM905 - a list of a hundred strings would be a hundred lines
)
_FIRST_CHECK = f"Check host, port, user, password and the name of the database {_WHERE}."


def connection_hint(message: str, user: str = "") -> str:
    """What to do about a connection that failed with this message."""
    return find_connection_hint(message, user) or _FIRST_CHECK


def find_connection_hint(message: str, user: str = "") -> str | None:
    """The same; None for a message that is not known."""
    for pattern, hint in _CONNECTION.items():
        if found := re.search(pattern, message):
            if not hint:
                return _pg_hba_hint(*found.groups())
            return hint.format(*map(_quote, found.groups()), user=_quote(user))
    return None


def _pg_hba_hint(host: str, user: str, database: str, unencrypted: str | None) -> str:
    """The line of pg_hba.conf that admits the client, unless encryption may be all that the server asks for."""
    address = "" if host == "[local]" else f" {host}/{128 if ':' in host else 32}"
    line = f"{'host' if address else 'local'} {_quote(database)} {_quote(user)}{address} scram-sha-256"
    admit = f"let the server's administrator add this line to pg_hba.conf, then run select pg_reload_conf(); {line}"
    if unencrypted and address:
        return f"If the server demands SSL, add ?sslmode=require {_WHERE}; otherwise {admit}"
    return admit[0].upper() + admit[1:]


def grant_worker_hint(user: str) -> str:
    """The statement that lets a role serve."""
    name = _quote(user).replace("'", "''")
    return f"Let the owner of schema `sidecar` run: select sidecar.grant_worker('{name}');"


def _quote(name: str) -> str:
    is_plain = re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in _RESERVED
    return name if is_plain else '"' + name.replace('"', '""') + '"'
