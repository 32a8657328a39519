"""Companion tables: view, moving to and fro, advice."""

from sidecar.postgres.migrations import run_sql_file

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0013_companions.up.sql."""
    run_sql_file("0013_companions.up.sql")


def downgrade() -> None:
    """Runs sql/0013_companions.down.sql."""
    run_sql_file("0013_companions.down.sql")
