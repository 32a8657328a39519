"""Both drivers read an address alike: a sidecar accepts what libpq accepts."""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from psycopg.pq import Conninfo
from pydantic import SecretStr

from sidecar.errors import ConfigurationError, DatabaseUnavailable
from sidecar.operations.session import connect_as_user
from sidecar.postgres.address import address_problems, read_address
from sidecar.postgres.database import Database, close_session, open_session
from tests.command_line import CommandLine
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import make_texts
from tests.integration.ingest.watched_table import user

WHERE = "select current_database() || ' ' || current_user || ' ' || (inet_server_port() is not null)"
# For each option a value that changes nothing, or that a server without TLS and GSS supports.
HARMLESS = {
    "application_name": "shop",
    "channel_binding": "prefer",
    "client_encoding": "UTF8",
    "connect_timeout": "5",
    "fallback_application_name": "shop",
    "gssdelegation": "0",
    "gssencmode": "disable",
    "gsslib": "gssapi",
    "keepalives": "1",
    "keepalives_count": "3",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "krbsrvname": "postgres",
    "load_balance_hosts": "random",
    "max_protocol_version": "3.0",
    "min_protocol_version": "3.0",
    "options": "-c geqo=off",
    "require_auth": "scram-sha-256",
    "requirepeer": "",
    "sslcertmode": "allow",
    "sslcompression": "1",
    "sslcrl": "/nowhere/root.crl",
    "sslcrldir": "/nowhere",
    "sslmode": "disable",
    "sslnegotiation": "postgres",
    "sslsni": "0",
    "ssl_max_protocol_version": "TLSv1.3",
    "ssl_min_protocol_version": "TLSv1.2",
    "target_session_attrs": "read-write",
    "tcp_user_timeout": "20000",
}
OTHERS = {"user", "password", "dbname", "host", "hostaddr", "port", "service", "passfile", "replication"}
SECRETS = {"sslcert", "sslkey", "sslpassword", "sslrootcert", "scram_client_key", "scram_server_key", "sslkeylogfile"}


async def seen_by_both(url: str) -> str:
    """The server and role that the address leads to, which are the same for pool, direct connection and commands."""
    with connect_as_user(SecretStr(url)) as connection:
        row = connection.execute(WHERE.encode()).fetchone()
    assert row is not None
    database = Database(SecretStr(url))
    await database.open()
    try:
        async with database.connection() as pooled:
            assert await pooled.fetchval(WHERE) == row[0]
    finally:
        await database.close()
    direct = await open_session(SecretStr(url))
    assert await direct.fetchval(WHERE) == row[0]
    await close_session(direct)
    return str(row[0])


def with_options(url: str, **options: str) -> str:
    return f"{url}?" + "&".join(f"{name}={quote(value)}" for name, value in options.items())


def as_pairs(url: str) -> str:
    parts = urlsplit(url)
    password = f"'{parts.password}'"
    return f"host={parts.hostname} port={parts.port} user={parts.username} password={password} dbname={parts.path[1:]}"


def without_password(url: str) -> tuple[str, str]:
    password = urlsplit(url).password
    assert password is not None
    return url.replace(f":{password}@", "@"), password


def test_every_option_of_libpq_is_covered() -> None:
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    assert {name for name in known if not name.startswith("oauth_")} == HARMLESS.keys() | OTHERS | SECRETS


@pytest.mark.parametrize("option", HARMLESS)
async def test_both_drivers_connect_to_the_same_server_with_each_option_of_libpq(
    database_url: str, option: str
) -> None:
    await seen_by_both(with_options(database_url, **{option: HARMLESS[option]}))


async def test_options_of_other_tools_are_dropped_and_logged(database_url: str) -> None:
    foreign = {"pgbouncer": "true", "schema": "public", "connection_limit": "5", "pool_timeout": "3", "nonsense": "1"}
    url = with_options(database_url, **foreign, sslmode="prefer")
    await seen_by_both(url)
    told = "\n".join(address_problems(SecretStr(url), SecretStr(url)))
    assert told.count("'pgbouncer' is left out: sidecar finds a pooler out by itself") == 1
    assert "'connection_limit' is left out: DATABASE_POOL_SIZE" in told
    assert "'nonsense' is left out: libpq knows no such option" in told
    assert "sslmode" not in told


