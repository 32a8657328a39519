"""What operators look at and set: rate, reasons, progress."""

from sidecar.postgres.migrations import run_sql_file

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0014_operators.up.sql."""
    run_sql_file("0014_operators.up.sql")


def downgrade() -> None:
    """Runs sql/0014_operators.down.sql."""
    run_sql_file("0014_operators.down.sql")
