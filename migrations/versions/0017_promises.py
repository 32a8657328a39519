"""What keeps promises that the tables of 0016 could not keep."""

from sidecar.operations.migrations import run_sql_file

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/tables/0017_promises.sql."""
    run_sql_file("tables/0017_promises.sql")


def downgrade() -> None:
    """Nothing: the only way down is to `base`, which drops all tables. The version before works on newer ones."""
