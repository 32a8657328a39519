"""The sidecar's sessions use its own settings, whatever role and database have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from sidecar.operations.operations import open_operations
from sidecar.operations.session import connect_as_user
from sidecar.postgres.database import Database, close_session, open_session
from sidecar.postgres.session_settings import COMMAND_SETTINGS, FORMATS, PLANNING, SESSION_SETTINGS
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, run, value, watch

# Unusual settings of a database, or of a role.
CONTRARY = {
    "array_nulls": "off",
    "bytea_output": "escape",
    "client_encoding": "LATIN1",
    "constraint_exclusion": "off",
    "DateStyle": "German, DMY",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
    **{name: "on" if wanted == "off" else "off" for name, wanted in PLANNING.items() if name.startswith("enable_")},
    "exit_on_error": "on",
    "extra_float_digits": "-3",
    "from_collapse_limit": "1",
    "geqo": "off",
    "geqo_threshold": "2",
    "hash_mem_multiplier": "1",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "5s",
    "IntervalStyle": "iso_8601",
    "jit": "on",
    "join_collapse_limit": "1",
    "lock_timeout": "1ms",
    "max_parallel_workers_per_gather": "4",
    "plan_cache_mode": "force_custom_plan",
    "quote_all_identifiers": "on",
    "row_security": "on",
    "search_path": "nowhere",
    "standard_conforming_strings": "off",
    "statement_timeout": "2s",
    "synchronous_commit": "on",
    "TimeZone": "Asia/Kathmandu",
    "transform_null_equals": "on",
    "work_mem": "64kB",
    "xmlbinary": "hex",
    "xmloption": "document",
}
OF_A_SUPERUSER = {"temp_file_limit": "0"}  # the sidecar's role may not change it
SHOW = "select jsonb_object_agg(n, current_setting(n, true))::text from unnest(array{}) n"


@pytest.fixture(params=["database", "role"])
def contrary_url(database_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database, or of a role in it, with unusual settings. The tests' own role keeps its settings."""
    with psycopg.connect(database_url, autocommit=True) as db:
        name, role = sql.Identifier(urlsplit(database_url).path[1:]), sql.Identifier(f"contrary_{id(request)}")
        db.execute(sql.SQL("create role {} login superuser password 'secret'").format(role))
        of = {"database": sql.SQL("database {}"), "role": sql.SQL("role {}")}[request.param].format(
            name if request.param == "database" else role
        )
        for setting, value in (CONTRARY | OF_A_SUPERUSER).items():
            db.execute(sql.SQL("alter {} set {} = {}").format(of, sql.Identifier(setting), sql.Literal(value)))
        # The tests' own sessions keep their settings.
        for setting in CONTRARY | OF_A_SUPERUSER:
            db.execute(
                sql.SQL("alter role postgres in database {} set {} from current").format(name, sql.Identifier(setting))
            )
        parts = urlsplit(database_url)
        yield f"postgresql://{role.as_string(db)[1:-1]}:secret@{parts.hostname}:{parts.port}{parts.path}"
        db.execute(sql.SQL("drop owned by {0} cascade").format(role))
        db.execute(sql.SQL("drop role {}").format(role))


async def test_pooled_and_direct_connections_have_all_our_settings(contrary_url: str) -> None:
    show = SHOW.format(list(CONTRARY))
    with psycopg.connect(contrary_url) as stranger:
        row = stranger.execute(show.encode()).fetchone()
    assert row is not None
    theirs = json.loads(row[0])
    database = Database(SecretStr(contrary_url))
    await database.open()
    try:
        async with database.connection() as connection:
            pooled = json.loads(await connection.fetchval(show))
    finally:
        await database.close()
    direct = await open_session(SecretStr(contrary_url))
    alone = json.loads(await direct.fetchval(show))
    await close_session(direct)
    assert {name for name in CONTRARY if pooled[name] == theirs[name]} == set()
    assert {name for name in alone if alone[name] != pooled[name]} == {"statement_timeout"}
    assert SESSION_SETTINGS.keys() - {"application_name", "sidecar.writer"} <= CONTRARY.keys()


async def test_wide_rows_are_read_and_scanned_without_temporary_files(
    contrary_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    await run(db, "create table items (id integer primary key, title text)")
    await run(db, "insert into items select i, repeat(md5(i::text), 20000) from generate_series(1, 40) i")
    table = await watch(db, ["items"], ["title"])
    async with running_ingest(contrary_url, encoder):
        await table.settle_right(encoder)
        await run(db, "select sidecar_internal.start_scan(%s, 'sweep'), sidecar.verify('items')", table.watch_id)
        await table.settle_right(encoder)
        assert await table.failures() == {}
        assert await value(db, "select temp_files from pg_stat_database where datname = current_database()") == 0


def test_a_command_has_our_value_formats_and_its_users_search_path(contrary_url: str) -> None:
    show = SHOW.format([*COMMAND_SETTINGS, "search_path"])
    with connect_as_user(SecretStr(contrary_url)) as connection:
        for _ in range(2):
            row = connection.execute(show.encode()).fetchone()
            assert row is not None
            seen = json.loads(row[0])
            assert {name: seen[name] for name in FORMATS} == dict(FORMATS)
            assert seen["idle_in_transaction_session_timeout"] == "2s"
            assert seen["search_path"] == "nowhere"


@in_row_and_companion
async def test_keys_are_found_again_with_any_settings_of_role_and_database(
    contrary_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    await run(
        db,
        "create table items (id float8, born date, at timestamptz, span interval, body bytea, title text, "
        "primary key (id, born, at, span, body))",
    )
    key = ("id", "born", "at", "span", "body")
    table = await watch(db, ["items"], ["title"], key, companion=companion)
    await run(
        db,
        "insert into items select 0.1 + i / 3.0, date '2026-01-02' + i, now() + i * interval '1.000001 s', "
        "i * interval '1 day 1 microsecond', decode('5c00ff' || lpad(to_hex(i), 2, '0'), 'hex'), 'title ' || i "
        "from generate_series(1, 28) i",
    )
    async with running_ingest(contrary_url, encoder):
        await table.settle_right(encoder)
        with open_operations(SecretStr(contrary_url), lambda _message, _hint: None) as operations:
            [status] = operations.status("public.items")
            assert (status.embedded, status.pending, status.failed) == (28, 0, 0)
        await run(db, "update items set title = title || '!'")
        await table.settle_right(encoder)
