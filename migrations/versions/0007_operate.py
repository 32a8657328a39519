"""pause, resume, retry, reembed."""

from sidecar.postgres.migrations import run_sql_file

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0007_operate.up.sql."""
    run_sql_file("0007_operate.up.sql")


def downgrade() -> None:
    """Runs sql/0007_operate.down.sql."""
    run_sql_file("0007_operate.down.sql")
