from __future__ import annotations

import sqlalchemy


def sqlalchemy_url(url: str) -> sqlalchemy.URL:
    """A libpq URL as SQLAlchemy wants it, with the psycopg driver."""
    return sqlalchemy.make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg")
