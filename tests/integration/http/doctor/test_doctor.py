"""`GET /doctor`: the findings of `sidecar doctor`, for keys with the scope `admin`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.requests import Request

from sidecar.errors import DatabaseUnavailable
from sidecar.http.doctor.endpoints import DoctorAnswer, DoctorEndpoint
from sidecar.operations.checkup import examine
from sidecar.operations.findings import Limits
from tests.encoders import HashEncoder
from tests.integration.http.errors import assert_error
from tests.integration.roles.cast import Stage
from tests.integration.search.shop import connect, make_products, searching
from tests.integration.sql.queue import fail
from tests.integration.sql.session import Connection, run, value
from tests.ports import find_free_port

KEYS = {"admin": "admin-key-0123456789", "search": "search-key-0123456789"}


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as connection:
        yield connection


@pytest.fixture
def encoder(db: Connection) -> HashEncoder:
    return make_products(db)


async def test_the_findings_are_those_of_the_command(database_url: str, encoder: HashEncoder, db: Connection) -> None:
    run(db, "alter table products disable trigger all")
    async with searching(database_url, encoder) as client:
        answer = (await client.get("/doctor")).json()
        url = SecretStr(database_url)
        expected = asdict(await asyncio.to_thread(examine, url, url, Limits()))
    assert answer["findings"] == expected["findings"]
    assert answer["not_checked"] == expected["not_checked"]
    assert set(answer["facts"]) == set(expected["facts"])
    assert any(finding["severity"] == "problem" and "products" in finding["subject"] for finding in answer["findings"])


async def test_only_a_key_with_the_scope_admin_reads_them(database_url: str, encoder: HashEncoder) -> None:
    keys = SecretStr(",".join(f"{scope}:{key}" for scope, key in KEYS.items()))
    async with searching(database_url, encoder, api_keys=keys) as client:
        assert_error(await client.get("/doctor"), 401, "missing_key", "")
        denied = await client.get("/doctor", headers={"Authorization": f"Bearer {KEYS['search']}"})
        assert_error(denied, 403, "forbidden_scope", "")
        allowed = await client.get("/doctor", headers={"Authorization": f"Bearer {KEYS['admin']}"})
    assert allowed.status_code == 200, allowed.text


async def test_a_key_of_some_tables_or_rows_does_not_read_what_is_about_all(
    database_url: str, encoder: HashEncoder, db: Connection, tmp_path: Path
) -> None:
    run(db, "create table others (id bigint primary key, photo bytea)")
    watch = int(value(db, "select sidecar.watch('others', 'photo', target => 'e', dimensions => 16)"))
    fail(db, watch, 7, "not_a_picture", "the secret of another table")
    bound = """
        [[keys]]
        key = "tables-key-0123456789"
        scopes = ["search", "admin"]
        tables = ["public.products"]

        [[keys]]
        key = "filter-key-0123456789"
        scopes = ["search", "admin"]
        filter = { tenant = 7 }

        [[keys]]
        key = "admin-key-0123456789"
        scopes = ["admin"]
    """
    file = tmp_path / "keys"
    file.write_text(bound)
    async with searching(database_url, encoder, api_keys_file=file) as client:
        for key in ("tables", "filter"):
            refused = await client.get("/doctor", headers={"Authorization": f"Bearer {key}-key-0123456789"})
            assert "secret" not in refused.text
            assert_error(refused, 403, "forbidden_table", "The key opens some tables or some rows")
        told = await client.get("/doctor", headers={"Authorization": "Bearer admin-key-0123456789"})
        assert "the secret of another table" in told.text


SHADOWS = """
create schema evil;
create table evil.audit (name text, what text);
grant usage on schema evil to public;
grant insert on evil.audit to public;
create function evil.note(what text) returns boolean language plpgsql as
    $$ begin insert into evil.audit values (current_user, what); return true; end $$;
create function evil.pg_has_role(text, text) returns boolean language sql as $$ select evil.note('pg_has_role') $$;
create function evil.current_setting(text) returns text language sql as
    $$ select case when evil.note('current_setting') then '18' end $$;
