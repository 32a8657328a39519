"""Pages of searches."""

from sidecar.operations.migrations import run_sql_file

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/tables/0028_pages.sql."""
    run_sql_file("tables/0028_pages.sql")


def downgrade() -> None:
    """Nothing: the only way down is to `base`, which drops all tables. The version before works on newer ones."""
