"""Ledgers that say which texts the model could not read."""

from sidecar.operations.migrations import run_sql_file

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/tables/0018_unreadable.sql."""
    run_sql_file("tables/0018_unreadable.sql")


def downgrade() -> None:
    """Nothing: the only way down is to `base`, which drops all tables. The version before works on newer ones."""
