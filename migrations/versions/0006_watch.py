"""sidecar.watch and sidecar.unwatch."""

from sidecar.postgres.migrations import run_sql_file

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0006_watch.up.sql."""
    run_sql_file("0006_watch.up.sql")


def downgrade() -> None:
    """Runs sql/0006_watch.down.sql."""
    run_sql_file("0006_watch.down.sql")
