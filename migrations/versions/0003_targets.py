"""Where the vector goes: a column of the row, or a companion table."""

from sidecar.postgres.migrations import run_sql_file

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0003_targets.up.sql."""
    run_sql_file("0003_targets.up.sql")


def downgrade() -> None:
    """Runs sql/0003_targets.down.sql."""
    run_sql_file("0003_targets.down.sql")
