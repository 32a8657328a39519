"""Tables that all watches share."""

from sidecar.postgres.migrations import run_sql_file

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0001_tables.up.sql."""
    run_sql_file("0001_tables.up.sql")


def downgrade() -> None:
    """Runs sql/0001_tables.down.sql."""
    run_sql_file("0001_tables.down.sql")