async def test_unsupported_options_are_logged_once_when_ingest_starts(
    database_url: str, encoder: GatedEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    url = with_options(database_url, channel_binding="require", sslaccept="strict", connect_timeout="5")
    async with user(database_url) as db, running_ingest(url, encoder):
        table = await make_texts(db, 3)
        await table.settle_right(encoder)
    told = [r.message for r in caplog.records if "the database's address" in r.message]
    assert len(told) == 2
    assert "sslaccept" in told[0]
    assert "channel_binding=require is not honoured" in told[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("postgresql://", "postgres://"),
        lambda url: url.replace("127.0.0.1", "127.0.0.1:1,127.0.0.1"),
        lambda url: url.replace("/sidecar_test", "/?dbname=sidecar_test"),
        as_pairs,
        lambda url: with_options(url, hostaddr="127.0.0.1"),
        lambda url: with_options(url, sslmode="no-verify").replace("no-verify", "prefer"),
    ],
    ids=["postgres", "second host", "dbname", "name=value", "hostaddr", "sslmode"],
)
async def test_every_spelling_of_an_address_that_libpq_reads_is_accepted(
    database_url: str, change: Callable[[str], str]
) -> None:
    assert (await seen_by_both(change(database_url))).startswith(urlsplit(database_url).path[1:])


async def test_a_unix_socket_is_named_by_its_directory(database_url: str) -> None:
    async with user(database_url) as db:
        row = await (await db.execute("show unix_socket_directories")).fetchone()
    if row is None or not row[0]:
        pytest.skip("the server has no Unix socket: its path would be too long")
    parts = urlsplit(database_url)
    name = f"{parts.username}:{parts.password}"
    place = f"postgresql://{name}@{quote(row[0], safe='')}:{parts.port}{parts.path}"
    assert (await seen_by_both(place)).endswith("false")
    assert (await seen_by_both(f"postgresql://{name}@{parts.path}?host={row[0]}&port={parts.port}")).endswith("false")


