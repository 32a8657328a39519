"""Vectors stored as halfvec."""

from sidecar.operations.migrations import run_sql_file

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/tables/0022_storage.sql."""
    run_sql_file("tables/0022_storage.sql")


def downgrade() -> None:
    """Nothing: the only way down is to `base`, which drops all tables. The version before works on newer ones."""