create function evil.has_schema_privilege(oid, text) returns boolean language sql as
    $$ select evil.note('has_schema_privilege') $$;
create function evil.set_config(text, text, boolean) returns text language sql as
    $$ select case when evil.note('set_config') then 'on' end $$;
create function evil.pg_notify(text, text) returns void language sql as $$ select evil.note('pg_notify') $$;
create function evil.pg_backend_pid() returns integer language sql as
    $$ select case when evil.note('pg_backend_pid') then 1 end $$;
create function evil.to_regclass(text) returns regclass language sql as
    $$ select case when evil.note('to_regclass') then 'sidecar.status'::regclass end $$;
create function evil.inet_server_port() returns integer language sql as
    $$ select case when evil.note('inet_server_port') then 1 end $$;
"""


@pytest.mark.parametrize("path", ["public, evil", "evil, public, pg_catalog"])
async def test_no_function_of_a_schema_in_the_search_path_is_called(stage: Stage, path: str) -> None:
    with connect(stage.admin) as admin:
        run(admin, SHADOWS)
        run(admin, f'alter role "{stage.cast.worker}" set search_path = {path}')
        url = SecretStr(stage.worker)
        checkup = await asyncio.to_thread(examine, url, url, Limits())
        assert run(admin, "select name, what from evil.audit") == []
        assert checkup.facts["server"] == value(admin, "show server_version")


async def test_without_a_database_there_is_nothing_to_examine(encoder: HashEncoder) -> None:
    async with searching(None, encoder) as client:
        assert_error(await client.get("/doctor"), 404, "no_database", "There is nothing to examine")


async def test_a_database_that_is_down_is_a_503_without_the_password() -> None:
    url = f"postgresql://nobody:secret-password@127.0.0.1:{find_free_port()}/nothing"
    async with searching(url, HashEncoder()) as client:
        answer = await client.get("/doctor")
        assert_error(answer, 503, "database_unavailable", "The service does not reach its database")
        assert "secret-password" not in answer.text
        assert (await client.get("/doctor")).status_code == 503


async def test_callers_at_the_same_time_share_one_examination() -> None:
    begun, may_end = 0, asyncio.Event()

    async def count() -> DoctorAnswer:
        nonlocal begun
        begun += 1
        await may_end.wait()
        return DoctorAnswer(findings=[], not_checked=[], facts={"server": "18"})

    (operation,) = DoctorEndpoint(count).operations()
    request = Request({"type": "http"})
    asked = [asyncio.ensure_future(operation.endpoint(request)) for _ in range(3)]
    await asyncio.sleep(0)
    may_end.set()
    bodies = {bytes((await response).body) for response in asked}
    assert (begun, bodies) == (1, {b'{"findings":[],"not_checked":[],"facts":{"server":"18"}}'})


async def test_callers_at_the_same_time_share_a_failure_and_the_next_one_tries_again() -> None:
    begun, may_end = 0, asyncio.Event()

    async def fail() -> DoctorAnswer:
        nonlocal begun
        begun += 1
        await may_end.wait()
        raise DatabaseUnavailable("no answer")

    (operation,) = DoctorEndpoint(fail).operations()
    request = Request({"type": "http"})
    asked = [asyncio.ensure_future(operation.endpoint(request)) for _ in range(3)]
    await asyncio.sleep(0)
    may_end.set()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert (begun, [type(each) for each in outcomes]) == (1, [DatabaseUnavailable] * 3)
    with pytest.raises(DatabaseUnavailable):
        await operation.endpoint(request)
    assert begun == 2


async def test_a_caller_that_leaves_does_not_have_the_examination_begin_again() -> None:
    begun, may_end = 0, asyncio.Event()

    async def count() -> DoctorAnswer:
        nonlocal begun
        begun += 1
        await may_end.wait()
        return DoctorAnswer(findings=[], not_checked=[], facts={})

    (operation,) = DoctorEndpoint(count).operations()
    request = Request({"type": "http"})
    leaves, stays = (asyncio.ensure_future(operation.endpoint(request)) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.wait([leaves])
    may_end.set()
    assert (await stays).status_code == 200
    assert begun == 1
