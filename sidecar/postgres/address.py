"""Parses a database's address as libpq does, for both drivers.

psycopg is libpq, asyncpg is not: given the same URL it knows fewer options, sends unknown ones to the server as
settings, and reads .pgpass differently. So libpq's parser reads the address, and the result is passed to asyncpg as
arguments. Options that asyncpg cannot honour are logged once, when the process starts.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo
from pydantic import SecretStr

from sidecar.config import service_files
from sidecar.database_url import drop_foreign_options, without_driver
from sidecar.errors import ConfigurationError
from sidecar.postgres.libpq_files import find_password, read_service
from sidecar.redaction import redact

CONNECT_TIMEOUT_S = 10
# Unless the address says otherwise, the client notices after about 10 s that its peer is gone.
_KEEPALIVE = {"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3", "tcp_user_timeout": "10000"}
_SSL_OPTIONS = (
    *("sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslnegotiation"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version"),
)
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SESSION_ATTRS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
_NUMBERS = ("connect_timeout", "keepalives", "tcp_user_timeout", *_KEEPALIVE)
# Option → the value that asyncpg cannot honour; None: any value but the default.
_UNSUPPORTED = {
    "channel_binding": "require",
    "gssencmode": "require",
    "gssdelegation": "1",
    "replication": None,
    "require_auth": None,
    "requirepeer": None,
    "sslcertmode": "require",
    "sslcrldir": None,
    "sslsni": "0",
    "application_name": None,
}
# Greedy, to the last quote: a password may contain one.
_QUOTED = re.compile(r'"(.*)"', re.DOTALL)
_NAME_OF_PAIR = re.compile(r"(\w+)\s*=")
# Errors after which the next host is tried. As with libpq, a wrong password is not among them.
_TRY_NEXT_HOST = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.TargetServerAttributeNotMatched,
)


@dataclass(frozen=True, slots=True)
class Host:
    """A host to connect to. `name`: a name, an address, or the directory of a Unix socket; None: the local default."""

    name: str | None
    port: int


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address. `given` are the options as written; `options` add those of service, environment and libpq.

    `notes` tell the user which options were dropped, one line each.
    """

    given: Mapping[str, str]
    options: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def hosts(self) -> list[Host]:
        """The hosts in the order in which they are tried."""
        names = self.options.get("hostaddr") or self.options.get("host") or ""
        split = [name or None for name in names.split(",")]
        ports = [int(port or 5432) for port in (self.options.get("port") or "5432").split(",")]
        hosts = [
            Host(name, port) for name, port in zip(split, ports * len(split) if len(ports) == 1 else ports, strict=True)
        ]
        if self.options.get("load_balance_hosts") == "random":
            random.shuffle(hosts)
        return hosts

    @property
    def connect_timeout_s(self) -> float:
        """The time limit for connecting to one host."""
        wanted = float(self.options.get("connect_timeout") or 0)
        return wanted if wanted > 0 else CONNECT_TIMEOUT_S

    def conninfo(self, **defaults: str) -> str:
        """The connection string for libpq, which looks up missing options itself. `defaults` yield to the address."""
        more = {"connect_timeout": str(CONNECT_TIMEOUT_S), **_KEEPALIVE, **defaults}
        if len(self.hosts) > 1:
            more["target_session_attrs"] = "read-write"
        added = {name: value for name, value in more.items() if self.options.get(name) in {None, "", "any"}}
        return make_conninfo("", **{**added, **self.given})

    def arguments(self, host: Host, settings: Mapping[str, str]) -> dict[str, Any]:
        """The arguments for asyncpg.connect. `settings` of the session cannot be changed by the address."""
        options = self.options
        server_settings = {**({"options": options["options"]} if options.get("options") else {}), **settings}
        wanted = options.get("target_session_attrs") or "any"
        return {
            "dsn": "postgresql:///?" + urlencode({o: options[o] for o in _SSL_OPTIONS if options.get(o)}),
            "host": host.name,
            "port": host.port,
            "user": options.get("user"),
            "database": options.get("dbname") or options.get("user"),
            "password": options.get("password") or self._password_for(host),
            "passfile": Path("/dev/null/none"),  # already read
            "timeout": self.connect_timeout_s,
            "target_session_attrs": "read-write" if wanted == "any" and len(self.hosts) > 1 else wanted,
            "server_settings": server_settings,
            **({"krbsrvname": options["krbsrvname"]} if options.get("krbsrvname") else {}),
            **({"ssl": _system_certificates()} if options.get("sslrootcert") == "system" else {}),
        }

    def _password_for(self, host: Host) -> str | None:
        file = self.options.get("passfile") or str(Path.home() / ".pgpass")
        user = self.options.get("user") or ""
        try:
            return find_password(Path(file), host.name or "", host.port, self.options.get("dbname") or user, user)
        except PermissionError:
            return None

    def problems(self) -> Iterator[str]:
        """Lines about options of the address that asyncpg cannot honour, after `notes`."""
        yield from self.notes
        defaults = {option.keyword.decode(): option.compiled for option in Conninfo.get_defaults()}
        for name, refused in _UNSUPPORTED.items():
            value, default = self.options.get(name), defaults.get(name)
            if not value or (refused is not None and value != refused) or value == (default or b"").decode():
                continue
            why = (
                "its sessions are all called sidecar"
                if name == "application_name"
                else "sidecar's driver cannot do that"
            )
            yield f"{name}={value} is not honoured: {why}"
        if self.options.get("hostaddr") and self.options.get("sslmode") == "verify-full":
            yield "hostaddr is compared with the certificate in place of host: sidecar's driver knows one name only"
        if self.options.get("target_session_attrs") in {"standby", "read-only", "prefer-standby"}:
            yield f"target_session_attrs={self.options['target_session_attrs']}: a standby refuses what sidecar writes"
        if not self.options.get("password") and (file := self.options.get("passfile")):
            try:
                find_password(Path(file), "", 0, "", "")
            except PermissionError as error:
                yield str(error)


