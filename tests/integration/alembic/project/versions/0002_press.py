"""Adds a companion in another schema. The downgrade drops the vectors."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("create schema press")
    op.create_table(
        "articles",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("body", sa.String),
        schema="press",
    )
    op.sidecar_watch("articles", ["title", "body"], companion="article_vectors", target="embedding", schema="press")


def downgrade() -> None:
    op.sidecar_unwatch("articles", "embedding", drop_target=True, schema="press")
    op.drop_table("articles", schema="press")
    op.execute("drop schema press")
