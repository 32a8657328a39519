from __future__ import annotations

import sqlalchemy


def sqlalchemy_url(url: str) -> sqlalchemy.URL:
    """SQLAlchemy's URL with the psycopg driver for a libpq URL."""
    return sqlalchemy.make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg")
