"""Hybrid search."""

from sidecar.postgres.migrations import run_sql_file

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0015_search.up.sql."""
    run_sql_file("0015_search.up.sql")


def downgrade() -> None:
    """Runs sql/0015_search.down.sql."""
    run_sql_file("0015_search.down.sql")
