"""Alembic's environment: all of one call in one transaction, on a synchronous connection of its own.

Alembic runs on psycopg because a migration file holds many statements, which asyncpg and its SQLAlchemy dialect refuse.
Migrations hold tables only. Functions and views stand in sql/code; they are replaced whole once the tables are at head.
"""

from alembic import context
from sqlalchemy import Connection, create_engine, pool, text

from sidecar.config import load_settings
from sidecar.postgres.installed_code import install_code
from sidecar.postgres.migrations import sqlalchemy_url
from sidecar.postgres.shipped import head_revision

# Two deploys that start at once: the second waits, finds nothing to do, and goes on.
ADVISORY_LOCK = "select pg_advisory_lock(hashtextextended('sidecar.migrate', 0))"
# A migration that waits for a table blocks everyone behind it: rather fail and be run again. The advisory lock is taken
# before, because another deploy may hold it for minutes.
BEFORE_LOCK = ("set statement_timeout = '15min'", "set client_min_messages = warning")
AFTER_LOCK = ("set lock_timeout = '10s'",)
# `create schema if not exists` asks for the right to create one even where it exists.
CREATE_SCHEMA = """do $$ begin
    if to_regnamespace('sidecar') is null then create schema sidecar; end if;
end $$"""


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


def migrate(connection: Connection) -> None:
    """Runs the migrations that Alembic was asked for. Our version table stands in our schema."""
    connection.execute(text(CREATE_SCHEMA))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=None,
        version_table="alembic_version",
        version_table_schema="sidecar",
    )
    with context.begin_transaction():
        context.run_migrations()
        if context.get_context().get_current_revision() == head_revision():
            install_code(connection)


def run() -> None:
    """Connects, takes the lock, migrates."""
    engine = create_engine(sqlalchemy_url(database_url()), poolclass=pool.NullPool)
    with engine.connect() as connection:
        for statement in (*BEFORE_LOCK, ADVISORY_LOCK, *AFTER_LOCK):
            connection.execute(text(statement))
        connection.commit()
        migrate(connection)


run()
