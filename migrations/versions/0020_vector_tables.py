"""Functions whose parameters got other names."""

from sidecar.operations.migrations import run_sql_file

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/tables/0020_vector_tables.sql."""
    run_sql_file("tables/0020_vector_tables.sql")


def downgrade() -> None:
    """Nothing: the only way down is to `base`, which drops all tables."""
