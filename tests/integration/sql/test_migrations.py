"""Upgrade, downgrade to base and upgrade again give the golden schema; watched tables refuse a downgrade."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from sidecar.errors import SchemaError, StatementRejected
from sidecar.operations.migrations import current_revision, head_revision, migrate, migrations_directory
from tests.integration.sql.session import Connection, run, value
from tests.schema_dump import GOLDEN, dump_schema
from tests.waiting import wait_until

MIGRATE = "import sys; from sidecar.operations.migrations import migrate; migrate(sys.argv[1])"


@pytest.fixture
def plain(plain_database_url: str) -> Iterator[Connection]:
    """A session in a database without the sidecar's schema."""
    with psycopg.connect(plain_database_url, autocommit=True) as connection:
        yield connection


def test_upgrade_gives_the_golden_schema_also_after_a_downgrade_to_base(plain_database_url: str) -> None:
    migrate(plain_database_url)
    assert current_revision(plain_database_url) == head_revision()
    first = dump_schema(plain_database_url)
    assert first == GOLDEN.read_text(encoding="utf-8"), "If the change is intended: make schema"

    migrate(plain_database_url, "base")
    assert current_revision(plain_database_url) is None
    assert dump_schema(plain_database_url).splitlines()[2:] == ["CREATE SCHEMA sidecar;"]

    migrate(plain_database_url)
    assert dump_schema(plain_database_url) == first


def test_running_the_code_files_twice_gives_the_same_schema(plain_database_url: str, plain: Connection) -> None:
    migrate(plain_database_url)
    first = dump_schema(plain_database_url)
    run(plain, "drop function sidecar.installation()")
    migrate(plain_database_url)
    assert dump_schema(plain_database_url) == first


def test_migrate_replaces_a_function_that_differs(plain_database_url: str, plain: Connection) -> None:
    migrate(plain_database_url)
    first = dump_schema(plain_database_url)
    run(
        plain,
        """
        create or replace function sidecar.pause(relation regclass default null, target text default null)
            returns integer language sql as 'select 7';
        create or replace function sidecar.installation(out revision text, out code_digest text)
            language sql immutable as $$ select '0017', 'another' $$;
        """,
    )
    migrate(plain_database_url)
    assert dump_schema(plain_database_url) == first


def test_a_downgrade_to_any_revision_but_base_is_refused(plain_database_url: str) -> None:
    migrate(plain_database_url)
    with pytest.raises(SchemaError, match="there is no way down to '0016', only to 'base'"):
        migrate(plain_database_url, "0016")
    assert current_revision(plain_database_url) == head_revision()


def test_a_schema_older_than_the_baseline_is_refused_with_a_remedy(plain_database_url: str, plain: Connection) -> None:
    migrate(plain_database_url)
    run(plain, "update sidecar.alembic_version set version_num = '0009'")
    with pytest.raises(SchemaError, match="at 0009; this version upgrades from 0016 on"):
        migrate(plain_database_url)


def test_migrate_changes_nothing_in_a_database_that_is_up_to_date(database_url: str, committed: Connection) -> None:
    before = run(
        committed,
        "select oid, proname, xmin::text from pg_proc where pronamespace in ('sidecar'::regnamespace, "
        "'sidecar_internal'::regnamespace)",
    )
    migrate(database_url)
    assert before == run(
        committed,
        "select oid, proname, xmin::text from pg_proc where pronamespace in ('sidecar'::regnamespace, "
        "'sidecar_internal'::regnamespace)",
    )


