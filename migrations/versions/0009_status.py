"""The views sidecar.status and sidecar.failures."""

from sidecar.postgres.migrations import run_sql_file

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0009_status.up.sql."""
    run_sql_file("0009_status.up.sql")


def downgrade() -> None:
    """Runs sql/0009_status.down.sql."""
    run_sql_file("0009_status.down.sql")