def read_address(address: str) -> Address:
    """Parses an address. Raises ConfigurationError with a line that says what is wrong, without the password."""
    known = {option.keyword.decode(): option.val for option in Conninfo.get_defaults()}
    ours, notes = drop_foreign_options(without_driver(address), known)
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(ours).items() if value is not None}
    except psycopg.Error as error:
        # Not `from error`: a traceback would show libpq's message, which may quote the password.
        raise ConfigurationError([f"the database's address cannot be read: {_without_values(error, ours)}"]) from None
    if given.get("sslmode") == "no-verify":
        given["sslmode"] = "require"
        notes.append("sslmode=no-verify is read as sslmode=require, which encrypts and checks no certificate")
    options = {name: value.decode() for name, value in known.items() if value is not None}
    options |= _service_options(given)
    options |= given
    _check_options(options)
    return Address(given, options, tuple(notes))


def _without_values(error: psycopg.Error, address: str) -> str:
    """libpq's message with quoted values masked, such as a password with a blank or a `%`; names of options stay."""
    names = {option.keyword.decode() for option in Conninfo.get_defaults()}
    if "://" not in address:
        names |= set(_NAME_OF_PAIR.findall(address.partition("password")[0]))
    words = redact(str(error)).strip().replace('"="', "'='")
    return _QUOTED.sub(lambda quoted: quoted[0] if quoted[1] in names else "***", words)


def address_problems(*urls: SecretStr | None) -> list[str]:
    """The lines to log once, when the process starts, without repetitions. Raises ConfigurationError."""
    found = [problem for url in urls if url is not None for problem in read_address(url.get_secret_value()).problems()]
    return list(dict.fromkeys(found))


def _service_options(given: Mapping[str, str]) -> Mapping[str, str]:
    service = given.get("service")
    if service is None:
        return {}  # libpq has put the options of PGSERVICE among the defaults
    found = read_service(service_files(), service)
    if found is None:
        raise ConfigurationError([f"the connection service {service!r} is in no service file"])
    return found


def _check_options(options: Mapping[str, str]) -> None:
    """Checks what libpq would only report when it connects, which the sidecar would then retry forever."""
    problems = [
        f"{name}={options[name]!r}: a whole number"
        for name in dict.fromkeys(_NUMBERS)
        if options.get(name) and not options[name].removeprefix("-").isdecimal()
    ]
    ports, hosts = (
        (options.get("port") or "").split(","),
        (options.get("hostaddr") or options.get("host") or "").split(","),
    )
    # After a special character of user or password that is not written as %XX, the rest looks like a port or a host.
    if not all(port == "" or port.isdecimal() for port in ports):
        problems.append("the port is not a number; special characters of user and password are written as %XX")
    elif not all(port == "" or 0 < int(port) < 65536 for port in ports):
        problems.append("port: 1 to 65535")
    if any("@" in host and host[0] not in "@/" for host in hosts):
        problems.append("there is an @ in the host; in user and password it is written as %40")
    if len(ports) not in {1, len(hosts)}:
        problems.append(f"{len(ports)} ports for {len(hosts)} hosts")
    for name, allowed in (("sslmode", _SSL_MODES), ("target_session_attrs", _SESSION_ATTRS)):
        if options.get(name) and options[name] not in allowed:
            problems.append(f"{name}={options[name]!r}: {', '.join(allowed)}")
    if problems:
        raise ConfigurationError([f"the database's address is wrong: {problem}" for problem in problems])


def _system_certificates() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ssl.HAS_ALPN:
        context.set_alpn_protocols(["postgresql"])
    return context


async def open_connection(
    url: SecretStr, settings: Mapping[str, str], **options: Any
) -> asyncpg.Connection[asyncpg.Record]:
    """Connects to the first host that answers; if there are several, to the first that accepts writes.

    `options` are passed to asyncpg.connect. Raises asyncpg's errors, and ConfigurationError.
    """
    address = read_address(url.get_secret_value())
    first_error: BaseException | None = None
    for host in address.hosts:
        try:
            connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
                **{**options, **address.arguments(host, settings)}
            )
        except _TRY_NEXT_HOST as error:
            first_error = first_error or error
        else:
            _set_keepalives(connection, address.options)
            return connection
    assert first_error is not None, "an address has a host"
    raise first_error


def _set_keepalives(connection: asyncpg.Connection[asyncpg.Record], options: Mapping[str, str]) -> None:
    """Sets TCP keepalives, which asyncpg leaves at the kernel's default: a lost peer is noticed after two hours."""
    transport: asyncio.Transport = connection._transport  # type: ignore[attr-defined] # noqa: SLF001 - no other way
    borrowed = transport.get_extra_info("socket")
    if borrowed is None or borrowed.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with socket.socket(fileno=socket.dup(borrowed.fileno())) as ours:  # uvloop's socket object has no setsockopt
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(options.get("keepalives") or 1) != 0)
        for option, name in (
            ("TCP_KEEPIDLE", "keepalives_idle"),
            ("TCP_KEEPINTVL", "keepalives_interval"),
            ("TCP_KEEPCNT", "keepalives_count"),
            ("TCP_USER_TIMEOUT", "tcp_user_timeout"),
        ):
            value = int(options.get(name) or _KEEPALIVE[name])
            if hasattr(socket, option) and value > 0:
                ours.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
