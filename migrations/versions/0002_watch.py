"""sidecar.watch and sidecar.unwatch."""

from sidecar.postgres.migrations import run_sql_file

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0002_watch.up.sql."""
    run_sql_file("0002_watch.up.sql")


def downgrade() -> None:
    """Runs sql/0002_watch.down.sql."""
    run_sql_file("0002_watch.down.sql")
