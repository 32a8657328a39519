"""The tables, as the migrations up to 0016 had made them: the baseline."""

from sidecar.operations.migrations import run_sql_file

revision = "0016"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/tables/0016_tables.sql."""
    run_sql_file("tables/0016_tables.sql")


def downgrade() -> None:
    """Runs sql/tables/base.sql."""
    run_sql_file("tables/base.sql")