def test_two_concurrent_migrations_both_succeed(plain_database_url: str, plain: Connection) -> None:
    run(plain, "select pg_advisory_lock(hashtextextended('sidecar.migrate', 0))")  # so that both start at the same time
    both = [
        subprocess.Popen([sys.executable, "-c", MIGRATE, plain_database_url], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'advisory'"
    wait_until(lambda: value(plain, waiting) == 2, "both to wait for the lock", timeout_s=30)
    run(plain, "select pg_advisory_unlock_all()")
    for process in both:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert current_revision(plain_database_url) == head_revision()


def test_a_failed_migration_leaves_the_previous_revision_intact(plain_database_url: str, plain: Connection) -> None:
    migrate(plain_database_url, "0016")
    run(plain, "create view sidecar.failures as select 1 as other")
    before = dump_schema(plain_database_url)
    with pytest.raises(StatementRejected, match='cannot change name of view column "other"'):
        migrate(plain_database_url)
    assert (current_revision(plain_database_url), dump_schema(plain_database_url)) == ("0016", before)
    run(plain, "drop view sidecar.failures")
    migrate(plain_database_url)
    assert current_revision(plain_database_url) == head_revision()


def test_a_downgrade_is_refused_without_changes_while_a_table_is_watched(
    database_url: str, committed: Connection
) -> None:
    run(committed, "create table items (id int primary key, title text)")
    run(committed, "select sidecar.watch('items', 'title', dimensions => 3)")
    with pytest.raises(StatementRejected, match="there are active watches") as caught:
        migrate(database_url, "base")
    assert "select sidecar.unwatch(relation, target) from sidecar.status" in (caught.value.hint or "")
    assert current_revision(database_url) == head_revision()
    run(committed, "insert into items values (1, 'a')")
    assert value(committed, "select pending from sidecar.status") == 1


def test_the_hint_of_a_refused_downgrade_works_and_former_ledgers_are_dropped(
    database_url: str, committed: Connection
) -> None:
    run(committed, "create table items (id int primary key, title text)")
    run(committed, "select sidecar.watch('items', 'title', dimensions => 3)")
    run(committed, "select sidecar.watch('items', 'title', target => 'e', companion => 'vectors', dimensions => 3)")
    run(committed, "select sidecar.unwatch(relation, target) from sidecar.status")
    migrate(database_url, "base")
    assert run(
        committed, "select relname from pg_class where relnamespace = 'sidecar'::regnamespace and relkind = 'r'"
    ) == [("alembic_version",)]
    assert value(committed, "select count(*) from pg_proc where pronamespace = 'sidecar'::regnamespace") == 0
    assert value(committed, "select to_regnamespace('sidecar_internal')") is None
    run(committed, "insert into items values (1, 'a')")
    assert value(committed, "select to_regclass('vectors')::text") == "vectors"


def test_a_server_without_pgvector_is_an_error_that_says_how_to_install_it(
    plain_database_url: str, plain: Connection
) -> None:
    if plain.info.server_version < 180000:
        pytest.skip("only Postgres 18 can be told to look for extensions elsewhere")
    run(plain, f"alter database {plain.info.dbname} set extension_control_path = '/nowhere'")
    with pytest.raises(StatementRejected, match="pgvector is not installed on this server") as caught:
        migrate(plain_database_url)
    assert "apt-get install postgresql-18-pgvector" in (caught.value.hint or "")
    assert current_revision(plain_database_url) is None


def test_a_pgvector_that_is_too_old_is_an_error_that_says_how_to_update(
    plain_database_url: str, plain: Connection
) -> None:
    run(plain, "create extension vector")
    run(plain, "update pg_extension set extversion = '0.7.4' where extname = 'vector'")
    with pytest.raises(StatementRejected, match=r"pgvector 0\.7\.4 is too old") as caught:
        migrate(plain_database_url)
    assert "alter extension vector update" in (caught.value.hint or "")


def test_a_role_without_the_create_privilege_migrates_schemas_it_owns(
    plain_database_url: str, plain: Connection
) -> None:
    run(
        plain,
        """
        create role sidecar_installer login password 'pw';
        create extension vector;
        create schema sidecar authorization sidecar_installer;
        create schema sidecar_internal authorization sidecar_installer;
        """,
    )
    try:
        parts = urlsplit(plain_database_url)
        migrate(urlunsplit(parts._replace(netloc=f"sidecar_installer:pw@{parts.hostname}:{parts.port}")))
        assert value(
            plain, "select pg_get_userbyid(relowner) from pg_class where oid = 'sidecar_internal.watches'::regclass"
        ) == ("sidecar_installer")
    finally:
        run(plain, "drop owned by sidecar_installer cascade; drop role sidecar_installer")


def test_the_alembic_command_in_a_checkout_migrates_database_url(plain_database_url: str) -> None:
    checkout = migrations_directory().parent

    def upgrade(**environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        return subprocess.run(
            command, cwd=checkout, env=os.environ | environment, capture_output=True, text=True, check=False
        )

    refused = upgrade()
    assert refused.returncode != 0
    assert "DATABASE_URL is not set" in refused.stderr
    done = upgrade(DATABASE_URL=plain_database_url)
    assert done.returncode == 0, done.stderr
    assert current_revision(plain_database_url) == head_revision()


@pytest.mark.parametrize("search_path", ["''", "nowhere", "sidecar, public", "pg_catalog"])
def test_the_extension_is_created_in_public_if_the_search_path_names_no_other_schema(
    plain_database_url: str, plain: Connection, search_path: str
) -> None:
    """In schema sidecar `uninstall` would drop it, and users' vectors with it."""
    run(plain, f"alter database {plain.info.dbname} set search_path = {search_path}")
    migrate(plain_database_url)
    home = "select extnamespace::regnamespace::text from pg_extension where extname = 'vector'"
    assert value(plain, home) == "public"


def test_users_types_do_not_shadow_the_types_of_the_schema(plain_database_url: str, plain: Connection) -> None:
    run(plain, "create schema theirs; create domain theirs.text as varchar(3); create type theirs.regclass as (a int)")
    run(plain, f"alter database {plain.info.dbname} set search_path = theirs, pg_catalog, public")
    migrate(plain_database_url)
    assert dump_schema(plain_database_url).replace("theirs.", "public.") == GOLDEN.read_text(encoding="utf-8")


def test_a_failed_first_migration_leaves_nothing_behind(plain_database_url: str, plain: Connection) -> None:
    """Neither the schema nor the extension."""
    run(
        plain,
        "create extension vector; create function public.refuse() returns event_trigger language plpgsql as "
        "$$ begin if exists (select from pg_event_trigger_ddl_commands() c where c.object_identity "
        "like '%sidecar.failures') then raise 'not today'; end if; end $$; drop extension vector;"
        "create event trigger refuse on ddl_command_end execute function public.refuse()",
    )
    with pytest.raises(StatementRejected, match="not today"):
        migrate(plain_database_url)
    assert value(plain, "select to_regnamespace('sidecar') is null") is True
    assert value(plain, "select count(*) from pg_extension where extname = 'vector'") == 0
    run(plain, "drop event trigger refuse")
    migrate(plain_database_url)
    assert current_revision(plain_database_url) == head_revision()


def test_settings_of_the_database_do_not_stop_a_migration(plain_database_url: str, plain: Connection) -> None:
    """Another migration holds the lock for longer than the timeouts."""
    limits = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    settings = [
        f"{name} = '100ms'" for name in limits + ["transaction_timeout"] * (plain.info.server_version >= 170000)
    ]
    for setting in [*settings, "default_transaction_isolation = serializable", "quote_all_identifiers = on"]:
        run(plain, f"alter database {plain.info.dbname} set {setting}")
    run(plain, "select pg_advisory_lock(hashtextextended('sidecar.migrate', 0))")
    deploy = subprocess.Popen([sys.executable, "-c", MIGRATE, plain_database_url], stderr=subprocess.PIPE, text=True)
    waiting = """
        select count(*) from pg_stat_activity
        where datname = current_database() and wait_event = 'advisory'
            and query_start < clock_timestamp() - interval '150 ms'
    """
    wait_until(lambda: value(plain, waiting) == 1, "it to wait for longer than the timeouts", timeout_s=30)
    run(plain, "select pg_advisory_unlock_all()")
    _, said = deploy.communicate(timeout=60)
    assert deploy.returncode == 0, said
    assert current_revision(plain_database_url) == head_revision()


def test_a_migration_that_cannot_get_a_lock_fails_and_changes_nothing(
    plain_database_url: str, plain: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.operations.migrations.LOCK_TIMEOUT", "200ms")
    migrate(plain_database_url, "0016")
    before = dump_schema(plain_database_url)
    with psycopg.connect(plain_database_url) as other:
        other.execute("lock table sidecar.alembic_version in share mode")
        with pytest.raises(StatementRejected, match="lock timeout") as caught:
            migrate(plain_database_url)
        assert "still open. Nothing was changed: run it again" in (caught.value.hint or "")
    assert (current_revision(plain_database_url), dump_schema(plain_database_url)) == ("0016", before)


def test_a_role_that_may_not_migrate_gets_a_hint_to_connect_as_the_schemas_owner(
    database_url: str, committed: Connection
) -> None:
    run(committed, "drop function sidecar.installation()")
    run(committed, "create role stranger_to_it login password 'pw'")
    parts = urlsplit(database_url)
    try:
        with pytest.raises(StatementRejected, match="permission denied") as caught:
            migrate(urlunsplit(parts._replace(netloc=f"stranger_to_it:pw@{parts.hostname}:{parts.port}")))
        assert "Connect as the owner: export DATABASE_URL='postgresql://postgres:PASSWORD@" in (caught.value.hint or "")
    finally:
        run(committed, "drop role stranger_to_it")
