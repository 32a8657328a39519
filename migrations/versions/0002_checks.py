"""What sidecar.watch looks at before it changes anything."""

from sidecar.postgres.migrations import run_sql_file

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0002_checks.up.sql."""
    run_sql_file("0002_checks.up.sql")


def downgrade() -> None:
    """Runs sql/0002_checks.down.sql."""
    run_sql_file("0002_checks.down.sql")
