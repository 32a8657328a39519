"""Events, delayed events and the ledger of a watch."""

from sidecar.postgres.migrations import run_sql_file

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0004_queue.up.sql."""
    run_sql_file("0004_queue.up.sql")


def downgrade() -> None:
    """Runs sql/0004_queue.down.sql."""
    run_sql_file("0004_queue.down.sql")
