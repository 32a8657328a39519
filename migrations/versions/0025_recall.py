"""What sidecar.recall measured is kept."""

from sidecar.operations.migrations import run_sql_file

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/tables/0025_recall.sql."""
    run_sql_file("tables/0025_recall.sql")


def downgrade() -> None:
    """Nothing: the only way down is to `base`, which drops all tables. The version before works on newer ones."""
