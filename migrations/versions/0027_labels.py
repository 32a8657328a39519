"""Labels."""

from sidecar.operations.migrations import run_sql_file

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/tables/0027_labels.sql."""
    run_sql_file("tables/0027_labels.sql")


def downgrade() -> None:
    """Nothing: the only way down is to `base`, which drops all tables. The version before works on newer ones."""
