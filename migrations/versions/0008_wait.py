"""wait_embedded."""

from sidecar.postgres.migrations import run_sql_file

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0008_wait.up.sql."""
    run_sql_file("0008_wait.up.sql")


def downgrade() -> None:
    """Runs sql/0008_wait.down.sql."""
    run_sql_file("0008_wait.down.sql")
