"""Alembic operations and filters for users' own projects: `import sidecar.alembic` in env.py.

Gives migrations `op.sidecar_watch` and `op.sidecar_unwatch`; lets models declare their watches, which autogenerate then
writes into migrations (`info={"sidecar": [{"source": "photo"}]}` of a Table); and keeps autogenerate from dropping what
the sidecar has made:

    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        include_object=sidecar.alembic.include_object(connection),
        include_name=sidecar.alembic.include_name(),
    )

Needs Alembic and SQLAlchemy, nothing else of this package's dependencies.
"""

from __future__ import annotations

from contextlib import suppress

from sidecar.alembic import comparison, rendering
from sidecar.alembic.filters import include_name, include_object
from sidecar.alembic.operations import SidecarMissing, UnwatchOp, WatchOp
from sidecar.alembic.watch import Watch

# Teaches SQLAlchemy to reflect vector columns: without it, and without models that do it, autogenerate warns of them.
with suppress(ImportError):
    import pgvector.sqlalchemy  # noqa: F401

__all__ = [
    "SidecarMissing",
    "UnwatchOp",
    "Watch",
    "WatchOp",
    "comparison",
    "include_name",
    "include_object",
    "rendering",
]
