"""Adds a watch whose index the project creates itself. The downgrade keeps the vectors."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.sidecar_watch("notes", "body", index="none")


def downgrade() -> None:
    op.sidecar_unwatch("notes", "body_embedding")
