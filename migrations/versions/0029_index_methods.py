"""Index methods of watches."""

from sidecar.operations.migrations import run_sql_file

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/tables/0029_index_methods.sql."""
    run_sql_file("tables/0029_index_methods.sql")


def downgrade() -> None:
    """Nothing: the only way down is to `base`, which drops all tables. The version before works on newer ones."""