@pytest.mark.parametrize("way", ["PGPASSFILE", "passfile", "PGPASSWORD", "home"])
async def test_the_password_may_come_from_environment_or_password_file(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    url, password = without_password(database_url)
    file = tmp_path / ".pgpass"
    port = urlsplit(url).port
    file.write_text(f"# ours\nelsewhere:*:*:*:wrong\n127.0.0.1:{port}:*:postgres:{password}\n*:*:*:*:wrong\n")
    file.chmod(0o600)
    if way == "PGPASSFILE":
        monkeypatch.setenv("PGPASSFILE", str(file))
    elif way == "passfile":
        url = with_options(url, passfile=str(file))
    elif way == "home":
        monkeypatch.setenv("HOME", str(tmp_path))
    else:
        monkeypatch.setenv("PGPASSWORD", password)
    await seen_by_both(url)


async def test_a_password_with_colons_and_backslashes_is_read_from_a_password_file(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passwords"
    file.write_text("*:*:*:ann\\:b:a\\:b\\\\c\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    name = urlsplit(database_url).path[1:]
    async with user(database_url) as db:
        await db.execute("create role \"ann:b\" login password 'a:b\\c'")
        try:
            parts = urlsplit(database_url)
            found = await seen_by_both(f"postgresql://ann%3Ab@{parts.hostname}:{parts.port}/{name}")
        finally:
            await db.execute('drop role "ann:b"')
    assert "ann:b" in found


async def test_a_service_file_supplies_the_other_options(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = urlsplit(database_url)
    file = tmp_path / "services"
    lines = (f"host={parts.hostname}", f"port={parts.port}", f"user={parts.username}", f"dbname={parts.path[1:]}")
    file.write_text("[other]\nhost=nowhere\n\n[shop]\n# ours\n" + "\n".join(lines) + f"\npassword={parts.password}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    await seen_by_both("postgresql:///?service=shop")
    await seen_by_both("service=shop")
    monkeypatch.setenv("PGSERVICE", "shop")
    await seen_by_both("postgresql://")


def test_an_invalid_address_is_rejected_at_once() -> None:
    for wrong in (
        "postgresql://ann:s3cret@db/shop?sslmode=strict",
        "postgresql://ann:s3cret@db/shop?connect_timeout=soon",
        "postgresql://ann:s3cret@one,two:1,three:2/shop?port=1,2",
        "postgresql://ann:s3cret@db:99999/shop",
        "postgresql://ann:s3cret@db/shop?target_session_attrs=master",
        "postgresql://db/shop?service=nowhere",
        "host=db colour=red",
    ):
        with pytest.raises(ConfigurationError) as caught:
            Database(SecretStr(wrong))
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        "postgresql://ann:my%s3cret@db/shop",
        'postgresql://ann:"%s3cret@db/shop',
        "postgresql://ann@db/shop?password=%s3cret",
        "postgresql://ann@db/shop?passfile=a%&password=x=s3cret",
        "host=db password=my s3cret",
        "host=db password=my s3cret=1",
        "host=db password='x' 's3cret'=1",
    ],
)
def test_an_unparsable_address_is_reported_without_the_password(wrong: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_address(wrong)
    assert "cannot be read" in str(caught.value)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "wrong",
    [
        "postgresql://ann@shop:s3cret@db:5432/shop",
        "postgresql://ann:s3cret/more@db:5432/shop",
        "postgresql://ann:my@s3cret@db:5432/shop",
        "postgresql://ann:my@s3cret@db,db2/shop",
    ],
)
def test_a_password_that_is_parsed_as_host_or_port_is_not_reported(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"%XX|%40") as caught:
        read_address(wrong)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_the_directory_of_a_socket_may_have_any_name() -> None:
    address = read_address("postgresql://ann@/shop?host=/cloud/shop@eu:west:db,@abstract")
    assert [host.name for host in address.hosts] == ["/cloud/shop@eu:west:db", "@abstract"]


@pytest.mark.parametrize("no_limit", ["0", "-1"])
async def test_a_connect_timeout_of_zero_means_no_limit(database_url: str, no_limit: str) -> None:
    await seen_by_both(with_options(database_url, connect_timeout=no_limit))


async def test_an_unknown_spelling_of_a_known_option_is_dropped(database_url: str) -> None:
    url = with_options(database_url, ssl="TRUE")
    await seen_by_both(url)
    assert address_problems(SecretStr(url)) == [
        "'ssl' is left out: say sslmode=require, or sslmode=verify-full with sslrootcert=FILE"
    ]


def test_an_option_unknown_to_libpq_is_named() -> None:
    with pytest.raises(ConfigurationError, match='"hots"'):
        read_address("hots=db password=s3cret")


async def test_tcp_keepalives_are_set(database_url: str) -> None:
    for url, idle_s in ((database_url, 5), (with_options(database_url, keepalives_idle="42"), 42)):
        connection = await open_session(SecretStr(url))
        ours = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == idle_s
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
        assert await connection.fetchval("show tcp_user_timeout") == "4000"
        assert await connection.fetchval("show tcp_keepalives_idle") == "2"
        await close_session(connection)
    assert "keepalives_idle=42" in read_address(with_options(database_url, keepalives_idle="42")).conninfo()


async def test_of_several_hosts_one_that_accepts_writes_is_chosen(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = database_url.replace("127.0.0.1", "127.0.0.1:1,127.0.0.1")
    async with user(database_url) as db:
        name = urlsplit(database_url).path[1:]
        await db.execute(f"alter database {name} set default_transaction_read_only = on".encode())
    database = Database(SecretStr(url))
    await database.open()
    try:
        with pytest.raises(DatabaseUnavailable):
            async with database.connection():
                pass
    finally:
        await database.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda url: with_options(url, pgbouncer="true", connect_timeout="5", options="-c geqo=off"),
        lambda url: url.replace("127.0.0.1", "127.0.0.1:1,127.0.0.1"),
        as_pairs,
    ],
    ids=["options", "hosts", "name=value"],
)
def test_migrations_read_the_address_the_same_way(
    plain_database_url: str, command_line: CommandLine, change: Callable[[str], str]
) -> None:
    assert "→" in command_line.succeed("migrate", "--database-url", change(plain_database_url))


def test_a_command_connects_by_environment_and_password_file_alone(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_line: CommandLine
) -> None:
    url, password = without_password(database_url)
    (tmp_path / "passwords").write_text(f"*:*:*:*:{password}\n")
    (tmp_path / "passwords").chmod(0o600)
    (tmp_path / "url").write_text(url + "\n")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "passwords"))
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))
    assert command_line.succeed("status", "--json") == "[]\n"
