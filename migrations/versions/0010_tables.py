"""Tables of every shape: partitions, keys, triggers."""

from sidecar.postgres.migrations import run_sql_file

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0010_tables.up.sql."""
    run_sql_file("0010_tables.up.sql")


def downgrade() -> None:
    """Runs sql/0010_tables.down.sql."""
    run_sql_file("0010_tables.down.sql")
