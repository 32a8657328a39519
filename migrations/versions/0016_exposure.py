"""Columns that a watch shows to REST searches."""

from sidecar.postgres.migrations import run_sql_file

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0016_exposure.up.sql."""
    run_sql_file("0016_exposure.up.sql")


def downgrade() -> None:
    """Runs sql/0016_exposure.down.sql."""
    run_sql_file("0016_exposure.down.sql")
