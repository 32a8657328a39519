"""Alembic's environment: all of one call in one transaction, on a synchronous connection of its own.

    lock (two deploys at once) -> begin -> schema, extension -> a restored schema is repaired -> sql/tables -> sql/code

Alembic runs on psycopg because a migration file holds many statements, which asyncpg and its SQLAlchemy dialect refuse.
Migrations hold tables only. Functions and views stand in sql/code; they are replaced whole once the tables are at head.
"""

import logging

from alembic import context
from sqlalchemy import Connection, create_engine, pool, text

from sidecar.config import load_settings
from sidecar.operations.installed_code import install_code
from sidecar.operations.migrations import Migrated, connect, lock_timeout_statement, session_statements
from sidecar.operations.restored_schema import repair_restored_schema
from sidecar.postgres.shipped import head_revision

logger = logging.getLogger("sidecar.migrations")

# Two deploys that start at once: the second waits, finds nothing to do, and goes on.
ADVISORY_LOCK = "select pg_advisory_lock(hashtextextended('sidecar.migrate', 0))"
# `create schema if not exists` asks for the right to create one even where it exists.
CREATE_SCHEMA = """do $$ begin
    if to_regnamespace('sidecar') is null then create schema sidecar; end if;
end $$"""
# Types, operators and functions of users' schemas stay out of what follows.
PIN_SEARCH_PATH = """
select pg_catalog.set_config('sidecar.home', coalesce(pg_catalog.current_schema()::pg_catalog.text, ''), true),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)
"""
# Where users have it, and not in our schema, which goes with `uninstall`. A schema that is migrated already does
# without: its watches say what to do.
CREATE_EXTENSION = """do $$
declare
    home text := current_setting('sidecar.home');
begin
    if exists (select from pg_extension where extname = 'vector') then
        return;
    elsif not exists (select from pg_available_extensions where name = 'vector') then
        if to_regclass('sidecar.alembic_version') is not null then
            return;
        end if;
        raise exception 'pgvector is not installed on this server' using errcode = 'undefined_object',
            hint = format('Install it there, for example: apt-get install postgresql-%s-pgvector (a managed service '
                          'has to allow the extension); then: sidecar migrate',
                          current_setting('server_version_num')::integer / 10000);
    elsif home ~ '^(pg_.*|sidecar|sidecar_internal|information_schema|)$' then
        home := 'public';
    end if;
    if to_regnamespace(quote_ident(home)) is null then
        raise exception 'search_path names no schema that pgvector could be installed in'
            using errcode = 'invalid_schema_name',
                  hint = 'Name one yourself: create extension vector schema ...; then run this again.';
    end if;
    execute format('create extension vector schema %I', home);
end $$"""

# Step 0019 moves the tables that trigger functions name. A statement that is inside a trigger when that commits would
# look
# for them by their former names, and fail. So the last thing before the commit is to wait for statements that write to
# watched tables, and to hold up later ones: 0.2 s for a table, 2 s for all. Tables that stay in use, or that this role
# may
# not lock, are left out.
TABLES_MOVE = "0019"
AWAIT_WRITERS = """do $$
declare
    deadline constant timestamptz := clock_timestamp() + interval '2 s';
    watched regclass;
begin
    perform set_config('lock_timeout', '200ms', true);
    for watched in select distinct u.t from sidecar_internal.watches w
                   cross join unnest(array[w.relation, w.companion]) u(t) join pg_class c on c.oid = u.t
                   where w.unwatched_at is null order by u.t loop
        exit when clock_timestamp() > deadline;
        begin
            execute format('lock table %s in share row exclusive mode', watched);
        exception when lock_not_available or insufficient_privilege or deadlock_detected then
            null;
        end;
    end loop;
end $$"""
RUNNING_SIDECARS = """
select string_agg(format('%s (process %s, version %s)', s.host, s.pid, s.version), ', ')
from sidecar_internal.sidecars s where s.seen_at > clock_timestamp() - interval '30 s'
"""


def database_url() -> str:
    """The URL that `sidecar migrate` passes in, else DATABASE_URL (for `alembic upgrade head` in a checkout)."""
    given = context.config.attributes.get("database_url")
    if isinstance(given, str):
        return given
    configured = load_settings().database_url
    if configured is None:
        raise SystemExit(
            "DATABASE_URL is not set: say which database to migrate, for example "
            "DATABASE_URL=postgresql://user@localhost/shop alembic upgrade head"
        )
    return configured.get_secret_value()


def migrate(connection: Connection, migrated: Migrated) -> None:
    """Runs what Alembic was asked for, in the caller's transaction. Our version table stands in our schema."""
    for statement in (PIN_SEARCH_PATH, CREATE_SCHEMA, CREATE_EXTENSION):
        connection.execute(text(statement))
    migrated.restored = repair_restored_schema(connection)
    context.configure(
        connection=connection,
        target_metadata=None,
        version_table="alembic_version",
        version_table_schema="sidecar",
    )
    before = context.get_context().get_current_revision()
    with context.begin_transaction():  # the caller's
        context.run_migrations()
    if context.get_context().get_current_revision() == head_revision():
        migrated.code_replaced = install_code(connection, force=migrated.restored is not None or before is None)
        if before is not None and before < TABLES_MOVE:
            _warn_of_sidecars_of_before(connection)
            connection.execute(text(AWAIT_WRITERS))


def _warn_of_sidecars_of_before(connection: Connection) -> None:
    """Logs which sidecars know the tables by their former names only."""
    running = connection.execute(text(RUNNING_SIDECARS)).scalar()
    if running is not None:
        logger.warning(
            "running sidecars are of a version that does not find its tables any more: %s. They embed nothing until "
            "they are replaced by this version; changes of rows are recorded meanwhile",
            running,
        )


def run() -> None:
    """Connects, takes the lock, migrates."""
    migrated = context.config.attributes.get("migrated") or Migrated()
    url = database_url()
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(url), poolclass=pool.NullPool)
    with engine.connect() as connection:
        # A migration that waits for a table blocks everyone behind it: rather fail and be run again. The advisory lock
        # is taken before, because another deploy may hold it for minutes.
        for statement in (*session_statements(), ADVISORY_LOCK, lock_timeout_statement()):
            connection.execute(text(statement))
        connection.commit()
        with connection.begin():
            migrate(connection, migrated)


run()
