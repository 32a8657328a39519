"""Creates tables and a watch in one transaction."""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import Vector

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "products",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("title", sa.String),
        sa.Column("brand", sa.String),
        sa.Column("photo", sa.LargeBinary),
        sa.Column("photo_embedding", Vector(1152)),
    )
    op.sidecar_watch("products", "photo")
    op.sidecar_watch("products", ["title", "brand"], target="title_embedding")
    op.create_table(
        "notes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("body", sa.String, nullable=False),
        sa.Column("body_embedding", Vector(1152)),
    )


def downgrade() -> None:
    op.sidecar_unwatch("products", "title_embedding", drop_target=True)
    op.sidecar_unwatch("products", "photo_embedding", drop_target=True)
    op.drop_table("notes")
    op.drop_table("products")
