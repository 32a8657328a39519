"""What users change: renames, drops, restores; verify and uninstall."""

from sidecar.postgres.migrations import run_sql_file

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0011_change.up.sql."""
    run_sql_file("0011_change.up.sql")


def downgrade() -> None:
    """Runs sql/0011_change.down.sql."""
    run_sql_file("0011_change.down.sql")
