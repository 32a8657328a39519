"""Builds the index of the notes concurrently, without blocking writers."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index(
            "notes_by_body",
            "notes",
            [sa.text("(body_embedding::halfvec(1152)) halfvec_cosine_ops")],
            postgresql_using="hnsw",
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index("notes_by_body", postgresql_concurrently=True)
