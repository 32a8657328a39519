"""A user's environment, as `alembic init` makes it, with three lines added for the sidecar."""

import os

from alembic import context
from models import Base
from sqlalchemy import create_engine, pool, text

import sidecar.alembic

URL = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")


def run_migrations_offline() -> None:
    context.configure(url=URL, target_metadata=Base.metadata, dialect_opts={"paramstyle": "named"})
    with context.begin_transaction():
        context.run_migrations()


def run_migrations_online() -> None:
    engine = create_engine(URL, poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text("set lock_timeout = '300ms'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_schemas=True,
            include_object=sidecar.alembic.include_object(connection),
            include_name=sidecar.alembic.include_name(),
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
