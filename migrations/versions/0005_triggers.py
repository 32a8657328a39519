"""The triggers of a watch."""

from sidecar.postgres.migrations import run_sql_file

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0005_triggers.up.sql."""
    run_sql_file("0005_triggers.up.sql")


def downgrade() -> None:
    """Runs sql/0005_triggers.down.sql."""
    run_sql_file("0005_triggers.down.sql")
