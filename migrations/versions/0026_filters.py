"""Filters compiled by functions of their own."""

from sidecar.operations.migrations import run_sql_file

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/tables/0026_filters.sql."""
    run_sql_file("tables/0026_filters.sql")


def downgrade() -> None:
    """Nothing: the only way down is to `base`, which drops all tables. The version before works on newer ones."""
